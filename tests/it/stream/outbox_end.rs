//! How the queue of a connection's outboxes ends: with the connection, at a timeout or with an error.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use socketserver::Stage;
use socketserver::prelude::*;
use socketserver::request::Outbox;
use socketserver::task;

use super::outbox::{MUCH, builder, fill, line, serve};
use support::concurrent::ConcurrentTcpServer;
use support::handlers::{ReportErrors, expect_timeout};
use support::{ANY, LONG, connect, eventually, in_background, join_soon, next, read_all};

/// What the client receives up to the end of the stream or a reset.
fn received(mut client: &TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    if let Err(error) = client.read_to_end(&mut received) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    received
}

fn assert_read_to_a_reset(mut client: TcpStream) {
    let end = io::copy(&mut client, &mut io::sink()).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

/// Reads so slowly that sending all takes more than a second, and goes on without a long pause.
fn read_slowly_until(mut client: &TcpStream, mut happened: impl FnMut() -> bool) -> Vec<u8> {
    let (mut received, mut part) = (Vec::new(), vec![0; 65_536]);
    while !happened() {
        client.read_exact(&mut part).expect("more is sent");
        received.extend_from_slice(&part);
        thread::sleep(Duration::from_millis(5));
    }
    received
}

/// Checks that whole lines arrived in order, and then at most a part of one. Returns how many were whole.
fn whole_lines(received: &[u8], length: usize) -> usize {
    for (number, part) in received.chunks(length).enumerate() {
        assert!(line(number, length).starts_with(part), "line {number}");
    }
    received.len() / length
}

/// A client to which a message was sent only in part. Another message was pushed meanwhile.
fn torn() -> (BackgroundServer, Outbox, TcpStream) {
    let builder = builder().write_timeout(Duration::from_millis(500));
    let (server, outboxes) = serve(builder, usize::MAX);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    let connection = outbox.connection().clone();
    let sending = thread::spawn(move || connection.send_all(&vec![b'x'; MUCH]));
    client.peek(&mut [0]).expect("the first byte arrives");
    // Fails if this thread was delayed until after the timeout.
    let _ = outbox.push(*b"queued");
    let error = join_soon(sending).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    (server, outbox, client)
}

#[test]
fn nothing_follows_a_message_that_was_sent_in_part() {
    let (server, outbox, mut client) = torn();
    let mut begin = vec![0; server.handle().statistics().bytes_out as usize];
    client.read_exact(&mut begin).expect("it was sent");
    let error = outbox.push(*b"later").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    client.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(received(&client), b"");
    assert!(begin.iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_shutdown_ends_a_connection_with_a_message_that_was_sent_in_part() {
    let (server, outbox, client) = torn();
    let shut_down = outbox.connection().shutdown();
    shut_down.expect("the connection is open");
    eventually("the handler ends", || {
        server.handle().statistics().finished == 1
    });
    outbox.push(*b"later").expect_err("it is shut down");
    assert!(received(&client).iter().all(|byte| *byte == b'x'));
}

/// A thread pushes and another sends until the connection is shut down.
#[test]
fn after_a_shutdown_nothing_follows_a_queued_message_that_was_sent_in_part() {
    const LENGTH: usize = 1_000_000;
    let (server, outboxes) = serve(builder(), usize::MAX);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    for number in 0..MUCH / LENGTH {
        let pushed = outbox.push(line(number, LENGTH));
        pushed.expect("it is queued");
    }
    let threads = [true, false].map(|pushes| {
        let outbox = outbox.clone();
        thread::spawn(move || {
            while match pushes {
                true => outbox.push(*b"pushed"),
                false => outbox.connection().send_all(b"sent"),
            }
            .is_ok()
            {}
        })
    });
    client.peek(&mut [0]).expect("the first byte arrives");
    let shut_down = outbox.connection().shutdown();
    shut_down.expect("the connection is open");
    eventually("the handler ends", || {
        server.handle().statistics().finished == 1
    });
    outbox.push(*b"later").expect_err("it is shut down");
    threads.into_iter().for_each(join_soon);
    assert!(whole_lines(&received(&client), LENGTH) < MUCH / LENGTH);
}

/// Another thread waits in `send_all` meanwhile.
#[test]
fn a_flush_that_times_out_keeps_the_queue() {
    const LENGTH: usize = 65_536;
    const LINES: usize = 2 * MUCH / LENGTH;
    let (report, reports) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        let connection = request.connection()?;
        for number in 0..LINES {
            connection.outbox(usize::MAX).push(line(number, LENGTH))?;
        }
        let sender = connection.clone();
        let sending = thread::spawn(move || sender.send_all(&line(LINES, LENGTH)));
        request.next_line()?;
        request.set_write_timeout(Duration::from_millis(800))?;
        report.send(request.wfile.flush())?;
        request.set_write_timeout(LONG)?;
        Ok(report.send(join_soon(sending))?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    let mut parts = 0;
    // By then the other thread waits.
    let mut all = read_slowly_until(&client, || {
        parts += 1;
        parts > 20
    });
    client.write_all(b"flush\n").expect("the server reads");
    let mut flushed = None;
    all.extend(read_slowly_until(&client, || {
        flushed = reports.try_recv().ok();
        flushed.is_some()
    }));
    let error = flushed.expect("it was received").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    all.extend(received(&client));
    // If the other thread began to wait late, it had the short timeout too.
    let sent = usize::from(next(&reports).is_ok());
    assert_eq!(all.len(), (LINES + sent) * LENGTH);
    assert_eq!(whole_lines(&all, LENGTH), LINES + sent);
}

/// After its own timeout a write has sent nothing, so the queue goes on.
#[test]
fn a_write_that_waits_for_the_queue_ends_in_time() {
    let (report, reports) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        let connection = request.connection()?;
        connection.outbox(usize::MAX).push(vec![b'x'; MUCH])?;
        request.set_write_timeout(Duration::from_millis(500))?;
        let written = request.wfile.write_all(b"lost");
        request.set_write_timeout(LONG)?;
        report.send(written)?;
        request.next_line()?;
        Ok(connection.send_all(b"last")?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    let mut written = None;
    let begin = read_slowly_until(&client, || {
        written = reports.try_recv().ok();
        written.is_some()
    });
    let error = written.expect("it was received").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let mut rest = vec![0; MUCH - begin.len()];
    client
        .read_exact(&mut rest)
        .expect("the thread sends the queue");
    assert!(begin.iter().chain(&rest).all(|byte| *byte == b'x'));
    client.write_all(b"more\n").expect("the server reads");
    assert_eq!(read_all(client), "last");
}

/// The client reads, but not fast enough.
#[test]
fn what_is_left_at_the_end_is_dropped_with_a_reset() {
    let builder = builder().write_timeout(Duration::from_millis(300));
    let server = builder.bind_fn(ANY, |request| {
        let outbox = request.connection()?.outbox(usize::MAX);
        Ok(outbox.push(vec![b'x'; 2 * MUCH])?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    let mut part = vec![0; 65_536];
    let end = loop {
        match client.read(&mut part) {
            Ok(0) => break Ok(()),
            Err(error) => break Err(error.kind()),
            Ok(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

/// The queue is sent after the handler has ended.
#[test]
fn an_idle_timeout_does_not_drop_the_queue() {
    let (report, reports) = channel();
    let builder = builder().idle_timeout(Duration::from_millis(100));
    let server = builder.bind_fn(ANY, move |request| {
        let outbox = request.connection()?.outbox(usize::MAX);
        outbox.push(vec![b'x'; MUCH])?;
        Ok(report.send(request.next_line()?)?)
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    assert_eq!(next(&reports), None);
    assert_eq!(read_all(client).len(), MUCH);
}

#[test]
fn a_queue_does_not_prolong_the_lifetime() {
    let builder = builder().max_lifetime(Duration::from_secs(1));
    let (server, outboxes) = serve(builder, 4 << 20);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    let mut pushed = 0;
    // The queue is full after some of them.
    eventually("its lifetime is over", || {
        let Err(error) = outbox.push(vec![b'.'; 1 << 20]) else {
            pushed += 1;
            return false;
        };
        let ended = [ErrorKind::TimedOut, ErrorKind::NotConnected].contains(&error.kind());
        assert!(ended || error.kind() == ErrorKind::QuotaExceeded, "{error}");
        ended
    });
    assert!(pushed > 0);
    assert_read_to_a_reset(client);
}

/// The server learns of the reset when it sends, and the handler reads after that.
#[test]
fn a_handler_reads_what_came_before_a_reset() {
    let (give, outboxes) = channel();
    let (resume, may_read) = task::bounded::<()>(1);
    let (report, reports) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        give.send(request.connection()?.outbox(1 << 20))?;
        may_read.recv_timeout(LONG)?;
        Ok(report.send([request.next_line(), request.next_line()])?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    let outbox = next(&outboxes);
    client.write_all(b"last line\n").expect("it is open");
    eventually("the line is received", || {
        support::unacknowledged(&client) == 0
    });
    support::reset(client);
    eventually("a push fails", || outbox.push(*b"x").is_err());
    resume.send(()).expect("the handler waits");
    let [line, end] = next(&reports);
    let line = line.expect("the line came first");
    assert_eq!(line.as_deref(), Some("last line"));
    if let Err(error) = end {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn the_caller_may_disconnect_a_client_that_does_not_read() {
    let (server, outboxes) = serve(builder(), 1 << 20);
    let _client = connect(server.server_address());
    let outbox = next(&outboxes);
    fill(&outbox);
    outbox.connection().shutdown().expect("it is open");
    // The handler does not wait until the queue is sent.
    eventually("the handler ends", || {
        server.handle().statistics().finished == 1
    });
    eventually("the connection is closed", || {
        let error = outbox.push("too late".as_bytes()).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::QuotaExceeded);
        error.kind() == ErrorKind::NotConnected
    });
}

#[test]
fn a_client_that_never_reads_is_disconnected_after_the_write_timeout() {
    let (errors, reported) = channel();
    let builder = builder()
        .write_timeout(Duration::from_millis(300))
        .hooks(ReportErrors(errors));
    let (server, outboxes) = serve(builder, usize::MAX);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    outbox.push(vec![b'x'; MUCH]).expect("it is queued");
    expect_timeout(&reported, Stage::Handle, "could not send to");
    eventually("the connection is closed", || {
        let error = outbox.push(*b"x").unwrap_err().kind();
        assert!([ErrorKind::TimedOut, ErrorKind::NotConnected].contains(&error));
        error == ErrorKind::NotConnected
    });
    assert_read_to_a_reset(client);
}

#[test]
fn what_is_queued_is_dropped_by_an_abort() {
    let (aborted, is_aborted) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        let outbox = request.connection()?.outbox(usize::MAX);
        outbox.push(vec![b'x'; MUCH])?;
        request.abort();
        let error = outbox.push(*b"x").unwrap_err().kind();
        Ok(aborted.send((outbox, error))?)
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    let (outbox, error) = next(&is_aborted);
    assert_eq!(error, ErrorKind::ConnectionAborted);
    eventually("the connection is closed", || {
        outbox.push(*b"x").unwrap_err().kind() == ErrorKind::NotConnected
    });
    assert_read_to_a_reset(client);
}

/// The handler has ended, and its queue is being sent.
#[test]
fn a_forced_close_ends_the_sending_of_a_queue() {
    let (ending, ends) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        let outbox = request.connection()?.outbox(usize::MAX);
        outbox.push(vec![b'x'; MUCH])?;
        Ok(ending.send(outbox)?)
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    let outbox = next(&ends);
    let report = server.handle().shutdown_within(Duration::from_millis(100));
    assert_eq!((report.forced, report.unfinished), (1, 0));
    assert!(outbox.push(*b"x").is_err());
    assert_read_to_a_reset(client);
}

/// Pushes to a client that has reset the connection fail, and nothing stays in the queue.
#[test]
fn a_reset_by_the_client_ends_the_queue() {
    let (server, outboxes) = serve(builder(), usize::MAX);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    outbox.push(vec![b'x'; MUCH]).expect("it is queued");
    support::reset(client);
    eventually("the connection is closed", || {
        let pushed = outbox.push(*b"x");
        pushed.is_err_and(|error| error.kind() == ErrorKind::NotConnected)
    });
    eventually("it is counted", || {
        server.handle().statistics().disconnected == 1
    });
}

/// Broadcasts to a client that is just leaving destroy nothing that was sent to it before.
#[test]
fn a_push_at_the_end_of_the_handler_does_not_reset_the_connection() -> io::Result<()> {
    let (sender, outboxes) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        outboxes_of(&sender, request)?;
        Ok(request.wfile.write_all(b"bye\n")?)
    })?;
    let server = in_background(Ok(server));
    for round in 0..1000 {
        let client = connect(server.server_address());
        let outbox: Outbox = next(&outboxes);
        let pushing = thread::spawn(move || while outbox.push(*b"x").is_ok() {});
        let received = read_all(client);
        join_soon(pushing);
        assert!(
            received.replace('x', "") == "bye\n",
            "round {round}: {received}"
        );
    }
    Ok(())
}

fn outboxes_of(outboxes: &Sender<Outbox>, request: &StreamRequest) -> HandlerResult {
    Ok(outboxes.send(request.connection()?.outbox(1 << 20))?)
}

/// The end of a connection ends a write that another thread is blocked in, also if messages are queued.
#[test]
fn the_end_frees_a_thread_that_is_blocked_in_a_write() -> io::Result<()> {
    let (sender, outboxes) = channel();
    let (ends, ended) = task::bounded::<()>(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        outboxes_of(&sender, request)?;
        let (reader, writer) = request.detach().into_split();
        drop(writer);
        ended.recv_timeout(LONG)?;
        drop(reader);
        Ok(())
    })?;
    let server = in_background(Ok(server));
    let _client = connect(server.server_address());
    let outbox = next(&outboxes);
    let connection = outbox.connection().clone();
    let writing = thread::spawn(move || connection.send_all(&vec![b'.'; 64 << 20]));
    // The socket is full then, whoever has sent.
    fill(&outbox);
    ends.send(()).expect("the handler waits");
    let error = join_soon(writing).expect_err("the connection has ended");
    assert!(error.kind() != ErrorKind::TimedOut, "{error}");
    Ok(())
}
