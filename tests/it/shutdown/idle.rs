//! A shutdown closes idle connections, and the other connections continue.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use socketserver::prelude::*;
use socketserver::{Server, task};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::kind::{Client, Kind};
use support::{
    ANY, LONG, connect, exchange, for_stream_kinds, in_background, read_all, socket_folder,
};

/// A handler of many requests per connection. It reports the begin of each.
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
    let server = ConcurrentTcpServer::bind_fn(ANY, upper(begun))?;
    Ok((server.serve_in_background()?, has_begun))
}

fn connections_between_two_requests_are_closed<L: Kind<Request = StreamRequest>>() {
    let (folder, (begun, _has_begun)) = (socket_folder(), unbounded());
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), upper(begun));
    let server = in_background(server);
    let mut clients: Vec<_> = (0..10)
        .map(|_| L::connect(server.server_address()))
        .collect();
    for client in &mut clients {
        assert_eq!(client.exchange("one"), "ONE");
        assert_eq!(client.exchange("two"), "TWO");
    }
    // `stop` waits for the handlers.
    server.stop().expect("a shutdown is not an error");
    for client in &mut clients {
        assert_eq!(client.receive_line(), "");
    }
}

for_stream_kinds! { connections_between_two_requests_are_closed }

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
fn pipelined_requests_are_all_answered() -> io::Result<()> {
    let (server, begun) = upper_server()?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\ntwo\nthree\n")?;
    begun.recv_timeout(LONG).expect("the first request begins");
    server.handle().shutdown();
    assert_eq!(read_all(client), "ONE\nTWO\nTHREE\n");
    server.stop()
}

#[test]
fn a_connection_without_any_data_is_closed() -> io::Result<()> {
    // The handler does not call `wait_for_data`. The server knows that nothing was received.
    let (started, has_started) = bounded(1);
    let (ended, has_ended) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
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
fn without_wait_for_data_a_connection_with_data_is_not_idle() -> io::Result<()> {
    let (begun, has_begun) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
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

/// A handler that writes, and then waits for an answer of the client.
fn prompting() -> io::Result<(BackgroundServer, Receiver<()>)> {
    let (prompted, has_prompted) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.wfile.write_all(b"who?\n")?;
        prompted.send(())?;
        let name = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&name)?)
    })?;
    Ok((server.serve_in_background()?, has_prompted))
}

#[test]
fn a_handler_that_waits_for_an_answer_is_not_idle() -> io::Result<()> {
    let (server, has_prompted) = prompting()?;
    let mut client = connect(server.server_address());
    has_prompted.recv_timeout(LONG).expect("the handler writes");
    server.handle().shutdown();
    client.write_all(b"ada\n")?;
    assert_eq!(read_all(client), "who?\nada\n");
    server.stop()
}

#[test]
fn writes_through_a_handle_do_not_keep_a_connection_open() -> io::Result<()> {
    let (given, connections) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        given.send(request.connection()?)?;
        Ok(request.rfile.read_line(&mut String::new()).map(drop)?)
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    let connection = connections.recv_timeout(LONG).expect("the handler runs");
    connection.send_all(b"news\n")?;
    server.handle().shutdown();
    assert_eq!(read_all(client), "news\n");
    server.stop()
}

#[test]
fn wait_for_data_returns_false_after_a_shutdown() -> io::Result<()> {
    let (begun, has_begun) = bounded(1);
    let (resume, may_go_on) = task::bounded::<()>(1);
    let (reports, answer) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
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
    resume.send(()).expect("the handler waits");
    assert_eq!(answer.recv_timeout(LONG), Ok(false));
    assert_eq!(read_all(client), "");
    server.stop()
}

/// The first bytes of a request arrive during the shutdown. If the handler gets them, it must get
/// the complete request.
fn send_while_shutting_down() -> io::Result<()> {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let (begun, has_begun) = unbounded();
    let requests = reports.clone();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
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
    has_begun
        .recv_timeout(LONG)
        .expect("the first request begins");
    let handle = server.handle();
    let shutting_down = thread::spawn(move || handle.shutdown());
    client.write_all(b"ha")?;
    shutting_down.join().expect("no panic");
    // Either the handler has ended, or it waits for the rest of the request.
    let _ = client.write_all(b"lf\n");
    server.stop()?;
    for request in reports.lock().iter() {
        let request = String::from_utf8_lossy(request);
        assert!(request.ends_with('\n'), "cut: {request:?}");
    }
    Ok(())
}

#[test]
fn a_request_that_begins_during_the_shutdown_is_served_completely_or_not_at_all() -> io::Result<()>
{
    (0..500).try_for_each(|_| send_while_shutting_down())
}
