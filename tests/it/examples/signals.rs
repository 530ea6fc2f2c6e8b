//! SIGINT, SIGTERM and SIGHUP end the examples gracefully, and a second signal ends them at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socketserver::Address;

use support::example::{self, Example};
use support::process::descriptors;
use support::{ANY, connect, connect_unix, eventually, read_all, socket_path};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

fn ip(example: &Example) -> Address {
    let address: SocketAddr = example.address.parse().expect("an IP address");
    address.into()
}

/// Sends a message, and checks that it is sent back.
fn expect_echo(client: &mut (impl Read + Write), text: &str) {
    client.write_all(text.as_bytes()).expect("the server reads");
    let mut echoed = vec![0; text.len()];
    client.read_exact(&mut echoed).expect("the server answers");
    assert_eq!(echoed, text.as_bytes());
}

/// A client that sends nothing, and that the server has accepted.
fn silent_client(example: &Example) -> TcpStream {
    // The server may open files while it starts.
    eventually("the server sleeps", || example.is_asleep());
    let before = descriptors(example.pid());
    let client = connect(&ip(example));
    eventually("the client is accepted", || {
        descriptors(example.pid()) > before
    });
    client
}

fn expect_status_0(example: Example, what: &str) {
    let (status, output, log) = example.finish();
    assert_eq!(status.code(), Some(0), "{what}: {log}");
    assert_eq!(output, "", "{what}");
}

#[test]
fn a_signal_ends_an_echo_server_with_an_idle_client() {
    for kind in [
        "tcp",
        "threading-tcp",
        #[cfg(feature = "green")]
        "green-tcp",
    ] {
        for signal in SIGNALS {
            let example = Example::start("echo_server", &[ANY, "--server", kind]);
            let mut client = connect(&ip(&example));
            expect_echo(&mut client, "hello");
            example.signal(signal);
            assert_eq!(read_all(client), "", "{kind}, {signal}");
            expect_status_0(example, kind);
        }
    }
}

/// Starts `echo_server` from a program that ignores a signal.
fn start_ignoring(mut program: Command) -> Example {
    program.arg(example::path("echo_server")).arg(ANY);
    Example::launch(program)
}

/// Checks that the server goes on after the signal, and ends after SIGTERM.
fn expect_ignored(example: Example, signal: Signal) {
    let mut idle = connect(&ip(&example));
    expect_echo(&mut idle, "hello");
    example.signal(signal);
    // A signal that is not ignored ends the idle connection.
    eventually("the server sleeps", || example.is_asleep());
    expect_echo(&mut idle, "still here");
    expect_echo(&mut connect(&ip(&example)), "me too");
    example.signal(Signal::SIGTERM);
    assert_eq!(read_all(idle), "");
    let (status, _, log) = example.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("shutting down").count(), 1, "{log}");
    assert!(!log.contains("second signal"), "{log}");
}

#[test]
fn nohup_protects_a_server_from_sighup() {
    expect_ignored(start_ignoring(Command::new("nohup")), Signal::SIGHUP);
}

/// A shell without job control starts a background job with SIGINT ignored, so that Ctrl-C ends the
/// programs in the foreground only.
#[test]
fn a_background_job_of_a_shell_ignores_sigint() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$@\"", "sh"]);
    expect_ignored(start_ignoring(shell), Signal::SIGINT);
}

#[test]
fn a_signal_ends_a_unix_echo_server_and_removes_its_path() {
    for kind in [
        "unix-stream",
        "threading-unix-stream",
        #[cfg(feature = "green")]
        "green-unix-stream",
    ] {
        for signal in SIGNALS {
            let (_folder, path) = socket_path();
            let text = path.to_str().expect("the path is UTF-8");
            let example = Example::start("echo_server", &[text, "--server", kind]);
            let mut client = connect_unix(&Address::Path(path.clone()));
            expect_echo(&mut client, "hello");
            example.signal(signal);
            assert_eq!(read_all(client), "", "{kind}, {signal}");
            expect_status_0(example, kind);
            assert!(!path.exists(), "{kind}, {signal}");
        }
    }
}

#[test]
fn a_signal_ends_a_server_with_a_silent_client() {
    for name in ["upper_server", "echo_server"] {
        for signal in SIGNALS {
            let example = Example::start(name, &[ANY]);
            let client = silent_client(&example);
            example.signal(signal);
            assert_eq!(read_all(client), "", "{name}, {signal}");
            let (status, _, log) = example.finish();
            assert_eq!(status.code(), Some(0), "{name}, {signal}: {log}");
        }
    }
}

#[test]
fn a_signal_ends_the_udp_server() {
    for arguments in [
        &[ANY][..],
        &[ANY, "--threading"],
        #[cfg(feature = "green")]
        &[ANY, "--green"],
    ] {
        for signal in SIGNALS {
            let example = Example::start("udp_echo_server", arguments);
            example.signal(signal);
            expect_status_0(example, "udp_echo_server");
        }
    }
}

#[test]
fn the_log_names_the_signal_and_the_address() {
    let example = Example::start("echo_server", &[ANY]);
    let address = example.address.clone();
    example.signal(Signal::SIGTERM);
    let (_, _, log) = example.finish();
    assert!(
        log.contains(&format!("shutting down tcp {address}")),
        "{log}"
    );
    assert!(
        log.contains(&format!("stopped serving on tcp {address}")),
        "{log}"
    );
}

#[test]
fn a_message_that_arrived_before_the_signal_is_answered() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let example = Example::start("echo_server", &[ANY]);
        let mut clients: Vec<_> = (0..16).map(|_| connect(&ip(&example))).collect();
        for client in &mut clients {
            expect_echo(client, "hello");
        }
        eventually("the handlers wait for data", || example.is_asleep());
        for (number, client) in clients.iter_mut().enumerate() {
            let message = format!("message {number}");
            client
                .write_all(message.as_bytes())
                .expect("the message is sent");
        }
        example.signal(signal);
        for (number, client) in clients.into_iter().enumerate() {
            assert_eq!(read_all(client), format!("message {number}"));
        }
        expect_status_0(example, "echo_server");
    }
}

#[test]
fn upper_server_answers_a_message_that_arrived_before_the_signal() {
    let example = Example::start("upper_server", &[ANY]);
    let mut clients: Vec<_> = (0..16).map(|_| silent_client(&example)).collect();
    for client in &mut clients {
        client.write_all(b"hello").expect("the server reads");
    }
    example.signal(Signal::SIGTERM);
    for client in clients {
        assert_eq!(read_all(client), "HELLO");
    }
    let (status, output, log) = example.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(output.matches("hello").count(), 16);
}

/// A client that sends and never reads. Returns when the server is blocked in a write, so a request
/// is running. The thread ends with the connection.
fn flood(example: &Example) -> JoinHandle<()> {
    let mut client = connect(&ip(example));
    client
        .set_write_timeout(None)
        .expect("the timeout is removed");
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let writer = thread::spawn(move || {
        while let Ok(count) = client.write(&[b'x'; 8192]) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    });
    let (mut last, mut since) = (0, Instant::now());
    eventually("the server is blocked", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_millis(500)
    });
    writer
}

/// Reads the log up to a line that contains `text`.
fn wait_for_log(log: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        let read = log.read_line(&mut line).expect("the log is text");
        assert!(read > 0, "the log ended without {text:?}");
    }
}

#[test]
fn a_second_signal_forces_running_connections_to_close() {
    for kind in [
        "tcp",
        "threading-tcp",
        #[cfg(feature = "green")]
        "green-tcp",
    ] {
        let mut example = Example::start("echo_server", &[ANY, "--server", kind]);
        let mut log = BufReader::new(example.child.stderr.take().expect("the stream is piped"));
        let writer = flood(&example);
        example.signal(Signal::SIGTERM);
        wait_for_log(&mut log, "shutting down");
        // Without this wait, a server that wrongly closes the connection could still be running.
        thread::sleep(Duration::from_millis(200));
        assert!(example.is_running(), "{kind}: the request still runs");

        example.signal(Signal::SIGTERM);
        eventually("the server ends", || !example.is_running());
        let status = example.child.wait().expect("a child process");
        assert_eq!(status.code(), Some(0), "{kind}");
        writer.join().expect("the write fails");
    }
}

/// Sends a second signal. A signal within 0.1 s after the server has acted on the first counts as the same
/// one, and on a busy machine the server acts late.
fn signal_again(example: &mut Example) {
    thread::sleep(Duration::from_secs(1));
    assert!(example.is_running(), "the request still runs");
    example.signal(Signal::SIGTERM);
}

#[test]
fn two_signals_at_once_count_as_one() {
    let mut example = Example::start("echo_server", &[ANY]);
    let mut log = BufReader::new(example.child.stderr.take().expect("the stream is piped"));
    let mut client = connect(&ip(&example));
    expect_echo(&mut client, "hello");
    let writer = flood(&example);
    example.signal(Signal::SIGINT);
    example.signal(Signal::SIGTERM);
    // The end of the idle connection shows that the server has handled the first signal.
    assert_eq!(read_all(client), "");
    signal_again(&mut example);
    wait_for_log(&mut log, "closing all connections");
    writer.join().expect("the write fails");
}

#[test]
fn the_log_reports_connections_forced_by_a_second_signal() {
    for _ in 0..5 {
        let mut example = Example::start("echo_server", &[ANY, "--server", "tcp"]);
        let mut log = BufReader::new(example.child.stderr.take().expect("the stream is piped"));
        let writer = flood(&example);
        example.signal(Signal::SIGTERM);
        wait_for_log(&mut log, "shutting down");
        signal_again(&mut example);
        wait_for_log(&mut log, "closing all connections");
        writer.join().expect("the write fails");
    }
}

#[test]
fn a_second_signal_ends_a_drain_delay() {
    let options = [ANY, "--drain-delay", "3600"];
    let example = Example::start("echo_server", &options);
    let mut before = connect(&ip(&example));
    expect_echo(&mut before, "hello");
    example.signal(Signal::SIGTERM);
    let mut shut_down = before.try_clone().expect("there is a descriptor");
    // It serves one more message of each connection.
    expect_echo(&mut shut_down, "hello");
    expect_echo(&mut connect(&ip(&example)), "hello");
    let silent = silent_client(&example);
    thread::sleep(Duration::from_millis(200));
    example.signal(Signal::SIGTERM);
    let (status, _, log) = example.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("second signal"), "{log}");
    drop(silent);
}
