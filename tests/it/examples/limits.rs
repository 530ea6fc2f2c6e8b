//! The limits of the examples that serve strangers: connections, and time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use support::child::in_child;
use support::example::Example;
use support::process::threads;
use support::{ANY, assert_reset, connect_to, eventually, read_all};

support::for_threads_and_green! {
    the_relay_resets_a_connection_that_is_idle_in_both_directions
}

fn start(name: &str, options: &[&str]) -> Example {
    Example::start(name, &[&[ANY], options].concat())
}

/// A client over the limit is served after another one has left.
fn serves_at_most(most: usize, server: &Example) {
    let mut served: Vec<_> = (0..most).map(|_| connect_to(&server.address)).collect();
    eventually("all have a thread", || {
        threads(server.pid()) > most && server.is_asleep()
    });
    let mut waiting = connect_to(&server.address);
    // A whole message for each of the programs.
    waiting.write_all(b"\0\0\0\x01x").expect("there is room");
    eventually("the server is idle", || server.is_asleep());
    waiting.set_nonblocking(true).expect("the option is set");
    let read = waiting.read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(read, Err(ErrorKind::WouldBlock));
    waiting.set_nonblocking(false).expect("the option is set");
    served.pop();
    waiting.read_exact(&mut [0]).expect("now it is served");
}

#[test]
fn the_small_servers_have_a_limit_of_connections() {
    // In a process of its own, because of the descriptors.
    in_child(|| {
        for (name, options) in [
            ("hello_server", &[][..]),
            ("framed_server", &[]),
            ("upper_server", &[]),
            ("auth_server", &["--key", "sesame"]),
            ("mp_server", &["--key", "sesame"]),
        ] {
            serves_at_most(256, &start(name, options));
        }
    });
}

#[test]
fn max_connections_is_an_option_of_the_chat() {
    serves_at_most(3, &start("chat_server", &["--max-connections", "3"]));
}

#[test]
fn per_ip_is_an_option_of_the_chat() {
    let server = start("chat_server", &["--per-ip", "2"]);
    let mut served = [connect_to(&server.address), connect_to(&server.address)];
    for client in &mut served {
        client.read_exact(&mut [0]).expect("the server greets");
    }
    assert_eq!(read_all(connect_to(&server.address)), "");
}

/// Both clients are idle, and neither the end of the stream nor the log says that it is an error.
#[test]
fn idle_clients_are_disconnected() {
    for (name, options) in [
        ("chat_server", &[][..]),
        ("echo_server", &[]),
        #[cfg(feature = "green")]
        ("chat_server", &["--green"]),
    ] {
        let server = start(name, &[&["--idle-timeout", "1"], options].concat());
        let silent = connect_to(&server.address);
        let mut active = connect_to(&server.address);
        active.write_all(b"hello\n").expect("the server reads");
        read_all(silent);
        read_all(active);
        server.signal(Signal::SIGTERM);
        let (status, _, log) = server.finish();
        assert!(status.success() && !log.contains("ERROR"), "{name}: {log}");
    }
}

/// A client that does not read what it is sent is reset, and the thread is free again.
#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let server = start("echo_server", &["--write-timeout", "1"]);
    let mut client = connect_to(&server.address);
    let sent = std::iter::repeat_with(|| client.write(&[0; 65_536])).take(10_000);
    assert!(
        sent.into_iter().any(|sent| sent.is_err()),
        "it is never reset"
    );
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

/// The client's end and the target's end of a connection through the relay.
fn relayed(relay: &Example, target: &std::net::TcpListener) -> (TcpStream, TcpStream) {
    let client = connect_to(&relay.address);
    let (target, _) = target.accept().expect("the relay connects");
    support::set_timeouts(&target);
    (client, target)
}

/// Only the connection in which both directions are silent.
fn the_relay_resets_a_connection_that_is_idle_in_both_directions(options: &[&str]) {
    const IDLE: Duration = Duration::from_secs(3);
    let target = std::net::TcpListener::bind(ANY).expect("a port is free");
    let address = target.local_addr().expect("the socket is bound");
    let address = address.to_string();
    let idle_timeout = [&*address, "--idle-timeout", "3"];
    let relay = start("relay", &[&idle_timeout, options].concat());
    let begin = Instant::now();
    let (idle, idle_target) = relayed(&relay, &target);
    let (active, mut active_target) = relayed(&relay, &target);
    thread::scope(|scope| {
        scope.spawn(|| {
            while begin.elapsed() < 2 * IDLE {
                active_target.write_all(b"x").expect("the relay reads");
                thread::sleep(Duration::from_millis(100));
            }
            drop(active_target);
        });
        assert_reset(&idle);
        assert_reset(&idle_target);
        assert!(begin.elapsed() >= IDLE);
        assert!(read_all(&active).len() > 1);
    });
}

#[test]
fn the_relay_limits_connections() {
    let target = std::net::TcpListener::bind(ANY).expect("a port is free");
    let address = target.local_addr().expect("the socket is bound");
    let options = [
        &*address.to_string(),
        "--max-connections",
        "3",
        "--per-ip",
        "2",
    ];
    let relay = start("relay", &options);
    let _served = [relayed(&relay, &target), relayed(&relay, &target)];
    assert_eq!(read_all(connect_to(&relay.address)), "");
}
