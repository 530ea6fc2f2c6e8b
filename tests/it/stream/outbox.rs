//! Outboxes: a bounded queue of outgoing messages for each connection.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::request::Outbox;
use socketserver::{Builder, Dispatch, Server};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::kind::{StreamClient, StreamKind};
use support::{
    ANY, connect, eventually, for_each, in_background, join_soon, next, read_all, socket_folder,
};

/// More than all buffers on the way hold.
pub(super) const MUCH: usize = 16 << 20;

/// A handler that gives the test an outbox, and then waits until its client or a shutdown ends it.
fn giving(
    limit: usize,
    outboxes: Sender<Outbox>,
) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static {
    move |request| {
        outboxes.send(request.connection()?.outbox(limit))?;
        while request.next_line()?.is_some() {}
        Ok(())
    }
}

pub(super) fn serve(
    builder: Builder<Tcp, Concurrent>,
    limit: usize,
) -> (BackgroundServer, Receiver<Outbox>) {
    let (sender, outboxes) = channel();
    let server = builder.bind_fn(ANY, giving(limit, sender));
    (in_background(server), outboxes)
}

pub(super) fn builder() -> Builder<Tcp, Concurrent> {
    ConcurrentTcpServer::builder()
}

/// A line of this length that begins with a number.
pub(super) fn line(number: usize, length: usize) -> Vec<u8> {
    let mut line = format!("{number} ").into_bytes();
    line.resize(length - 1, b'.');
    line.push(b'\n');
    line
}

/// The numbers of lines that are whole.
fn numbers(stream: impl Read) -> Vec<usize> {
    let lines = BufReader::new(stream).lines();
    let number = |line: io::Result<String>| {
        let line = line.expect("the stream is text");
        let (number, dots) = line.split_once(' ').expect("the line is whole");
        assert!(dots.bytes().all(|byte| byte == b'.'), "{line:.40}");
        number.parse().expect("the line begins with a number")
    };
    lines.map(number).collect()
}

/// Pushes until the client's outbox is full. Returns how many lines it took.
pub(super) fn fill(outbox: &Outbox) -> usize {
    for number in 0.. {
        if let Err(error) = outbox.push(line(number, 10_000)) {
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
            return number;
        }
    }
    unreachable!("it is full in the end");
}

fn all_is_sent_in_the_order_of_the_calls<L: StreamKind, D: Dispatch + Default>() {
    const ROUNDS: usize = 300;
    let (folder, (full, is_full)) = (socket_folder(), channel());
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), move |request| {
        let connection = request.connection()?;
        let outbox = connection.outbox(usize::MAX);
        for number in 0..MUCH / 65_536 {
            outbox.push(line(number, 65_536))?;
        }
        full.send(())?;
        for number in (MUCH / 65_536..).take(ROUNDS) {
            let line = line(number, 10_000);
            match number % 4 {
                0 => request.wfile.write_all(&line)?,
                1 => connection.send_all(&line)?,
                _ => outbox.push(line)?,
            }
        }
        Ok(())
    });
    let server = in_background(server);
    let client = L::connect(server.server_address());
    next(&is_full);
    let expected: Vec<_> = (0..MUCH / 65_536 + ROUNDS).collect();
    assert_eq!(numbers(client.socket()), expected);
}

fn what_is_queued_is_sent_before_the_connection_is_closed<L: StreamKind, D: Dispatch + Default>() {
    let (folder, (ending, ends)) = (socket_folder(), channel());
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), move |request| {
        request
            .connection()?
            .outbox(usize::MAX)
            .push(vec![b'x'; MUCH])?;
        Ok(ending.send(())?)
    });
    let server = in_background(server);
    let client = L::connect(server.server_address());
    next(&ends);
    assert_eq!(read_all(client.socket()).len(), MUCH);
    let handle = server.handle();
    server.stop().expect("serving ends without an error");
    assert_eq!(handle.statistics().bytes_out, MUCH as u64);
    assert_eq!(handle.statistics().finished, 1);
}

/// The handler's reads do not wait for the queue, and a shutdown sees that the connection is idle.
fn a_handler_reads_while_its_client_does_not<L: StreamKind, D: Dispatch + Default>() {
    let (folder, (report, lines)) = (socket_folder(), channel());
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), move |request| {
        request
            .connection()?
            .outbox(usize::MAX)
            .push(vec![b'x'; MUCH])?;
        while let Some(line) = request.next_line()? {
            report.send(line)?;
        }
        Ok(report.send("the end".to_owned())?)
    });
    let server = in_background(server);
    let mut client = L::connect(server.server_address());
    client.send_part("one\n");
    assert_eq!(next(&lines), "one");
    client.send_part("two\n");
    assert_eq!(next(&lines), "two");
    server.handle().shutdown();
    assert_eq!(next(&lines), "the end");
    assert_eq!(read_all(client.socket()).len(), MUCH);
    server.stop().expect("serving ends without an error");
}

for_each! {{
        all_is_sent_in_the_order_of_the_calls
        what_is_queued_is_sent_before_the_connection_is_closed
        a_handler_reads_while_its_client_does_not
    }
    tcp: Tcp, Inline;
    concurrent_tcp: Tcp, Concurrent;
    unix_stream: Unix, Inline;
    concurrent_unix_stream: Unix, Concurrent;
}

/// Each thread's messages arrive whole and in order, those of `send_all` too. The client begins to read when
/// the socket takes no more, so the thread of the process sends some of them.
#[test]
fn threads_do_not_mix_their_messages() {
    const THREADS: usize = 4;
    const LINES: usize = 2000;
    let (server, outboxes) = serve(builder(), usize::MAX);
    let client = connect(server.server_address());
    let (outbox, called) = (next(&outboxes), AtomicU64::new(0));
    let bytes_out = || server.handle().statistics().bytes_out;
    let numbers = thread::scope(|scope| {
        for thread in 0..THREADS {
            let (outbox, called) = (&outbox, &called);
            scope.spawn(move || {
                for n in 0..LINES {
                    let line = line(n * THREADS + thread, 50 + n * 7 % 3000);
                    match thread {
                        0 => outbox.connection().send_all(&line),
                        _ => outbox.push(&line[..]),
                    }
                    .expect("the client reads");
                    called.fetch_add(line.len() as u64, Ordering::Relaxed);
                }
            });
        }
        eventually("the queue is stalled", || {
            called.load(Ordering::Relaxed) > bytes_out() + (1 << 20)
        });
        let reading = client.try_clone().expect("there is a descriptor");
        let reading = scope.spawn(|| numbers(reading));
        eventually("everything was sent", || {
            let sent: usize = (0..LINES).map(|n| 50 + n * 7 % 3000).sum();
            bytes_out() == (sent * THREADS) as u64
        });
        outbox.connection().shutdown().expect("it is open");
        reading.join().expect("the lines are whole")
    });
    for thread in 0..THREADS {
        let expected: Vec<_> = (0..LINES).map(|n| n * THREADS + thread).collect();
        let of_thread = numbers.iter().filter(|n| *n % THREADS == thread);
        assert_eq!(of_thread.copied().collect::<Vec<_>>(), expected);
    }
}

/// The thread that writes sends it: nobody else does anything after the push.
#[test]
fn a_push_during_a_write_is_sent_after_it() {
    let (server, outboxes) = serve(builder(), usize::MAX);
    let mut client = connect(server.server_address());
    let outbox = next(&outboxes);
    for queued in [0, MUCH] {
        outbox.push(vec![b'q'; queued]).expect("it is queued");
        let connection = outbox.connection().clone();
        let writing = thread::spawn(move || connection.send_all(&vec![b'x'; MUCH]));
        let mut received = vec![0; queued + MUCH + 4];
        let (begin, rest) = received.split_at_mut(queued + 1);
        client.read_exact(begin).expect("the first byte arrives");
        outbox.push(*b"last").expect("it is queued");
        client.read_exact(rest).expect("all is sent");
        assert!(received[..queued].iter().all(|byte| *byte == b'q'));
        assert!(received[queued..].starts_with(b"x"));
        assert!(received.ends_with(b"xlast"));
        join_soon(writing).expect("the client reads");
    }
}

#[test]
fn the_caller_may_drop_what_does_not_fit() {
    let (server, outboxes) = serve(builder(), 1 << 20);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    let first = fill(&outbox);
    let reading = thread::spawn(move || numbers(client));
    // The client has read, so there is space again.
    eventually("a message fits", || {
        outbox.push(line(first, 10_000)).is_ok()
    });
    server.stop().expect("serving ends without an error");
    assert_eq!(join_soon(reading), (0..=first).collect::<Vec<_>>());
}

#[test]
fn the_error_names_the_client_and_the_limit() {
    let (server, outboxes) = serve(builder(), 1 << 20);
    let client = connect(server.server_address());
    let outbox = next(&outboxes);
    fill(&outbox);
    let error = outbox.push(vec![b'.'; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    let address = client.local_addr().expect("the client is connected");
    let text = format!("the outbox of {address} is full: its limit is 1048576 bytes");
    assert_eq!(error.to_string(), text);
}

/// A message counts with 64 bytes and its length, in an empty queue too.
#[test]
fn short_and_long_messages_are_limited() {
    let (server, outboxes) = serve(builder(), 64);
    let mut client = connect(server.server_address());
    let none = next(&outboxes);
    assert_eq!(
        none.push(*b"x").unwrap_err().kind(),
        ErrorKind::QuotaExceeded
    );
    none.push([]).expect("nothing is sent");
    none.connection().outbox(65).push(*b"x").expect("it fits");
    let limited = none.connection().outbox(1000);
    let too_long = limited.push([b'l'; 937]).unwrap_err();
    assert_eq!(too_long.kind(), ErrorKind::QuotaExceeded);
    limited.push([b'y'; 936]).expect("it fits");
    let mut received = [0; 937];
    client.read_exact(&mut received).expect("both are sent");
    assert_eq!(received[0], b'x');
    assert_eq!(received[1..], [b'y'; 936]);
}

/// All outboxes of a connection are one queue.
#[test]
fn what_one_outbox_has_queued_counts_for_all() {
    let (server, outboxes) = serve(builder(), 1 << 20);
    let _client = connect(server.server_address());
    let outbox = next(&outboxes);
    fill(&outbox);
    let connection = outbox.connection();
    let error = connection.outbox(1 << 19).push(*b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    connection.outbox(1 << 21).push(*b"x").expect("it fits");
}

#[test]
fn an_outbox_works_on_after_its_connection_is_detached() {
    let (detached, requests) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        let outbox = request.connection()?.outbox(usize::MAX);
        let request = (outbox, request.detach());
        Ok(detached.send(request).map_err(|_| "the test has ended")?)
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    let (outbox, request) = next(&requests);
    server.stop().expect("serving ends without an error");
    outbox.push(vec![b'x'; MUCH]).expect("it is queued");
    // The drop sends the rest.
    let closing = thread::spawn(move || drop(request));
    assert_eq!(read_all(client).len(), MUCH);
    join_soon(closing);
    let error = outbox.push(*b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

/// A child process has no thread that sends, so `push` sends and waits.
#[cfg(feature = "fork")]
#[test]
fn in_a_child_a_push_blocks_until_the_client_has_read() {
    use socketserver::dispatch::Fork;

    support::child::in_child(|| {
        // SAFETY: the handler logs nothing and shares nothing with other threads.
        #[allow(unsafe_code)]
        let fork = unsafe { Fork::new().beside_threads() };
        let server = TcpServer::builder().dispatch(fork).bind_fn(ANY, |request| {
            let outbox = request.connection()?.outbox(0);
            outbox.push(vec![b'x'; MUCH])?;
            Ok(request.wfile.write_all(b"sent")?)
        });
        let server = in_background(server);
        let received = read_all(connect(server.server_address()));
        assert_eq!(received.len(), MUCH + 4);
        assert!(received.ends_with("xsent"));
    });
}
