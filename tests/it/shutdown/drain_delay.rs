//! The delay before a shutdown: the server accepts and serves, each connection ends after its next message, and
//! health checks say that it is down.

use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{Dispatch, Server};
use tempfile::TempDir;

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::gate::Gate;
use support::kind::{Client, Kind, StreamClient, StreamKind, echo_message};
use support::{
    ANY, HOUR, LONG, connect, eventually, exchange, for_stream_kinds, in_background, join_soon,
    read_all, socket_folder,
};

mod each {
    use super::{a_server_accepts_until_the_delay_is_over, closing_the_server_ends_the_delay};

    support::for_all_servers! {
        a_server_accepts_until_the_delay_is_over
        closing_the_server_ends_the_delay
    }
}
for_stream_kinds! {
    an_idle_connection_ends_after_its_next_message
    a_busy_connection_ends_after_a_message_that_began_later
    a_connection_that_comes_later_has_one_message
    messages_that_have_arrived_are_answered
    an_idle_connection_without_a_message_ends_with_the_delay
}

const SHORT: Duration = Duration::from_millis(300);

fn a_server_accepts_until_the_delay_is_over<L: Kind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let builder = Server::<L, D>::builder().drain_delay(SHORT);
    let server = builder.bind_fn(L::address(folder.path()), echo_message);
    let server = in_background(server);
    let handle = server.handle();
    assert!(handle.is_ready() && !handle.is_shutting_down());
    let began = Instant::now();
    handle.shutdown();
    assert!(!handle.is_ready() && handle.is_shutting_down());
    let mut client = L::connect(server.server_address());
    let answer = client.exchange("hello");
    // A machine may be too busy for that.
    if began.elapsed() < SHORT {
        assert_eq!(answer, "hello");
    }
    handle.shutdown();
    let address = server.server_address().clone();
    server.join().expect("a shutdown is not an error");
    assert!(began.elapsed() >= SHORT);
    // A process that another test starts has a copy of the socket for a moment.
    eventually("the address is free", || L::is_free(&address));
}

/// Whatever waits for the end does not wait for the delay.
fn closing_the_server_ends_the_delay<L: Kind, D: Dispatch + Default>() {
    let folder = socket_folder();
    type End = fn(BackgroundServer);
    let ends: [End; 3] = [
        drop,
        |server| server.stop().expect("a shutdown is not an error"),
        |server| {
            let report = server.handle().shutdown_within(LONG);
            assert_eq!((report.forced, report.unfinished), (0, 0));
        },
    ];
    for end in ends {
        let builder = Server::<L, D>::builder().drain_delay(HOUR);
        let server = builder.bind_fn(L::address(folder.path()), echo_message);
        let server = in_background(server);
        server.handle().shutdown();
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange("hello"), "hello");
        let address = server.server_address().clone();
        end(server);
        // A process that another test starts has a copy of the socket for a moment.
        eventually("the address is free", || L::is_free(&address));
    }
}

struct Lines {
    server: BackgroundServer,
    gate: Gate,
    _folder: TempDir,
}

/// A server of lines. The answer of a line that begins with `wait` waits at the gate.
fn lines<L: StreamKind>(delay: Duration) -> Lines {
    let (folder, gate) = (socket_folder(), Gate::default());
    let builder = Server::<L, Concurrent>::builder()
        .drain_delay(delay)
        .shutdown_timeout(HOUR);
    let held = gate.clone();
    let server = builder.bind_fn(L::address(folder.path()), move |request| {
        for line in &mut request.rfile {
            let line = line?;
            if line.starts_with(b"wait") {
                held.hold("")?;
            }
            request.wfile.write_all(&line)?;
        }
        Ok(())
    });
    Lines {
        server: in_background(server),
        gate,
        _folder: folder,
    }
}

fn an_idle_connection_ends_after_its_next_message<L: StreamKind>() {
    let Lines { server, .. } = &lines::<L>(HOUR);
    let mut used = L::connect(server.server_address());
    assert_eq!(used.exchange("before"), "before");
    server.handle().shutdown();
    assert_eq!(used.exchange("after"), "after");
    assert_eq!(used.receive_line(), "");
    eventually("it counts as finished", || {
        server.handle().statistics().finished == 1
    });
}

fn a_busy_connection_ends_after_a_message_that_began_later<L: StreamKind>() {
    let Lines { server, gate, .. } = &lines::<L>(HOUR);
    let mut busy = L::connect(server.server_address());
    busy.send_line("wait");
    gate.next();
    server.handle().shutdown();
    gate.release(1);
    // Its handler may have decided before that the connection stays.
    assert_eq!(busy.receive_line(), "wait");
    assert_eq!(busy.exchange("last"), "last");
    assert_eq!(busy.receive_line(), "");
}

fn a_connection_that_comes_later_has_one_message<L: StreamKind>() {
    let Lines { server, .. } = &lines::<L>(HOUR);
    let mut silent = L::connect(server.server_address());
    server.handle().shutdown();
    for _ in 0..3 {
        let mut late = L::connect(server.server_address());
        assert_eq!(late.exchange("only"), "only");
        assert_eq!(late.receive_line(), "");
    }
    // It was accepted before, and had sent nothing.
    assert_eq!(silent.exchange("only"), "only");
    assert_eq!(silent.receive_line(), "");
}

fn messages_that_have_arrived_are_answered<L: StreamKind>() {
    for _ in 0..20 {
        let Lines { server, gate, .. } = &lines::<L>(HOUR);
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange("before"), "before");
        client.send_line("wait 1");
        gate.next();
        server.handle().shutdown();
        client.send_line("wait 2");
        client.wait_until_received();
        gate.release(1);
        gate.next();
        // More than the read buffer has space for.
        let many: String = (0..3000).map(|number| format!("{number}\n")).collect();
        client.send_part(&many);
        client.wait_until_received();
        gate.release(1);
        assert_eq!(client.receive_line(), "wait 1");
        assert_eq!(client.receive_line(), "wait 2");
        for number in 0..3000 {
            assert_eq!(client.receive_line(), number.to_string());
        }
        assert_eq!(client.receive_line(), "");
    }
}

fn an_idle_connection_without_a_message_ends_with_the_delay<L: StreamKind>() {
    let Lines {
        server, _folder, ..
    } = lines::<L>(SHORT);
    let mut idle = L::connect(server.server_address());
    assert_eq!(idle.exchange("before"), "before");
    let began = Instant::now();
    server.handle().shutdown();
    assert_eq!(idle.receive_line(), "");
    assert!(began.elapsed() >= SHORT);
    server.join().expect("a shutdown is not an error");
}

#[test]
fn a_greeting_is_no_message() {
    let builder = ConcurrentTcpServer::builder().drain_delay(HOUR);
    let server = in_background(builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"welcome\n")?;
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }));
    server.handle().shutdown();
    let mut late = connect(server.server_address());
    assert_eq!(exchange(&late, ""), "welcome\n");
    late.write_all(b"hello\n").expect("the server reads");
    assert_eq!(read_all(late), "hello\n");
}

/// A handler without boundaries between messages goes on until the forced close, whose time is counted from the
/// end of the delay.
#[test]
fn a_connection_that_is_never_idle_stays_until_the_limit() {
    let builder = ConcurrentTcpServer::builder()
        .drain_delay(SHORT)
        .shutdown_timeout(SHORT);
    let server = in_background(builder.bind_fn(ANY, |request| {
        let mut line = String::new();
        while request.rfile.read_line(&mut line)? > 0 {
            request.wfile.write_all(line.as_bytes())?;
            line.clear();
        }
        Ok(())
    }));
    let mut client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    let began = Instant::now();
    server.handle().shutdown();
    while let Ok(1..) = client.read(&mut [0]) {}
    assert!(began.elapsed() >= 2 * SHORT);
    server.join().expect("a shutdown is not an error");
}

/// As without a delay, except that it serves until then.
#[test]
fn a_shutdown_before_serving() {
    let builder = ConcurrentTcpServer::builder().drain_delay(SHORT);
    let server = builder.bind_fn(ANY, echo_message).expect("a port is free");
    let began = Instant::now();
    server.shutdown();
    let client = connect(server.server_address());
    server.serve_forever().expect("a shutdown is not an error");
    assert!(began.elapsed() >= SHORT);
    drop((client, server));
}

#[test]
fn a_waiting_thread_waits_for_the_end_of_the_delay() {
    let builder = ConcurrentTcpServer::builder().drain_delay(SHORT);
    let server = in_background(builder.bind_fn(ANY, echo_message));
    let handle = server.handle();
    let began = Instant::now();
    handle.shutdown();
    let waiting = thread::spawn(move || handle.wait());
    join_soon(waiting);
    assert!(began.elapsed() >= SHORT);
}

#[test]
fn readiness_is_set_and_follows_the_server() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, echo_message));
    let handle = server.handle();
    assert!(handle.is_ready());
    handle.set_ready(false);
    assert!(!handle.is_ready());
    // It serves as before.
    assert_eq!(
        exchange(connect(server.server_address()), "hello\n"),
        "hello\n"
    );
    handle.set_ready(true);
    for stop in [
        socketserver::ServerHandle::pause,
        socketserver::ServerHandle::stop_listening,
    ] {
        assert!(handle.is_ready());
        stop(&handle);
        assert!(!handle.is_ready());
        handle.resume();
    }
    server.stop().expect("a shutdown is not an error");
    handle.set_ready(true);
    assert!(!handle.is_ready());
}
