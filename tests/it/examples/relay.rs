//! The example `relay`: it passes on all bytes, and the end of one side to the other side.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use support::example::{self, Example};
use support::pattern::Pattern;
use support::{ANY, assert_reset, connect_to, eventually, read_all, reset, set_timeouts};

support::for_threads_and_green! {
    all_bytes_are_relayed_in_both_directions
    a_hundred_connections_are_separate
    half_close_by_the_client
    half_close_by_the_target
    a_reset_of_the_target_resets_the_client
    a_reset_of_the_client_resets_the_target
    a_reset_after_a_half_close_resets_the_other_side
    an_unreachable_target_is_logged_and_the_client_is_closed
    a_client_that_does_not_read_blocks_its_target_only
    an_end_that_reads_slowly_is_not_idle
    idle_ends_are_reset
    ctrl_c_waits_for_running_connections
    ctrl_c_resets_connections_that_do_not_finish
    ctrl_c_waits_for_a_target_that_still_sends
    ctrl_c_closes_a_connection_that_has_sent_nothing
}

/// A relay and its target.
struct Relay {
    example: Example,
    target: TcpListener,
}

impl Relay {
    fn start(options: &[&str]) -> Self {
        let target = TcpListener::bind(ANY).expect("a port is free");
        let address = target
            .local_addr()
            .expect("the socket is bound")
            .to_string();
        let arguments = [&[ANY, &address], options].concat();
        Relay {
            example: Example::start("relay", &arguments),
            target,
        }
    }

    /// A connection through the relay: the client's end, and the target's end.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = connect_to(&self.example.address);
        let (target, _) = self.target.accept().expect("the relay connects");
        set_timeouts(&target);
        (client, target)
    }
}

fn send_text(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("the data is read");
}

fn expect_text(mut stream: &TcpStream, text: &str) {
    let mut received = vec![0; text.len()];
    stream.read_exact(&mut received).expect("the text arrives");
    assert_eq!(String::from_utf8_lossy(&received), text);
}

fn end(stream: &TcpStream) {
    stream
        .shutdown(Shutdown::Write)
        .expect("the socket is connected");
}

/// `RELAY_MIB` mebibytes in each direction. The default is 64.
fn all_bytes_are_relayed_in_both_directions(options: &[&str]) {
    let megabytes: usize = env::var("RELAY_MIB").map_or(64, |text| text.parse().expect("a number"));
    let blocks = megabytes * 16;
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    thread::scope(|scope| {
        for (seed, from, to) in [(1, &client, &target), (2, &target, &client)] {
            scope.spawn(move || {
                Pattern::new(seed).send(from, blocks);
                end(from);
            });
            scope.spawn(move || {
                Pattern::new(seed).expect(to, blocks);
                assert_eq!(read_all(to), "", "no excess bytes are received");
            });
        }
    });
}

fn a_hundred_connections_are_separate(options: &[&str]) {
    let relay = Relay::start(options);
    let pairs: Vec<_> = (1..=100).map(|n| (n, relay.connect())).collect();
    thread::scope(|scope| {
        for (n, (client, target)) in &pairs {
            scope.spawn(move || Pattern::new(*n).send(client, 4));
            scope.spawn(move || Pattern::new(*n).expect(target, 4));
        }
    });
}

fn half_close_by_the_client(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    send_text(&client, "question");
    end(&client);
    assert_eq!(read_all(&target), "question");
    send_text(&target, "answer");
    expect_text(&client, "answer");
    end(&target);
    assert_eq!(read_all(&client), "");
}

fn half_close_by_the_target(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    send_text(&target, "greeting");
    end(&target);
    assert_eq!(read_all(&client), "greeting");
    send_text(&client, "thanks");
    expect_text(&target, "thanks");
    end(&client);
    assert_eq!(read_all(&target), "");
}

fn a_reset_of_the_target_resets_the_client(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    send_text(&target, "the beginning of");
    expect_text(&client, "the beginning of");
    reset(target);
    assert_reset(&client);
    still_relays(&relay);
}

fn a_reset_of_the_client_resets_the_target(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    send_text(&client, "the beginning of");
    expect_text(&target, "the beginning of");
    reset(client);
    assert_reset(&target);
    still_relays(&relay);
}

/// The other direction was shut down before the reset.
fn a_reset_after_a_half_close_resets_the_other_side(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    end(&client);
    assert_eq!(read_all(&target), "");
    send_text(&target, "the beginning of");
    expect_text(&client, "the beginning of");
    reset(target);
    assert_reset(&client);
}

fn still_relays(relay: &Relay) {
    let (client, target) = relay.connect();
    send_text(&client, "still there?");
    expect_text(&target, "still there?");
}

fn an_unreachable_target_is_logged_and_the_client_is_closed(options: &[&str]) {
    let free = TcpListener::bind(ANY).expect("a port is free");
    let target = free.local_addr().expect("the socket is bound").to_string();
    drop(free);
    let relay = Example::start("relay", &[&[ANY, &target], options].concat());
    for _ in 0..2 {
        assert_eq!(read_all(connect_to(&relay.address)), "");
    }
    relay.signal(Signal::SIGTERM);
    let (status, _, log) = relay.finish();
    assert!(status.success());
    let wanted = format!("cannot reach {target}: cannot connect to {target}: Connection refused");
    assert_eq!(log.matches(&wanted).count(), 2, "{log}");
}

/// The relay does not collect unread data, so the sender blocks.
fn a_client_that_does_not_read_blocks_its_target_only(options: &[&str]) {
    let relay = Relay::start(options);
    let (client, target) = relay.connect();
    target.set_nonblocking(true).expect("the option is set");
    let block = vec![0; 1 << 20];
    let mut sent = 0;
    let mut full = 0;
    eventually("the target is blocked", || {
        match (&target).write(&block) {
            Ok(n) => (sent, full) = (sent + n, 0),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                full += 1;
            }
        }
        assert!(sent < 64 << 20, "the relay collects unread data");
        full > 100
    });
    still_relays(&relay);
    drop(client);
}

/// Slowly: what was received once takes longer to send than the idle timeout, but a part of it is always sent.
fn an_end_that_reads_slowly_is_not_idle(options: &[&str]) {
    let relay = Relay::start(&[&["--idle-timeout", "3"], options].concat());
    let client = connect_with_small_buffer(&relay.example.address);
    let (target, _) = relay.target.accept().expect("the relay connects");
    thread::scope(|scope| {
        // It ends when the client is gone.
        scope.spawn(|| while (&target).write_all(&[b'x'; 1 << 16]).is_ok() {});
        let mut buffer = [0; 4096];
        for _ in 0..450 {
            let received = (&client).read(&mut buffer);
            assert!(received.expect("the relay goes on") > 0);
            thread::sleep(Duration::from_millis(20));
        }
        reset(client);
    });
}

/// The system tells a sender early that there is space in a small buffer.
fn connect_with_small_buffer(address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
    let small = socket.set_recv_buffer_size(1 << 14);
    small.expect("the option is set");
    let address: SocketAddr = address.parse().expect("an IP address");
    socket.connect(&address.into()).expect("the relay listens");
    let stream = TcpStream::from(socket);
    set_timeouts(&stream);
    stream
}

fn idle_ends_are_reset(options: &[&str]) {
    let relay = Relay::start(&[&["--idle-timeout", "1"], options].concat());
    let (client, target) = relay.connect();
    send_text(&client, "question");
    expect_text(&target, "question");
    assert_reset(&client);
    assert_reset(&target);
    let (status, _, log) = interrupt(relay).finish();
    assert!(status.success());
    assert!(log.contains("was reset: it was idle for 1 s"), "{log}");
}

/// Sends SIGINT, and waits until the relay has closed its port.
fn interrupt(relay: Relay) -> Example {
    let Relay { example, target } = relay;
    drop(target);
    example.signal(Signal::SIGINT);
    eventually("the relay stops listening", || {
        TcpStream::connect(&example.address).is_err()
    });
    example
}

fn ctrl_c_waits_for_running_connections(options: &[&str]) {
    let relay = Relay::start(&[&["--drain", "60"], options].concat());
    let (client, target) = relay.connect();
    send_text(&client, "question");
    expect_text(&target, "question");
    let example = interrupt(relay);
    send_text(&target, "answer");
    end(&target);
    assert_eq!(read_all(&client), "answer");
    end(&client);
    assert!(example.finish().0.success());
}

fn ctrl_c_resets_connections_that_do_not_finish(options: &[&str]) {
    let relay = Relay::start(&[&["--drain", "1"], options].concat());
    let (client, target) = relay.connect();
    send_text(&client, "question");
    expect_text(&target, "question");
    relay.example.signal(Signal::SIGINT);
    assert_reset(&target);
    // The end of the stream, or a reset.
    let _ = (&client).read(&mut [0; 16]);
    assert!(relay.example.finish().0.success());
}

fn ctrl_c_waits_for_a_target_that_still_sends(options: &[&str]) {
    let relay = Relay::start(&[&["--drain", "60"], options].concat());
    let (client, target) = relay.connect();
    send_text(&target, "one, ");
    expect_text(&client, "one, ");
    let example = interrupt(relay);
    send_text(&target, "two");
    expect_text(&client, "two");
    // The relay has not passed on an end of the client's side.
    target
        .set_nonblocking(true)
        .expect("the connection is open");
    let early = (&target).read(&mut [0; 1]);
    assert!(early.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));
    end(&target);
    end(&client);
    assert!(example.finish().0.success());
}

fn ctrl_c_closes_a_connection_that_has_sent_nothing(options: &[&str]) {
    let relay = Relay::start(&[&["--drain", "60"], options].concat());
    let (client, target) = relay.connect();
    relay.example.signal(Signal::SIGINT);
    assert_eq!(read_all(&target), "");
    drop(target);
    assert_eq!(read_all(&client), "");
    assert!(relay.example.finish().0.success());
}

#[test]
fn a_target_without_an_address_is_an_error() {
    for target in [
        "invalid",
        ":80",
        "localhost:",
        "localhost:http",
        "localhost:0",
    ] {
        let output = example::run("relay", &[ANY, target]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        let stdout = String::from_utf8_lossy(&output.stderr);
        assert!(stdout.contains("not HOST:PORT"), "{stdout}");
    }
}
