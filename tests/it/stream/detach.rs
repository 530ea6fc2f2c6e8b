//! Connections that are detached from their handler, or split for two threads.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};
use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{Dispatch, Server, task};

use support::concurrent::ConcurrentTcpServer;
use support::kind::{Client, StreamClient, StreamKind};
use support::{ANY, LONG, connect, exchange, for_each, in_background, join_soon, read_all};
use support::{set_timeouts, socket_folder};

/// A server whose handler reads a line, writes an answer and sends its connection to the test.
fn detaching(wbufsize: usize) -> io::Result<(BackgroundServer, Receiver<StreamRequest>)> {
    let (detached, requests) = unbounded();
    let builder = ConcurrentTcpServer::builder().wbufsize(wbufsize);
    let server = builder.bind_fn(ANY, move |request| {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
        request.extensions.insert(String::from_utf8(line)?);
        detached
            .send(request.detach())
            .map_err(|_| "the test has ended")?;
        Ok(())
    })?;
    Ok((server.serve_in_background()?, requests))
}

#[test]
fn a_detached_connection_keeps_buffered_data() -> io::Result<()> {
    let (server, requests) = detaching(100)?;
    let mut client = connect(server.server_address());
    client.write_all(b"first\nsecond\nthird")?;
    client.shutdown(Shutdown::Write)?;
    let mut request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    // The handler has ended, and its answer is still in the buffer.
    server.stop()?;
    assert_eq!(request.rfile.readline(100)?, b"second\n");
    request.wfile.write_all(b"and more")?;
    request.wfile.flush()?;
    let mut rest = String::new();
    request.rfile.read_to_string(&mut rest)?;
    assert_eq!(rest, "third");
    assert_eq!(request.extensions.get(), Some(&"first\n".to_owned()));
    drop(request);
    assert_eq!(read_all(client), "first\nand more");
    Ok(())
}

fn echo_once(mut request: StreamRequest) -> io::Result<()> {
    let line = request.rfile.readline(100)?;
    request.wfile.write_all(&line)
}

#[test]
fn a_detached_connection_outlives_its_server() -> io::Result<()> {
    let (server, requests) = detaching(0)?;
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    let request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    // Stopping the server would close an idle connection of the server, and wait for its handler.
    server.stop()?;
    let echo = thread::spawn(move || echo_once(request));
    assert_eq!(
        exchange(&client, "still connected?\n"),
        "still connected?\n"
    );
    echo.join().expect("no panic")?;
    assert_eq!(read_all(client), "", "dropping the request closes it");
    Ok(())
}

#[test]
fn the_server_does_not_end_a_detached_connection_while_its_handler_still_runs() -> io::Result<()> {
    let (detached, requests) = unbounded();
    let (resume, may_end) = task::bounded::<()>(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let request = request.detach();
        detached.send(request).map_err(|_| "the test has ended")?;
        Ok(may_end.recv_timeout(LONG)?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    let mut request = requests.recv_timeout(LONG).expect("it is detached");
    let mut expect_open = || -> io::Result<()> {
        client.write_all(b"open\n")?;
        assert!(request.wait_for_data()?);
        assert_eq!(request.rfile.readline(100)?, b"open\n");
        request.wfile.write_all(b"yes\n")?;
        assert_eq!(exchange(&client, ""), "yes\n");
        Ok(())
    };
    server.handle().shutdown();
    expect_open()?;
    let report = server.handle().shutdown_within(Duration::ZERO);
    assert_eq!(report.unfinished, 1);
    expect_open()?;
    resume.send(()).expect("the handler waits");
    server.stop()?;
    expect_open()
}

#[test]
fn a_closure_that_uses_fields_captures_the_whole_request() -> io::Result<()> {
    let (resume, may_go_on) = bounded::<()>(1);
    let (detached, is_detached) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let mut request = request.detach();
        detached.send(())?;
        let may_go_on = may_go_on.clone();
        thread::spawn(move || -> HandlerResult {
            may_go_on.recv_timeout(LONG)?;
            Ok(request.wfile.write_all(b"from the thread")?)
        });
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    // The client is served. Otherwise it would be closed with the listening socket.
    is_detached.recv_timeout(LONG).expect("the handler runs");
    server.stop()?;
    resume.send(()).expect("the thread waits");
    assert_eq!(read_all(client), "from the thread");
    Ok(())
}

#[test]
fn a_detached_connection_waits_for_its_next_request_after_its_server_is_closed() -> io::Result<()> {
    let (server, requests) = detaching(0)?;
    let mut client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    let mut request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    server.stop()?;
    client.write_all(b"next\n")?;
    assert!(
        request.wait_for_data()?,
        "the connection no longer belongs to the server"
    );
    assert_eq!(request.rfile.readline(100)?, b"next\n");
    Ok(())
}

#[test]
fn after_detach_the_handlers_request_is_at_its_end() -> io::Result<()> {
    let (report, reports) = unbounded();
    let (detached, requests) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.rfile.fill_buf()?;
        detached
            .send(request.detach())
            .map_err(|_| "the test has ended")?;
        let mut all = Vec::new();
        request.rfile.read_to_end(&mut all)?;
        let read = (all, request.rfile.readline(100)?, request.wait_for_data()?);
        let errors = [
            request.wfile.write_all(b"lost").unwrap_err().kind(),
            request.wfile.write(b"lost").unwrap_err().kind(),
            request.wfile.shutdown().unwrap_err().kind(),
            request.connection().unwrap_err().kind(),
        ];
        request.wfile.flush()?;
        Ok(report.send((read, errors))?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"a line\n")?;
    let mut request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    let (read, errors) = reports.recv_timeout(LONG).expect("the handler ends");
    assert_eq!(read, (vec![], vec![], false));
    assert_eq!(errors, [ErrorKind::NotConnected; 4]);
    server.stop()?;
    // Neither the end of the handler nor the end of the server has changed the connection.
    assert_eq!(request.rfile.readline(100)?, b"a line\n");
    request.wfile.write_all(b"an answer")?;
    drop(request);
    assert_eq!(read_all(client), "an answer");
    Ok(())
}

#[test]
fn two_threads_use_the_halves_at_once() -> io::Result<()> {
    const MUCH: u64 = 50_000_000;
    let (count, counted) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let (mut rfile, wfile) = request.split();
        thread::scope(|scope| {
            let reading = scope.spawn(|| io::copy(&mut rfile, &mut io::sink()));
            // Far more than the buffers of both sockets hold, in both directions. One thread could
            // not do both.
            io::copy(&mut io::repeat(b'x').take(MUCH), wfile)?;
            wfile.shutdown()?;
            count.send(reading.join().expect("no panic")?)?;
            Ok(())
        })
    })?;
    let server = server.serve_in_background()?;
    let client: TcpStream = connect(server.server_address());
    thread::scope(|scope| -> io::Result<()> {
        let sending = scope.spawn(|| {
            io::copy(&mut io::repeat(b'y').take(MUCH), &mut &client)?;
            client.shutdown(Shutdown::Write)
        });
        assert_eq!(io::copy(&mut &client, &mut io::sink())?, MUCH);
        sending.join().expect("no panic")
    })?;
    assert_eq!(counted.recv_timeout(LONG), Ok(MUCH));
    server.stop()
}

fn a_socket_is_given_to_the_program<L: StreamKind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let (give, given) = unbounded();
    let (resume, may_end) = task::bounded::<()>(1);
    let builder = Server::<L, D>::builder().wbufsize(100).read_timeout(LONG);
    let server = builder.bind_fn(L::address(folder.path()), move |request| {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
        let connection = request.connection()?;
        let (socket, buffered) = request.detach().into_parts()?;
        let parts = (File::from(socket), buffered, connection);
        give.send(parts).map_err(|_| "the test has ended")?;
        Ok(may_end.recv_timeout(LONG)?)
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    client.send_line("first\nsecond");
    assert_eq!(client.receive_line(), "first", "wfile is flushed");
    let (mut socket, buffered, connection) = given.recv_timeout(LONG).expect("it is given");
    assert_eq!(buffered, b"second\n");
    // The handler still runs, and its request refers to the connection.
    for failed in [
        connection.send_all(b"lost"),
        connection.set_write_timeout(None),
        connection.shutdown(),
    ] {
        let error = failed.expect_err("the library has no connection any more");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    resume.send(()).expect("the handler waits");
    server.stop().expect("a shutdown is not an error");
    client.send_line("third");
    let mut line = [0; 6];
    socket.read_exact(&mut line).expect("the socket is open");
    assert_eq!(&line, b"third\n");
    socket.write_all(b"fourth\n").expect("the socket is open");
    assert_eq!(client.receive_line(), "fourth");
    let timeout = SockRef::from(&socket).read_timeout();
    assert_eq!(timeout.expect("it is a socket"), Some(LONG));
    drop(socket);
    assert_eq!(client.receive_line(), "", "no other descriptor is open");
}

/// Far more than the buffers of both sockets hold is queued, before and after the handler has given it away.
fn a_queue_is_sent_before_the_program_writes<L: StreamKind, D: Dispatch + Default>() {
    const MUCH: usize = 16 << 20;
    let folder = socket_folder();
    let (give, given) = unbounded();
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), move |request| {
        let gives_parts = request.next_line()?.as_deref() == Some("parts");
        let outbox = request.connection()?.outbox(usize::MAX);
        outbox.push(vec![b'q'; MUCH])?;
        if gives_parts {
            let (socket, _) = request.detach().into_parts()?;
            File::from(socket).write_all(b"E")?;
        } else {
            let (_rfile, mut wfile) = request.detach().into_split();
            outbox.push(vec![b'r'; MUCH])?;
            wfile.write_all(b"E")?;
            outbox.push(*b"last")?;
        }
        Ok(give.send(outbox)?)
    });
    let server = in_background(server);
    let queue = |byte| String::from_utf8(vec![byte; MUCH]).expect("it is text");
    for (how, end) in [("parts", "E".to_owned()), ("split", queue(b'r') + "Elast")] {
        let mut client = L::connect(server.server_address());
        client.send_line(how);
        // Not compared as a whole, so that a failure does not print it.
        assert!(read_all(client.socket()) == queue(b'q') + &end, "{how}");
        let outbox = given.recv_timeout(LONG).expect("it is given");
        let error = outbox.push(*b"x").expect_err("the connection is closed");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
}

/// The handler has two threads that go on without it.
fn two_threads_own_the_halves<L: StreamKind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let target = TcpListener::bind(ANY).expect("a port is free");
    let address = target.local_addr().expect("the socket is bound");
    let (relay, relays) = unbounded();
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), move |request| {
        let target = TcpStream::connect(address)?;
        let (mut rfile, mut wfile) = request.detach().into_split();
        let mut to = target.try_clone()?;
        let up = thread::spawn(move || {
            io::copy(&mut rfile, &mut to).and_then(|_| to.shutdown(Shutdown::Write))
        });
        let down = thread::spawn(move || {
            io::copy(&mut &target, &mut wfile).and_then(|_| wfile.shutdown())
        });
        Ok(relay.send([up, down])?)
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    let (mut target, _) = target.accept().expect("the handler connects");
    set_timeouts(&target);
    let threads = relays.recv_timeout(LONG).expect("the handler ends");
    server.stop().expect("a shutdown is not an error");
    client.send_line("up");
    let mut line = [0; 3];
    target.read_exact(&mut line).expect("the relay goes on");
    assert_eq!(&line, b"up\n");
    target.write_all(b"down\n").expect("the relay goes on");
    assert_eq!(client.receive_line(), "down");
    client.end();
    assert_eq!(read_all(&target), "", "the end is relayed");
    target.write_all(b"last\n").expect("the other half is open");
    drop(target);
    assert_eq!(client.receive_line(), "last");
    assert_eq!(client.receive_line(), "");
    for thread in threads {
        join_soon(thread).expect("both directions end in order");
    }
}

for_each! {{
        a_socket_is_given_to_the_program
        a_queue_is_sent_before_the_program_writes
        two_threads_own_the_halves
    }
    tcp: Tcp, Inline;
    concurrent_tcp: Tcp, Concurrent;
    unix_stream: Unix, Inline;
    concurrent_unix_stream: Unix, Concurrent;
}

#[test]
fn the_lines_of_an_owned_half_do_not_flush_the_other() -> io::Result<()> {
    let (report, reports) = unbounded();
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let server = builder.bind_fn(ANY, move |request| {
        let (mut rfile, mut wfile) = request.detach().into_split();
        wfile.write_all(b"buffered")?;
        let report = report.clone();
        thread::spawn(move || -> HandlerResult {
            for line in &mut rfile {
                report.send(line?)?;
            }
            wfile.flush()?;
            Ok(wfile.shutdown()?)
        });
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    for line in [b"one\n", b"two\n"] {
        client.write_all(line)?;
        assert_eq!(reports.recv_timeout(LONG).as_deref(), Ok(&line[..]));
    }
    // A flush before the second line would have arrived here already.
    client.set_nonblocking(true)?;
    let nothing = client.peek(&mut [0]).map_err(|e| e.kind());
    assert_eq!(nothing, Err(ErrorKind::WouldBlock));
    client.set_nonblocking(false)?;
    client.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(client), "buffered");
    server.stop()
}

#[test]
fn a_request_that_was_not_detached_gives_its_socket_too() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, |_| Ok(()))?;
    let request = || {
        let listener = TcpListener::bind(ANY)?;
        let client = connect(&listener.local_addr()?.into());
        let (socket, address) = listener.accept()?;
        let request = StreamRequest::new(socket, address.into(), &server.handle());
        io::Result::Ok((request, client))
    };
    let (mut owner, client) = request()?;
    owner.wfile.write_all(b"from the library, ")?;
    let (socket, buffered) = owner.into_parts()?;
    assert_eq!(buffered, b"");
    File::from(socket).write_all(b"from the program")?;
    assert_eq!(read_all(client), "from the library, from the program");
    let (mut owner, mut client) = request()?;
    let detached = owner.detach();
    let error = owner.into_parts().expect_err("it was detached before");
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let (rfile, mut wfile) = detached.into_split();
    client.write_all(b"a line\n")?;
    let line = rfile.lines().next().transpose()?;
    assert_eq!(line.as_deref(), Some("a line"));
    wfile.write_all(b"an answer")?;
    drop(wfile);
    assert_eq!(read_all(client), "an answer");
    Ok(())
}
