//! The echo and upper-case examples: their output, and their answers to clients.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use socketserver::Address;

use support::example::{Example, run};
use support::{ANY, connect, connect_udp, connect_unix, read_all, socket_path};

const UNIX_KINDS: &[&str] = &[
    "unix-stream",
    "threading-unix-stream",
    #[cfg(feature = "green")]
    "green-unix-stream",
];
const TCP_KINDS: &[&str] = &[
    "tcp",
    "threading-tcp",
    #[cfg(feature = "green")]
    "green-tcp",
];

fn ip(example: &Example) -> Address {
    let address: SocketAddr = example.address.parse().expect("an IP address");
    address.into()
}

#[test]
fn each_server_prints_one_line_with_its_port() {
    for name in ["echo_server", "upper_server", "udp_echo_server"] {
        let example = Example::start(name, &[ANY]);
        assert_ne!(ip(&example).port(), Some(0), "{name}");
        example.signal(Signal::SIGTERM);
        let (_, rest, _) = example.finish();
        assert_eq!(rest, "", "{name} prints one line");
    }
}

#[test]
fn a_unix_server_prints_its_path() {
    for kind in UNIX_KINDS {
        let (_folder, path) = socket_path();
        let path = path.to_str().expect("the path is UTF-8");
        let example = Example::start("echo_server", &[path, "--server", kind]);
        assert_eq!(example.address, path, "{kind}");
    }
}

#[test]
fn help_names_the_default_address() {
    for (name, address) in [
        ("echo_server", "127.0.0.1:10000"),
        ("upper_server", "127.0.0.1:9999"),
        ("udp_echo_server", "127.0.0.1:9005"),
    ] {
        let output = run(name, &["--help"]);
        assert!(output.status.success(), "{name}");
        let help = String::from_utf8(output.stdout).expect("help is text");
        assert!(help.contains(&format!("[default: {address}]")), "{help}");
    }
}

#[test]
fn tcp_echo_sends_everything_back_and_closes_with_the_client() {
    for kind in TCP_KINDS {
        let example = Example::start("echo_server", &[ANY, "--server", kind]);
        let client = connect(&ip(&example));
        let end_sending = |client: &TcpStream| client.shutdown(Shutdown::Write);
        expect_echoes(client, end_sending, kind);
    }
}

#[test]
fn unix_echo_sends_everything_back_and_closes_with_the_client() {
    for kind in UNIX_KINDS {
        let (_folder, path) = socket_path();
        let text = path.to_str().expect("the path is UTF-8");
        let example = Example::start("echo_server", &[text, "--server", kind]);
        let client = connect_unix(&Address::Path(example.address.clone().into()));
        let end_sending = |client: &UnixStream| client.shutdown(Shutdown::Write);
        expect_echoes(client, end_sending, kind);
    }
}

fn expect_echoes<S: Read + Write>(
    mut client: S,
    end_sending: impl FnOnce(&S) -> std::io::Result<()>,
    kind: &str,
) {
    for length in [1, 5, 8192, 8193, 50_000] {
        let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        client.write_all(&sent).expect("the server reads");
        let mut echoed = vec![0; sent.len()];
        client.read_exact(&mut echoed).expect("the server answers");
        assert!(echoed == sent, "{kind}: {length} bytes came back changed");
    }
    client.write_all(b"last").expect("the server reads");
    end_sending(&client).expect("the connection is open");
    assert_eq!(read_all(client), "last", "{kind}");
}

#[test]
fn threading_servers_serve_a_second_client_while_the_first_is_connected() {
    let example = Example::start("echo_server", &[ANY]);
    let _first = served_client(&example);
    let _second = served_client(&example);
}

/// A client that has received an answer, so that the server has accepted it.
fn served_client(example: &Example) -> TcpStream {
    let client = connect(&ip(example));
    expect_echo(&client, "hello");
    client
}

fn expect_echo(mut client: &TcpStream, text: &str) {
    client.write_all(text.as_bytes()).expect("the server reads");
    let mut echoed = vec![0; text.len()];
    client.read_exact(&mut echoed).expect("the server answers");
    assert_eq!(echoed, text.as_bytes());
}

#[test]
fn tcp_and_max_threads_1_serve_one_client_at_a_time() {
    for arguments in [["--server", "tcp"], ["--max-threads", "1"]] {
        let example = Example::start("echo_server", &[ANY, arguments[0], arguments[1]]);
        let first = served_client(&example);
        let mut second = connect(&ip(&example));
        second.write_all(b"and me").expect("the kernel buffers it");
        let a_while = Some(Duration::from_millis(100));
        second
            .set_read_timeout(a_while)
            .expect("the timeout is not zero");
        let mut answer = [0; 6];
        let early = second
            .read(&mut answer)
            .expect_err("the first client is served");
        assert_eq!(early.kind(), ErrorKind::WouldBlock, "{arguments:?}");

        expect_echo(&first, "still here");
        drop(first);
        second
            .set_read_timeout(Some(support::LONG))
            .expect("the timeout is not zero");
        second
            .read_exact(&mut answer)
            .expect("the second client is served");
        assert_eq!(&answer, b"and me", "{arguments:?}");
    }
}

#[test]
fn upper_server_answers_closes_and_prints_address_and_text() {
    let mut example = Example::start("upper_server", &[ANY]);
    for (message, answer, printed) in [
        ("hello", "HELLO", "hello"),
        (
            "  Grüße, \tclients \r\n",
            "GRüßE, \tCLIENTS",
            "Gr\\xc3\\xbc\\xc3\\x9fe, \\tclients",
        ),
        (" \n", "", ""),
    ] {
        let mut client = connect(&ip(&example));
        let port = client.local_addr().expect("the socket is connected").port();
        client
            .write_all(message.as_bytes())
            .expect("the data is read");
        assert_eq!(read_all(client), answer, "to {message:?}");

        let mut line = String::new();
        example
            .stdout
            .read_line(&mut line)
            .expect("the text is UTF-8");
        assert_eq!(line, format!("127.0.0.1:{port} wrote: {printed}\n"));
    }
}

#[test]
fn upper_server_serves_clients_concurrently() {
    let example = Example::start("upper_server", &[ANY]);
    // This client connects first and sends nothing. A server without threads would wait for it.
    let silent = connect(&ip(&example));
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let mut client = connect(&ip(&example));
            thread::spawn(move || {
                let message = format!("client {number}");
                client
                    .write_all(message.as_bytes())
                    .expect("the data is read");
                assert_eq!(read_all(client), format!("CLIENT {number}"));
            })
        })
        .collect();
    for client in clients {
        client.join().expect("each client is answered");
    }
    drop(silent);
}

#[test]
fn udp_echo_server_sends_back_datagrams_of_every_length() {
    for arguments in [
        &[ANY][..],
        &[ANY, "--threading"],
        #[cfg(feature = "green")]
        &[ANY, "--green"],
    ] {
        let example = Example::start("udp_echo_server", arguments);
        let client = connect_udp(&ip(&example));
        let mut answer = vec![0; 65_536];
        for length in [5, 0, 1, 8193, 65_507, 0] {
            let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            client.send(&sent).expect("the datagram is sent");
            let received = client.recv(&mut answer).expect("the server answers");
            assert_eq!(received, length, "{arguments:?}");
            assert!(
                answer[..received] == sent,
                "{length} bytes came back changed"
            );
        }
    }
}
