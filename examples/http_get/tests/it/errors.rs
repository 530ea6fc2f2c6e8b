//! The example `http_get` against servers that do not exist, reset, stall or send nonsense: one
//! clear line each, and no file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, SockRef, Socket, Type};
use support::{ANY, LONG, eventually};

use crate::run::{answering, command, fetch, fetch_in, files, serving, url};

#[test]
fn no_server_listens() {
    // Bound and never listening: no other program can get the port meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    let any: SocketAddr = ANY.parse().expect("an address");
    socket.bind(&any.into()).expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    let address = address.as_socket().expect("an IP address").to_string();
    fetch(&format!("http://{address}/"), &[]).failed(&[&address, "refused"]);
    let port = address.rsplit(':').next().expect("a port");
    let by_name = format!("http://localhost:{port}/");
    fetch(&by_name, &[]).failed(&[&format!("localhost ({address})"), "refused"]);
}

#[test]
fn a_name_without_an_address() {
    // Longer than the 63 bytes a label may have (RFC 1035), so no server is asked for it.
    let name = format!("{}.test", "x".repeat(64));
    fetch(&format!("http://{name}/"), &[]).failed(&["cannot find the address of", &name]);
}

#[test]
fn a_reset() {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let reset = |after: &str| {
        let (mut client, _) = listener.accept().expect("the client comes");
        read_request(&mut client);
        client
            .write_all(after.as_bytes())
            .expect("the client is there");
        let now = Some(Duration::ZERO);
        SockRef::from(&client)
            .set_linger(now)
            .expect("it is a TCP socket");
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

/// With a handler of ours the server would say goodbye before it closes.
fn read_request(client: &mut TcpStream) {
    client.set_read_timeout(Some(LONG)).expect("it is a socket");
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("the client asks");
        received.extend(byte);
    }
}

#[test]
fn a_server_that_stalls() {
    for (said, words, seconds) in [
        ("", "no complete answer from", "0.3"),
        (
            "HTTP/1.1 200 OK\r\nServer:",
            "no complete answer from",
            "0.3",
        ),
        // Long enough for the header to be there in time, on a busy machine too.
        ("HTTP/1.1 200 OK\r\n\r\nhello", "nothing from", "3.5"),
    ] {
        let server = serving(move |request| {
            request.wfile.write_all(said.as_bytes())?;
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
fn a_server_that_drips_its_header() {
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
fn a_server_that_does_not_speak_http() {
    for words in [
        "SSH-2.0-OpenSSH_9\r\n",
        "220 mail ESMTP\r\n",
        "\u{15}\u{3}\u{1}",
        "HTTP/9.9 200\r\n",
    ] {
        let server = serving(move |request| {
            request.wfile.write_all(words.as_bytes())?;
            // It waits, as such servers do: the client has to notice by itself.
            let _ = request.rfile.read(&mut [0]);
            Ok(())
        });
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[&address, "does not answer in HTTP"]);
    }
    fetch(&url(&answering("")), &[]).failed(&["closed the connection without an answer"]);
    fetch(&url(&answering("HTTP/1.1 200 OK\r\nA: b\r\n")), &[])
        .failed(&["in the middle of its header"]);
    fetch(
        &url(&answering("HTTP/1.1 200 OK\r\nbad header\r\n\r\n")),
        &[],
    )
    .failed(&["malformed", "header name"]);
}

#[test]
fn what_has_no_end_is_not_kept() {
    for (begin, again, words) in [
        (
            "HTTP/1.1 200 OK\r\nX: ",
            "xxxxxxxxx",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "",
            "\r\n",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            "X: x\r\n",
            "the header from ADDRESS has more than 256 fields",
        ),
        (CHUNKED, "00000000", "a line does not end within 8192 bytes"),
        (CHUNKED, "5;xxxxxx", "a line does not end within 8192 bytes"),
        (
            &*format!("{CHUNKED}0\r\n"),
            "X: xxxx\r\n",
            "a line does not end within",
        ),
    ] {
        let (begin, again) = (begin.to_owned(), again.repeat(1000));
        let server = serving(move |request| {
            request.wfile.write_all(begin.as_bytes())?;
            loop {
                request.wfile.write_all(again.as_bytes())?;
            }
        });
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[&words.replace("ADDRESS", &address)]);
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_that_is_cut_short_or_wrong() {
    for (body, words) in [
        (
            "Content-Length: 10\r\n\r\nhello",
            "ended after 5 of 10 bytes",
        ),
        ("Content-Length: 10\r\n\r\n", "ended after 0 of 10 bytes"),
        (
            "Content-Length: ten\r\n\r\nhello",
            "a Content-Length that is none: ten",
        ),
        (
            "Content-Length: +5\r\n\r\nhello",
            "a Content-Length that is none: +5",
        ),
        (
            "Content-Length:\r\n\r\nhello",
            "a Content-Length that is none",
        ),
        (
            "Content-Length: 99999999999999999999\r\n\r\n",
            "a Content-Length that is none",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "that is none: 5, 6",
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n\r\n",
            "not known here: gzip, chunked",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello world\r\n",
            "longer than its size",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n\r\n", "no valid size"),
        ("Transfer-Encoding: chunked\r\n\r\n-1\r\n", "no valid size"),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "no valid size",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
            "ended before its last chunk",
        ),
    ] {
        let server = answering(format!("HTTP/1.1 200 OK\r\n{body}"));
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[words, &address]);
    }
}

#[test]
fn a_long_body_does_not_stay_in_memory() {
    const LENGTH: usize = 100 << 20;
    let (go_on, wait) = channel();
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
            .expect("nobody panics with it")
            .recv_timeout(LONG)?;
        request.wfile.write_all(b"x")?;
        Ok(())
    });
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let mut client = command(folder.path(), &url(&server), &[]);
    let mut client = client.stdout(Stdio::null()).spawn().expect("it is built");
    all_but_the_last
        .recv_timeout(LONG)
        .expect("the client reads");
    let status = fs::read_to_string(format!("/proc/{}/status", client.id()));
    go_on.send(()).expect("the server waits for it");
    assert!(client.wait().expect("it is our child").success());
    assert_eq!(files(folder.path()), ["index.html"]);
    let saved = fs::metadata(folder.path().join("index.html")).expect("it is there");
    assert_eq!(saved.len(), LENGTH as u64 + 1);
    let Ok(status) = status else {
        return eprintln!("SKIPPED: this system does not report the memory of a process");
    };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.expect("Linux reports it").trim().trim_end_matches(" kB");
    let peak: usize = peak.parse().expect("a number");
    assert!(peak < 32 << 10, "it has used {peak} KiB");
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
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
    let client = client.spawn().expect("it is built");
    let half_there = || {
        let lengths = files(folder.path())
            .into_iter()
            .map(|name| fs::metadata(folder.path().join(name)));
        lengths.flatten().any(|file| file.len() == 5)
    };
    eventually("half of the body is in a file", half_there);
    let pid = Pid::from_raw(client.id().try_into().expect("a pid fits"));
    kill(pid, Signal::SIGTERM).expect("it lives");
    let output = client.wait_with_output().expect("it is our child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said, "http_get: interrupted, index.html was not written\n");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_file_that_cannot_be_written_is_reported_before_anything_is_sent() {
    // Nothing listens there: a program that connects first would report that.
    let nowhere = "http://127.0.0.1:1/";
    for (path, words) in [
        ("nothing/x.html", "No such file"),
        (".", "directory"),
        ("link", "a link"),
    ] {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        if path == "link" {
            std::os::unix::fs::symlink("/dev/null/x", folder.path().join(path))
                .expect("it is ours");
        }
        let fetched = fetch_in(folder.path(), nowhere, &["-o", path]);
        let expected = format!("http_get: cannot write {path}: ");
        assert_eq!(fetched.status, Some(1), "{fetched:?}");
        assert!(fetched.stderr.starts_with(&expected), "{fetched:?}");
        assert!(fetched.stderr.contains(words), "{fetched:?}");
    }
}

#[test]
fn a_pipe_is_written_and_not_replaced() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("every Unix has it").success());
    let (sender, receiver) = channel();
    let source = pipe.clone();
    thread::spawn(move || sender.send(fs::read(source)));
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let fetched = fetch_in(folder.path(), &url(&server), &["-o", "pipe"]);
    assert_eq!((fetched.status, &*fetched.stderr), (Some(0), ""));
    let read = receiver.recv_timeout(LONG).expect("the pipe ends");
    assert_eq!(read.expect("it can be read"), b"hello");
    assert_eq!(fetched.files, ["pipe"]);
}
