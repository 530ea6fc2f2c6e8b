//! What a shutdown does to connections that are open: idle ones end, the others go on.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use socketserver::Server;
use socketserver::dispatch::ThreadPool;
use socketserver::prelude::*;

use support::kind::{Client, Kind};
use support::{
    ANY, LONG, connect, exchange, for_stream_kinds, in_background, read_all, socket_folder,
};

/// Many requests per connection: each is announced when it begins.
fn upper(begun: Sender<()>) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync {
    move |request| {
        while request.wait_for_data()? {
            begun.send(())?;
            let line = request.rfile.readline(100)?;
            request.wfile.write_all(&line.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

fn upper_server() -> io::Result<(BackgroundServer, Receiver<()>)> {
    let (begun, has_begun) = unbounded();
    let server = ThreadingTcpServer::bind_fn(ANY, upper(begun))?;
    Ok((server.serve_in_background()?, has_begun))
}

fn connections_between_two_requests_end<L: Kind<Request = StreamRequest>>() {
    let (folder, (begun, _has_begun)) = (socket_folder(), unbounded());
    let server = Server::<L, ThreadPool>::bind_fn(L::address(folder.path()), upper(begun));
    let server = in_background(server);
    let mut clients: Vec<_> = (0..10)
        .map(|_| L::connect(server.server_address()))
        .collect();
    for client in &mut clients {
        assert_eq!(client.ask("one"), "ONE");
        assert_eq!(client.ask("two"), "TWO");
    }
    // Waits for the handlers.
    server.stop().expect("a shutdown is no error");
    for client in &mut clients {
        assert_eq!(client.receive_line(), "");
    }
}

for_stream_kinds! { connections_between_two_requests_end }

#[test]
fn a_connection_in_the_middle_of_a_request_is_not_closed() -> io::Result<()> {
    let (server, begun) = upper_server()?;
    let mut client = connect(server.server_address());
    assert_eq!(exchange(&client, "whole\n"), "WHOLE\n");
    begun.recv_timeout(LONG).expect("the first request begins");
    client.write_all(b"ha")?;
    begun.recv_timeout(LONG).expect("the second request begins");
    server.handle().shutdown();
    server.handle().wait();
    assert_eq!(exchange(&client, "lf\n"), "HALF\n");
    assert_eq!(read_all(client), "");
    server.stop()
}

#[test]
fn requests_that_were_received_together_are_all_answered() -> io::Result<()> {
    let (server, begun) = upper_server()?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\ntwo\nthree\n")?;
    begun.recv_timeout(LONG).expect("the first request begins");
    server.handle().shutdown();
    assert_eq!(read_all(client), "ONE\nTWO\nTHREE\n");
    server.stop()
}

#[test]
fn a_connection_on_which_nothing_was_received_ends() -> io::Result<()> {
    // No `wait_for_data` here: the server knows that nothing was received.
    let (started, has_started) = bounded(1);
    let (ended, has_ended) = bounded(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        started.send(())?;
        Ok(ended.send(request.rfile.readline(100)?)?)
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    has_started.recv_timeout(LONG).expect("the handler starts");
    server.stop()?;
    assert_eq!(has_ended.try_recv(), Ok(vec![]));
    assert_eq!(read_all(client), "");
    Ok(())
}

#[test]
fn without_wait_for_data_a_connection_is_not_idle_after_its_first_bytes() -> io::Result<()> {
    let (begun, has_begun) = bounded(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        let first = request.rfile.readline(100)?;
        begun.send(())?;
        let second = request.rfile.readline(100)?;
        request.wfile.write_all(&[first, second].concat())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"first, ")?;
    client.write_all(b"still first\n")?;
    has_begun.recv_timeout(LONG).expect("the handler reads");
    let stopping = thread::spawn(move || server.stop());
    client.write_all(b"second\n")?;
    assert_eq!(read_all(client), "first, still first\nsecond\n");
    stopping.join().expect("no panic")
}

/// A handler that writes, and then waits for an answer.
fn asking() -> io::Result<(BackgroundServer, Receiver<()>)> {
    let (asked, has_asked) = bounded(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        request.wfile.write_all(b"who?\n")?;
        asked.send(())?;
        let name = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&name)?)
    })?;
    Ok((server.serve_in_background()?, has_asked))
}

#[test]
fn a_handler_that_has_written_gets_its_answer() -> io::Result<()> {
    let (server, has_asked) = asking()?;
    let mut client = connect(server.server_address());
    has_asked.recv_timeout(LONG).expect("the handler asks");
    server.handle().shutdown();
    client.write_all(b"ada\n")?;
    assert_eq!(read_all(client), "who?\nada\n");
    server.stop()
}

#[test]
fn what_others_send_to_a_connection_does_not_keep_it_open() -> io::Result<()> {
    let (given, connections) = bounded(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        given.send(request.connection()?)?;
        Ok(request.rfile.read_line(&mut String::new()).map(drop)?)
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    let connection = connections.recv_timeout(LONG).expect("it is handled");
    connection.send_all(b"news\n")?;
    server.handle().shutdown();
    assert_eq!(read_all(client), "news\n");
    server.stop()
}

#[test]
fn after_a_shutdown_wait_for_data_returns_false() -> io::Result<()> {
    let (begun, has_begun) = bounded(1);
    let (go_on, may_go_on) = bounded::<()>(1);
    let (reports, answer) = bounded(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        request.rfile.readline(100)?;
        begun.send(())?;
        may_go_on.recv_timeout(LONG)?;
        assert!(request.server.is_shutting_down());
        Ok(reports.send(request.wait_for_data()?)?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\n")?;
    has_begun.recv_timeout(LONG).expect("the handler reads");
    server.handle().shutdown();
    go_on.send(()).expect("the handler waits");
    assert_eq!(answer.recv_timeout(LONG), Ok(false));
    assert_eq!(read_all(client), "");
    server.stop()
}

/// The first bytes of a request arrive while the server shuts down. A handler that was
/// given a request must get the whole of it.
fn send_while_shutting_down() -> io::Result<()> {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let (begun, has_begun) = unbounded();
    let requests = reports.clone();
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        while request.wait_for_data()? {
            begun.send(())?;
            requests.lock().push(request.rfile.readline(100)?);
            request.wfile.write_all(b"ok\n")?;
        }
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut client: TcpStream = connect(server.server_address());
    client.set_nodelay(true)?;
    assert_eq!(exchange(&client, "one\n"), "ok\n");
    has_begun.recv_timeout(LONG).expect("the first begins");
    let handle = server.handle();
    let shutting_down = thread::spawn(move || handle.shutdown());
    client.write_all(b"ha")?;
    shutting_down.join().expect("no panic");
    // Either the handler has ended, or it waits for the rest.
    let _ = client.write_all(b"lf\n");
    server.stop()?;
    for request in reports.lock().iter() {
        let request = String::from_utf8_lossy(request);
        assert!(request.ends_with('\n'), "cut: {request:?}");
    }
    Ok(())
}

#[test]
fn a_request_that_begins_during_the_shutdown_is_served_whole_or_not_at_all() -> io::Result<()> {
    (0..500).try_for_each(|_| send_while_shutting_down())
}
