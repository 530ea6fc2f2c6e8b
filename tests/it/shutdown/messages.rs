//! Which messages a shutdown and the idle timeout leave: those that began before are served whole, and
//! none that begins later.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Server};
use tempfile::TempDir;

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::gate::Gate;
use support::kind::{Client, StreamClient, StreamKind};
use support::{
    ANY, LONG, connect, eventually, for_stream_kinds, in_background, next, read_all, socket_folder,
};

/// The same without `next_line`, so that the server does not know where a message ends.
fn report_plain_lines(served: Sender<String>) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        loop {
            let line = request.rfile.readline(100)?;
            if line.is_empty() {
                return Ok(());
            }
            served.send(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())?;
            request.wfile.write_all(b"done\n")?;
        }
    }
}

/// Reports the lines that it serves, and answers `done`.
fn report_lines(served: Sender<String>) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        while let Some(line) = request.next_line()? {
            served.send(line)?;
            request.wfile.write_all(b"done\n")?;
        }
        Ok(())
    }
}

struct Served {
    server: BackgroundServer,
    lines: Receiver<String>,
    _folder: TempDir,
}

fn serve<L: StreamKind>(idle: Option<Duration>) -> Served {
    let (served, lines) = channel();
    let folder = socket_folder();
    let builder = Server::<L, Concurrent>::builder().idle_timeout(idle);
    let server = builder.bind_fn(L::address(folder.path()), report_lines(served));
    Served {
        server: in_background(server),
        lines,
        _folder: folder,
    }
}

/// Longer than the second half of a message has ever been waited for by mistake.
const LATE: Duration = Duration::from_millis(1200);

/// Sends the first half of a message for each client while `end` ends their connections, and the second
/// half late. Returns what was served.
fn served_of_halves<C: StreamClient + Send>(
    clients: &mut [C],
    lines: &Receiver<String>,
    end: impl FnOnce() + Send,
) -> Vec<String> {
    thread::scope(|scope| {
        scope.spawn(end);
        for client in &mut *clients {
            client.send_part("delete 12");
        }
    });
    thread::sleep(LATE);
    for client in clients {
        client.send_part("34\n");
        client.end();
        while !client.receive_line().is_empty() {}
    }
    lines.try_iter().collect()
}

/// The shutdown comes to some connections before the first half of a message, and to others after it.
fn a_shutdown_never_cuts_a_message<L: StreamKind>() {
    for _ in 0..5 {
        let Served {
            server,
            lines,
            _folder,
        } = serve::<L>(None);
        let connect = |_| {
            let mut client = L::connect(server.server_address());
            assert_eq!(client.exchange("first"), "done");
            assert_eq!(next(&lines), "first");
            client
        };
        let mut clients: Vec<_> = (0..200).map(connect).collect();
        let handle = server.handle();
        let served = served_of_halves(&mut clients, &lines, move || handle.shutdown());
        assert!(
            served.iter().all(|line| line == "delete 1234"),
            "{served:?}"
        );
        server.stop().expect("a shutdown is not an error");
    }
}

/// The idle timeout comes to some connections before the first half of a message, and to others after it.
fn an_idle_timeout_never_cuts_a_message<L: StreamKind>() {
    // Longer than a client takes from its connect to its first line on a busy machine.
    let idle = Duration::from_millis(200);
    for _ in 0..5 {
        let Served {
            server,
            lines,
            _folder,
        } = serve::<L>(Some(idle));
        let connect = |_| {
            let mut client = L::connect(server.server_address());
            // At once, because a new connection is idle too.
            client.send_part("first\n");
            client
        };
        let mut clients: Vec<_> = (0..200).map(connect).collect();
        let first = (0..200).map(|_| next(&lines));
        assert!(first.into_iter().all(|line| line == "first"));
        // The halves are sent while the timeout expires.
        thread::sleep(idle - Duration::from_millis(1));
        let served = served_of_halves(&mut clients, &lines, || ());
        assert!(
            served.iter().all(|line| line == "delete 1234"),
            "{served:?}"
        );
        server.stop().expect("a shutdown is not an error");
    }
}

/// New connections are idle too, and their handlers may read in the plain way.
fn a_shutdown_never_cuts_a_message_that_is_read_in_the_plain_way<L: StreamKind>() {
    for _ in 0..5 {
        let ((served, lines), folder) = (channel(), socket_folder());
        let handler = report_plain_lines(served);
        let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), handler);
        let server = in_background(server);
        let connect = |_| L::connect(server.server_address());
        let mut clients: Vec<_> = (0..60).map(connect).collect();
        eventually("all are accepted", || {
            server.handle().statistics().active == 60
        });
        let handle = server.handle();
        let served = served_of_halves(&mut clients, &lines, move || handle.shutdown());
        assert!(
            served.iter().all(|line| line == "delete 1234"),
            "{served:?}"
        );
        server.stop().expect("a shutdown is not an error");
    }
}

fn messages_that_arrived_before_are_served_and_no_others<L: StreamKind>() {
    let (gate, folder) = (Gate::default(), socket_folder());
    let hold = gate.clone();
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), move |request| {
        while let Some(line) = request.next_line()? {
            hold.hold(&line)?;
            writeln!(request.wfile, "{line} is served")?;
        }
        Ok(())
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    client.send_part("one\n");
    assert_eq!(gate.next(), "one");
    client.send_part("two\nthr");
    client.wait_until_received();
    server.handle().shutdown();
    client.send_part("ee\nfour\nfive\n");
    gate.release(5);
    for line in ["one", "two", "three"] {
        assert_eq!(client.receive_line(), format!("{line} is served"));
    }
    assert_eq!(client.receive_line(), "");
    server.stop().expect("a shutdown is not an error");
}

/// Also while handlers receive what arrived before the first one.
fn a_second_shutdown_lets_no_more_messages_be_served<L: StreamKind>() {
    let ((served, lines), gate, folder) = (channel(), Gate::default(), socket_folder());
    let hold = gate.clone();
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), move |request| {
        while let Some(line) = request.next_line()? {
            served.send(line.clone())?;
            if line == "one" {
                hold.hold(&line)?;
            }
        }
        Ok(())
    });
    let server = in_background(server);
    let connect = |_| {
        let mut client = L::connect(server.server_address());
        client.send_part("one\n");
        client
    };
    let mut clients: Vec<_> = (0..200).map(connect).collect();
    gate.next_few(clients.len());
    for client in &mut clients {
        client.send_part("two\nthr");
        client.wait_until_received();
    }
    server.handle().shutdown();
    for client in &mut clients {
        client.send_part("ee\nfour\nfive\n");
    }
    thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            while server.handle().statistics().active > 0 {
                server.handle().shutdown();
            }
        });
        gate.release(clients.len());
        stopping.join().expect("a shutdown does not panic");
    });
    server.stop().expect("a shutdown is not an error");
    let mut served: Vec<_> = lines.try_iter().collect();
    served.sort();
    assert_eq!(served.len(), 3 * clients.len());
    assert!(!served.contains(&"four".to_owned()), "{served:?}");
}

/// The handler blocks inside of a message when the shutdown begins.
fn the_rest_of_a_message_is_received_and_what_follows_is_not<L: StreamKind>() {
    let (begun, has_begun) = channel();
    let folder = socket_folder();
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), move |request| {
        while request.wait_for_data()? {
            begun.send(())?;
            let line = request.rfile.readline(100)?;
            request.wfile.write_all(&line.to_ascii_uppercase())?;
        }
        Ok(())
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    client.send_part("ha");
    next(&has_begun);
    client.wait_until_received();
    server.handle().shutdown();
    client.send_part("lf\nmore\n");
    assert_eq!(client.receive_line(), "HALF");
    assert_eq!(client.receive_line(), "");
    assert!(
        has_begun.try_recv().is_err(),
        "the second message is not served"
    );
    server.stop().expect("a shutdown is not an error");
}

/// A client that sends without a pause, and reads all answers.
fn a_client_that_goes_on_sending_does_not_delay_the_end<L: StreamKind>() {
    let folder = socket_folder();
    let builder = Server::<L, Concurrent>::builder().shutdown_timeout(None);
    let server = builder.bind_fn(L::address(folder.path()), |request| {
        for line in &mut request.rfile {
            request.wfile.write_all(&line?)?;
        }
        Ok(())
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("first"), "first");
    let (mut sender, mut answers) = (client.socket(), client.socket());
    drop(client);
    let sending = thread::spawn(
        move || {
            while sender.write_all(&b"again\n".repeat(1000)).is_ok() {}
        },
    );
    let mut buffer = vec![0; 100_000];
    answers.read_exact(&mut buffer).expect("the server answers");
    let stopping = thread::spawn(move || server.stop());
    let mut last = None;
    // The end of the stream, or a reset because the client sends more than the server discards.
    while let Ok(n @ 1..) = answers.read(&mut buffer) {
        last = Some(buffer[n - 1]);
    }
    assert!(
        matches!(last, None | Some(b'\n')),
        "the last answer is whole"
    );
    drop(answers);
    support::join_soon(stopping).expect("a shutdown is not an error");
    support::join_soon(sending);
}

for_stream_kinds! {
    a_shutdown_never_cuts_a_message
    an_idle_timeout_never_cuts_a_message
    a_shutdown_never_cuts_a_message_that_is_read_in_the_plain_way
    messages_that_arrived_before_are_served_and_no_others
    a_second_shutdown_lets_no_more_messages_be_served
    the_rest_of_a_message_is_received_and_what_follows_is_not
    a_client_that_goes_on_sending_does_not_delay_the_end
}

/// What `next_line` returns for a message that never ends, after a shutdown.
fn unfinished(builder: Builder<Tcp, Concurrent>) -> ErrorKind {
    let (begun, has_begun) = channel();
    let (results, result) = channel();
    let server = builder.bind_fn(ANY, move |request| {
        assert!(request.wait_for_data()?);
        begun.send(())?;
        Ok(results.send(request.next_line().map_err(|e| e.kind()))?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"delete 12").expect("the server reads");
    next(&has_begun);
    server.handle().shutdown();
    let error = result.recv_timeout(LONG).expect("the handler ends");
    let _ = client.read(&mut [0]);
    server.stop().expect("a shutdown is not an error");
    error.expect_err("the message is not whole")
}

#[test]
fn a_message_that_never_ends_is_an_error_after_a_shutdown() {
    let short = Duration::from_millis(200);
    let builder = ConcurrentTcpServer::builder;
    assert_eq!(
        unfinished(builder().read_timeout(short)),
        ErrorKind::TimedOut
    );
    assert_eq!(
        unfinished(builder().shutdown_timeout(short)),
        ErrorKind::ConnectionAborted
    );
}

#[test]
fn an_eight_mebibyte_echo_is_not_reset_by_a_shutdown() {
    const LENGTH: usize = 8 << 20;
    let (begun, has_begun) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.rfile.set_max_line(LENGTH);
        for line in &mut request.rfile {
            request.wfile.write_all(&line?)?;
            let _ = begun.send(());
        }
        Ok(())
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    let mut sender = client.try_clone().expect("there is a descriptor");
    let sending = thread::spawn(move || {
        let line = [vec![b'x'; 65_535], vec![b'\n']].concat();
        (0..LENGTH / line.len()).try_for_each(|_| sender.write_all(&line))
    });
    next(&has_begun);
    let stopping = thread::spawn(move || server.stop());
    let received = read_all(&client);
    assert!(received.ends_with('\n'), "whole lines");
    drop(client);
    support::join_soon(stopping).expect("a shutdown is not an error");
    let _ = sending.join().expect("sending does not panic");
}

/// The reply is on its way when the shutdown, or the idle timeout, closes the connection.
#[test]
fn a_reply_of_an_idle_connection_arrives_although_the_client_sends() {
    const LENGTH: usize = 1_000_000;
    for idle in [None, Some(Duration::from_millis(200))] {
        let builder = ConcurrentTcpServer::builder().idle_timeout(idle);
        let server = in_background(builder.bind_fn(ANY, |request| {
            while request.next_line()?.is_some() {
                // The buffers of the system take it.
                request.wfile.write_all(&vec![b'r'; LENGTH])?;
            }
            Ok(())
        }));
        let mut client = connect(server.server_address());
        client.write_all(b"get\n").expect("the server reads");
        eventually("the reply is sent", || {
            server.handle().statistics().bytes_out == LENGTH as u64
        });
        if idle.is_none() {
            server.handle().shutdown();
        }
        eventually("the connection is closed", || {
            server.handle().statistics().active == 0
        });
        for _ in 0..10 {
            client
                .write_all(b"more\n")
                .expect("the server's system takes it");
            thread::sleep(Duration::from_millis(5));
        }
        let mut reply = vec![0; LENGTH];
        client.read_exact(&mut reply).expect("the whole reply");
    }
}
