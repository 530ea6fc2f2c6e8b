//! The example `http_get` with servers that do not exist, reset, stall or send invalid data: one
//! error line each, and no file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};
use support::{ANY, LONG, eventually};

use crate::run::{answering, command, fetch, fetch_in, files, serving, url};

#[test]
fn connection_refused() {
    // The socket is bound and does not listen, so no other program can use the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be created");
    let any: SocketAddr = ANY.parse().expect("the text is an address");
    socket.bind(&any.into()).expect("a port is free");
    let address = socket.local_addr().expect("the socket is bound");
    let address = address
        .as_socket()
        .expect("the socket has an IP address")
        .to_string();
    fetch(&format!("http://{address}/"), &[]).failed(&[&address, "refused"]);
    let port = address.rsplit(':').next().expect("the address has a port");
    let by_name = format!("http://localhost:{port}/");
    fetch(&by_name, &[]).failed(&[&format!("localhost ({address})"), "refused"]);
}

#[test]
fn unknown_host() {
    // A label may have at most 63 bytes (RFC 1035), so the resolver does not query a server.
    let name = format!("{}.test", "x".repeat(64));
    fetch(&format!("http://{name}/"), &[]).failed(&["cannot find the address of", &name]);
}

#[test]
fn connection_reset() {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let address = listener
        .local_addr()
        .expect("the socket is bound")
        .to_string();
    let reset = |after: &str| {
        let (mut client, _) = listener.accept().expect("the client connects");
        read_request(&mut client);
        client
            .write_all(after.as_bytes())
            .expect("the client is connected");
        support::reset(client);
    };
    let url = format!("http://{address}/");
    thread::scope(|scope| {
        scope.spawn(|| {
            reset("");
            reset("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        });
        fetch(&url, &[]).failed(&[&address, "reset the connection"]);
        fetch(&url, &[]).failed(&[&address, "reset the connection"]);
    });
}

/// Reads a request. A server of the library would close the connection gracefully, and not reset
/// it.
fn read_request(client: &mut TcpStream) {
    client
        .set_read_timeout(Some(LONG))
        .expect("the option is set");
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client
            .read_exact(&mut byte)
            .expect("the client sends a request");
        received.extend(byte);
    }
}

#[test]
fn a_stalled_response_is_a_timeout() {
    for (response, words, seconds) in [
        ("", "no complete answer from", "0.3"),
        (
            "HTTP/1.1 200 OK\r\nServer:",
            "no complete answer from",
            "0.3",
        ),
        // The header arrives within this time, even on a busy machine.
        ("HTTP/1.1 200 OK\r\n\r\nhello", "nothing from", "3.5"),
    ] {
        let server = serving(move |request| {
            request.wfile.write_all(response.as_bytes())?;
            let _ = request.rfile.read(&mut [0]);
            Ok(())
        });
        let address = server.server_address().to_string();
        let fetched = fetch(&url(&server), &["--timeout", seconds]);
        fetched.failed(&[
            words,
            &address,
            if seconds == "0.3" { "300ms" } else { "3.5s" },
        ]);
    }
}

#[test]
fn a_slow_header_is_a_timeout() {
    let server = serving(|request| {
        request.set_nodelay(true)?;
        write!(request.wfile, "HTTP/1.1 200 OK\r\nX: ")?;
        loop {
            request.wfile.write_all(b"x")?;
            thread::sleep(Duration::from_millis(20));
        }
    });
    let address = server.server_address().to_string();
    fetch(&url(&server), &["--timeout", "0.5"]).failed(&["no complete answer", &address, "500ms"]);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
fn a_long_body_is_not_kept_in_memory() {
    const LENGTH: usize = 100 << 20;
    let (resume, wait) = channel();
    let wait = Mutex::new(wait);
    let (sent, all_but_the_last) = channel();
    let server = serving(move |request| {
        write!(
            request.wfile,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            LENGTH + 1
        )?;
        let piece = vec![b'x'; 1 << 20];
        (0..LENGTH / piece.len()).try_for_each(|_| request.wfile.write_all(&piece))?;
        sent.send(())?;
        wait.lock()
            .expect("no thread panics while it holds the lock")
            .recv_timeout(LONG)?;
        request.wfile.write_all(b"x")?;
        Ok(())
    });
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let mut client = command(folder.path(), &url(&server), &[]);
    let mut client = client
        .stdout(Stdio::null())
        .spawn()
        .expect("the example is built");
    all_but_the_last
        .recv_timeout(LONG)
        .expect("the client reads");
    let status = fs::read_to_string(format!("/proc/{}/status", client.id()));
    resume.send(()).expect("the server waits");
    assert!(client.wait().expect("a child process").success());
    assert_eq!(files(folder.path()), ["index.html"]);
    let saved = fs::metadata(folder.path().join("index.html")).expect("the file exists");
    assert_eq!(saved.len(), LENGTH as u64 + 1);
    let status = status.expect("/proc is readable");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .expect("the status has this line")
        .trim()
        .trim_end_matches(" kB");
    let peak: usize = peak.parse().expect("the text is a number");
    assert!(peak < 32 << 10, "the client used {peak} KiB");
}

#[test]
fn an_interrupted_run_removes_the_partial_file() {
    let server = serving(|request| {
        write!(
            request.wfile,
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
        )?;
        let _ = request.rfile.read(&mut [0]);
        Ok(())
    });
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let mut client = command(folder.path(), &url(&server), &[]);
    client.stdout(Stdio::null()).stderr(Stdio::piped());
    let client = client.spawn().expect("the example is built");
    let is_half_written = || {
        let lengths = files(folder.path())
            .into_iter()
            .map(|name| fs::metadata(folder.path().join(name)));
        lengths.flatten().any(|file| file.len() == 5)
    };
    eventually("half of the body is written to a file", is_half_written);
    let pid = Pid::from_raw(client.id().try_into().expect("a pid fits into an i32"));
    kill(pid, Signal::SIGTERM).expect("the process runs");
    let output = client.wait_with_output().expect("a child process");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(
        stderr,
        "http_get: interrupted, index.html was not written\n"
    );
    assert!(files(folder.path()).is_empty());
}

#[test]
fn an_unwritable_file_is_an_error_before_connecting() {
    // Nothing listens on this port. If the program connected first, it would report that.
    let nowhere = "http://127.0.0.1:1/";
    for (path, words) in [
        ("missing/x.html", "No such file"),
        (".", "directory"),
        ("link", "a link"),
    ] {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        if path == "link" {
            std::os::unix::fs::symlink("/dev/null/x", folder.path().join(path))
                .expect("the temporary folder is writable");
        }
        let fetched = fetch_in(folder.path(), nowhere, &["-o", path]);
        let expected = format!("http_get: cannot write {path}: ");
        assert_eq!(fetched.status, Some(1), "{fetched:?}");
        assert!(fetched.stderr.starts_with(&expected), "{fetched:?}");
        assert!(fetched.stderr.contains(words), "{fetched:?}");
    }
}

#[test]
fn output_to_a_named_pipe_is_written_to_the_pipe() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is installed").success());
    let (sender, receiver) = channel();
    let source = pipe.clone();
    thread::spawn(move || sender.send(fs::read(source)));
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let fetched = fetch_in(folder.path(), &url(&server), &["-o", "pipe"]);
    assert_eq!((fetched.status, &*fetched.stderr), (Some(0), ""));
    let read = receiver.recv_timeout(LONG).expect("the pipe ends");
    assert_eq!(read.expect("the pipe can be read"), b"hello");
    assert_eq!(fetched.files, ["pipe"]);
}
