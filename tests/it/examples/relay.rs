//! The example `relay`: what passes through it, and in which order each end hears of the other's end.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockRef;

use support::example::{self, Example};
use support::pattern::Pattern;
use support::{ANY, LONG, eventually, read_all};

/// A relay, and the target it passes on to.
struct Relay {
    example: Example,
    target: TcpListener,
}

impl Relay {
    fn start(options: &[&str]) -> Self {
        let target = TcpListener::bind(ANY).expect("a port is free");
        let address = target.local_addr().expect("it is bound").to_string();
        let arguments = [&[ANY, &address], options].concat();
        Relay {
            example: Example::start("relay", &arguments),
            target,
        }
    }

    /// A connection through it: the client's end, and the target's.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = connect(&self.example.address);
        let (target, _) = self.target.accept().expect("the relay connects");
        bounded(&target);
        (client, target)
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    bounded(&stream);
    stream
}

fn bounded(stream: &TcpStream) {
    stream.set_read_timeout(Some(LONG)).expect("it can be set");
    stream.set_write_timeout(Some(LONG)).expect("it can be set");
}

fn say(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("it is read");
}

fn hear(mut stream: &TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).expect("it is sent");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("it is connected");
}

/// Closes it so that the other end is told of a reset.
fn break_off(stream: TcpStream) {
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("it can be set");
}

fn assert_reset(mut stream: &TcpStream) {
    // `read` alone may be interrupted.
    let read = stream.read_exact(&mut [0]).map_err(|e| e.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// `RELAY_MIB` megabytes in each direction, 64 unless it is set.
#[test]
fn every_byte_passes_in_both_directions_at_once() {
    let megabytes: usize = env::var("RELAY_MIB").map_or(64, |text| text.parse().expect("a number"));
    let blocks = megabytes * 16;
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    thread::scope(|scope| {
        for (seed, from, to) in [(1, &client, &target), (2, &target, &client)] {
            scope.spawn(move || {
                Pattern::new(seed).send(from, blocks);
                end(from);
            });
            scope.spawn(move || {
                Pattern::new(seed).expect(to, blocks);
                assert_eq!(read_all(to), "", "more than was sent");
            });
        }
    });
}

#[test]
fn a_hundred_connections_do_not_mix() {
    let relay = Relay::start(&[]);
    let pairs: Vec<_> = (1..=100).map(|n| (n, relay.connect())).collect();
    thread::scope(|scope| {
        for (n, (client, target)) in &pairs {
            scope.spawn(move || Pattern::new(*n).send(client, 4));
            scope.spawn(move || Pattern::new(*n).expect(target, 4));
        }
    });
}

#[test]
fn the_client_ends_its_side_and_still_hears_the_target() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    say(&client, "question");
    end(&client);
    assert_eq!(read_all(&target), "question");
    say(&target, "answer");
    hear(&client, "answer");
    end(&target);
    assert_eq!(read_all(&client), "");
}

#[test]
fn the_target_ends_its_side_and_still_hears_the_client() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    say(&target, "greeting");
    end(&target);
    assert_eq!(read_all(&client), "greeting");
    say(&client, "thanks");
    hear(&target, "thanks");
    end(&client);
    assert_eq!(read_all(&target), "");
}

#[test]
fn a_target_that_breaks_off_resets_the_client() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    say(&target, "the beginning of");
    hear(&client, "the beginning of");
    break_off(target);
    assert_reset(&client);
    still_relays(&relay);
}

#[test]
fn a_client_that_breaks_off_resets_the_target() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    say(&client, "the beginning of");
    hear(&target, "the beginning of");
    break_off(client);
    assert_reset(&target);
    still_relays(&relay);
}

/// The other direction has ended in order before.
#[test]
fn who_breaks_off_after_a_half_close_resets_too() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    end(&client);
    assert_eq!(read_all(&target), "");
    say(&target, "the beginning of");
    hear(&client, "the beginning of");
    break_off(target);
    assert_reset(&client);
}

fn still_relays(relay: &Relay) {
    let (client, target) = relay.connect();
    say(&client, "still there?");
    hear(&target, "still there?");
}

#[test]
fn a_target_that_cannot_be_reached_is_logged_and_the_client_closed() {
    let free = TcpListener::bind(ANY).expect("a port is free");
    let target = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let relay = Example::start("relay", &[ANY, &target]);
    for _ in 0..2 {
        assert_eq!(read_all(connect(&relay.address)), "");
    }
    relay.signal(Signal::SIGTERM);
    let (status, _, log) = relay.finish();
    assert!(status.success());
    let wanted = format!("cannot reach {target}: Connection refused");
    assert_eq!(log.matches(&wanted).count(), 2, "{log}");
}

/// What nobody reads is not collected: the sender is held up.
#[test]
fn a_client_that_does_not_read_holds_up_its_target_only() {
    let relay = Relay::start(&[]);
    let (client, target) = relay.connect();
    target.set_nonblocking(true).expect("it can be set");
    let block = vec![0; 1 << 20];
    let mut sent = 0;
    let mut full = 0;
    eventually("the target is held up", || {
        match (&target).write(&block) {
            Ok(n) => (sent, full) = (sent + n, 0),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                full += 1;
            }
        }
        assert!(sent < 64 << 20, "the relay collects what nobody reads");
        full > 100
    });
    still_relays(&relay);
    drop(client);
}

/// The relay once it listens no more. Whoever comes meanwhile finds no target.
fn told_to_end(relay: Relay) -> Example {
    let Relay { example, target } = relay;
    drop(target);
    example.signal(Signal::SIGINT);
    eventually("it stops listening", || {
        TcpStream::connect(&example.address).is_err()
    });
    example
}

#[test]
fn ctrl_c_lets_connections_finish() {
    let relay = Relay::start(&["--drain", "60"]);
    let (client, target) = relay.connect();
    say(&client, "question");
    hear(&target, "question");
    let example = told_to_end(relay);
    say(&target, "answer");
    end(&target);
    assert_eq!(read_all(&client), "answer");
    end(&client);
    assert!(example.finish().0.success());
}

#[test]
fn ctrl_c_breaks_off_what_does_not_finish() {
    let relay = Relay::start(&["--drain", "1"]);
    let (client, target) = relay.connect();
    say(&client, "question");
    hear(&target, "question");
    relay.example.signal(Signal::SIGINT);
    assert_reset(&target);
    // An orderly end or a reset: it was asked in the middle of nothing.
    let _ = (&client).read(&mut [0; 16]);
    assert!(relay.example.finish().0.success());
}

#[test]
fn ctrl_c_lets_a_target_finish_whose_client_says_nothing() {
    let relay = Relay::start(&["--drain", "60"]);
    let (client, target) = relay.connect();
    say(&target, "one, ");
    hear(&client, "one, ");
    let example = told_to_end(relay);
    say(&target, "two");
    hear(&client, "two");
    // It was not told that the client has ended.
    target.set_nonblocking(true).expect("it is open");
    let early = (&target).read(&mut [0; 1]);
    assert!(early.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));
    end(&target);
    end(&client);
    assert!(example.finish().0.success());
}

#[test]
fn ctrl_c_ends_a_connection_that_has_said_nothing() {
    let relay = Relay::start(&["--drain", "60"]);
    let (client, target) = relay.connect();
    relay.example.signal(Signal::SIGINT);
    assert_eq!(read_all(&target), "");
    drop(target);
    assert_eq!(read_all(&client), "");
    assert!(relay.example.finish().0.success());
}

#[test]
fn a_target_that_is_no_address_is_an_error() {
    for target in [
        "nonsense",
        ":80",
        "localhost:",
        "localhost:http",
        "localhost:0",
    ] {
        let output = example::run("relay", &[ANY, target]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("not HOST:PORT"), "{said}");
    }
}
