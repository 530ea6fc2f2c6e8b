//! The examples of `auth` with each other and with Python, in both directions.
#![cfg(all(feature = "auth-md5", feature = "auth-sha1"))]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use socketserver::auth::{AuthError, Connection, Multiprocessing};
use socketserver::prelude::*;

use support::ANY;
use support::concurrent::ConcurrentTcpServer;
use support::example::{Example, run};
use support::python::script;

const DIGESTS: [&str; 3] = ["sha256", "sha1", "md5"];

/// Host and port of an address, as arguments for the scripts.
fn parts(address: &str) -> [&str; 2] {
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    [host, port]
}

/// Runs a script to its end, and returns its output.
fn output(mut script: Command) -> String {
    let output = script.output().expect("python3 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// A Python server that serves one client.
struct PythonServer {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    address: String,
}

impl PythonServer {
    fn start(mut script: Command) -> Self {
        let mut child = script
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut port = String::new();
        stdout
            .read_line(&mut port)
            .expect("the script prints its port");
        PythonServer {
            child,
            stdout,
            address: format!("127.0.0.1:{}", port.trim_end()),
        }
    }

    fn connect(&self) -> TcpStream {
        support::connect_to(&self.address)
    }

    /// Waits until the script ends, and returns its output after the port.
    fn finish(mut self) -> String {
        let mut text = String::new();
        self.stdout
            .read_to_string(&mut text)
            .expect("the output is text");
        assert!(self.child.wait().expect("a child process").success());
        text
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(address: &str, key: &str, digest: &str, texts: &[&str]) -> (Option<i32>, String, String) {
    let fixed = [address, "--key", key, "--digest", digest];
    let output = run("auth_client", &[&fixed, texts].concat());
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn server_and_client_with_every_digest() {
    for digest in DIGESTS {
        let server = Example::start("auth_server", &[ANY, "--key", "sesame", "--digest", digest]);
        let printed = client(&server.address, "sesame", digest, &["hello", "a: b", ""]);
        assert_eq!(printed, (Some(0), "HELLO\nA: B\n\n".into(), String::new()));
    }
}

#[test]
fn a_wrong_key_closes_the_connection_and_is_logged() {
    let server = Example::start("auth_server", &[ANY, "--key", "sesame"]);
    let mut stream = support::connect_to(&server.address);
    let mut challenge = [0; 32];
    stream.read_exact(&mut challenge).expect("a challenge");
    stream.write_all(&[7; 32]).expect("the data is read");
    let mut words = Vec::new();
    stream
        .read_to_end(&mut words)
        .expect("the connection is closed without a reset");
    assert_eq!(words, b"");

    let (status, printed, error) = client(&server.address, "simsim", "sha256", &["hello"]);
    assert_eq!((status, printed), (Some(1), String::new()));
    let reason = "the server closed the connection; are key and digest the same there?";
    assert_eq!(
        error,
        format!("auth_client: {}: {reason}\n", server.address)
    );

    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    let peer = stream.local_addr().expect("the socket was connected");
    let line = format!("from {peer}: handle failed: the peer's answer to the challenge is wrong");
    assert!(log.contains(&line), "{log}");
    assert!(!log.contains("sesame") && !log.contains("simsim"), "{log}");
}

#[test]
fn auth_server_with_python_clients() {
    for digest in DIGESTS {
        let server = Example::start("auth_server", &[ANY, "--key", "sesame", "--digest", digest]);
        for (key, expected) in [("sesame", "HELLO\nWORLD\n"), ("x", "closed\nclosed\n")] {
            let mut python = script("hmac_client.py");
            python
                .args(parts(&server.address))
                .args([key, digest, "hello", "world"]);
            let printed = output(python);
            assert!(
                printed == expected || (key == "x" && printed == "closed\n"),
                "{printed}"
            );
        }
    }
}

#[test]
fn auth_client_with_python_servers() {
    for digest in DIGESTS {
        for (key, status, replies, verdict) in
            [("sesame", 0, "HELLO\nWORLD\n", ""), ("x", 1, "", "wrong\n")]
        {
            let mut python = script("hmac_server.py");
            python.args(["sesame", digest]);
            let server = PythonServer::start(python);
            let (code, printed, _) = client(&server.address, key, digest, &["hello", "world"]);
            assert_eq!((code, printed.as_str()), (Some(status), replies));
            assert_eq!(server.finish(), verdict);
        }
    }
}

#[test]
fn mp_server_with_the_multiprocessing_client() {
    let server = Example::start("mp_server", &[ANY, "--key", "sesame"]);
    for (key, expected) in [
        ("sesame", "HELLO\n\nSTRASSE\n1000000 True\n"),
        ("x", "AuthenticationError\n"),
    ] {
        let mut python = script("mp_client.py");
        python
            .args(parts(&server.address))
            .args([key, "hello", "", "strasse"]);
        assert_eq!(output(python), expected);
    }
    server.signal(Signal::SIGINT);
    let (status, _, log) = server.finish();
    assert!(status.success());
    assert!(
        log.contains("the peer's answer to the challenge is wrong"),
        "{log}"
    );
}

#[test]
fn mp_server_with_the_protocol_of_python_3_12() {
    let server = Example::start("mp_server", &[ANY, "--key", "sesame"]);
    for (key, expected) in [("sesame", "HELLO\nWORLD\n"), ("x", "refused\n")] {
        let mut python = script("mp_modern.py");
        python
            .arg("client")
            .args(parts(&server.address))
            .args([key, "hello", "world"]);
        assert_eq!(output(python), expected);
    }
}

/// A server in the test, with many Python clients at once.
#[test]
fn a_server_with_many_multiprocessing_clients() {
    let auth = Multiprocessing::new("sesame");
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let mut connection = auth.accept(&mut *request)?;
        while let Some(message) = connection.recv_bytes()? {
            connection.send_bytes(&message.to_ascii_uppercase())?;
        }
        Ok(())
    })
    .and_then(Server::serve_in_background)
    .expect("the server can be started");
    let address = server.server_address().to_string();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut python = script("mp_client.py");
                python.args(parts(&address)).args(["sesame", "hello"]);
                assert_eq!(output(python), "HELLO\n1000000 True\n");
            });
        }
    });
}

fn upper_case(mut connection: Connection<TcpStream>) {
    for message in [&b"hello"[..], b"", &[b'a'; 100_000]] {
        connection.send_bytes(message).expect("the data is read");
        let reply = connection.recv_bytes().expect("a reply arrives");
        assert_eq!(reply, Some(message.to_ascii_uppercase()));
    }
}

#[test]
fn a_client_with_the_multiprocessing_listener() {
    for arguments in [
        &["mp_listener.py", "sesame"][..],
        &["mp_modern.py", "listener", "sesame"],
    ] {
        let start = || {
            let mut python = script(arguments[0]);
            python.args(&arguments[1..]);
            PythonServer::start(python)
        };
        let server = start();
        let auth = Multiprocessing::new("sesame");
        upper_case(
            auth.connect(server.connect())
                .expect("both sides have the same key"),
        );
        assert_eq!(server.finish(), "");

        let server = start();
        let refused = Multiprocessing::new("x").connect(server.connect());
        assert!(matches!(refused, Err(AuthError::Refused)));
        assert_ne!(server.finish(), "");
    }
}

#[test]
fn usage_errors_and_refused_connections() {
    for arguments in [
        &["hello"][..],
        &["--key", "", "hello"],
        &["--key", "x", "h:1"],
        &["--key", "x", "--digest", "sha9", "hello"],
    ] {
        let output = run("auth_client", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    for name in ["auth_server", "mp_server"] {
        assert_eq!(run(name, &[ANY]).status.code(), Some(2));
        assert_eq!(run(name, &[ANY, "--key", ""]).status.code(), Some(2));
        let output = run(name, &["192.0.2.1:1", "--key", "x"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains(&format!("{name}: ")) && error.contains("192.0.2.1:1"),
            "{error}"
        );
    }
    let (status, _, error) = client("127.0.0.1:1", "x", "sha256", &["hello"]);
    assert_eq!(status, Some(1));
    assert!(error.starts_with("auth_client: 127.0.0.1:1: "), "{error}");
}
