//! The counts of requests by their outcomes, or by the reasons why they were not handled.

use std::io::{self, Error, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{Builder, Dispatch, OverloadPolicy, Server, Statistics};

use support::concurrent::ConcurrentTcpServer;
use support::counts::{outcomes, reasons, settled};
use support::kind::{Client, Kind, LineRequest};
use support::{
    ANY, connect, eventually, exchange, for_all_servers, in_background, read_all, socket_folder,
};

/// Hooks that refuse the second to the fourth request, each in a different way.
struct RefuseInThreeWays;

impl<R: Request> Hooks<R> for RefuseInThreeWays {
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        match request.id() {
            2 => Ok(false),
            3 => Err("refused with an error".into()),
            4 => panic!("refused with a panic"),
            _ => Ok(true),
        }
    }
}

/// A handler that ends in the way that its client names.
fn respond<R: LineRequest>(request: &mut R) -> HandlerResult {
    match &*request.read_message()? {
        "fail" => return Err("requested by the test".into()),
        "panic" => panic!("requested by the test"),
        "time out" => return Err(Error::from(ErrorKind::TimedOut).into()),
        "disconnect" => return Err(Error::from(ErrorKind::BrokenPipe).into()),
        line => request.write_message(line)?,
    }
    Ok(())
}

/// The statistics of a server before and after its shutdown. Its clients have every outcome.
fn statistics_of_all_outcomes<L: Kind, D: Dispatch + Default>() -> (Statistics, Statistics) {
    let folder = socket_folder();
    let server = in_background(
        Server::<L, D>::builder()
            .hooks(RefuseInThreeWays)
            .bind_fn(L::address(folder.path()), respond),
    );
    let handle = server.handle();
    assert_eq!(handle.statistics(), Statistics::default());
    let mut count = 0;
    let mut end = |send: &dyn Fn(&mut L::Client)| {
        let mut client = L::connect(server.server_address());
        send(&mut client);
        count += 1;
        settled(&handle, count)
    };
    end(&|client| client.send_line("first"));
    for _ in 2..=4 {
        end(&Client::begin);
    }
    for line in ["fail", "panic", "time out", "disconnect", "last"] {
        end(&|client| client.send_line(line));
    }
    let before = handle.statistics();
    server.stop().expect("serving ends without an error");
    (before, handle.statistics())
}

fn every_outcome_is_counted_once<L: Kind, D: Dispatch + Default>() {
    let (before, after) = statistics_of_all_outcomes::<L, D>();
    // Dispatchers without threads count no threads.
    let threads = before.peak_threads;
    assert_eq!(threads > 0, D::default().thread_gauge().is_some());
    assert_eq!(before.accepted, 9);
    assert_eq!(outcomes(&before), [2, 1, 1, 1, 1]);
    assert_eq!(reasons(&before), [3, 0, 0, 0, 0, 0]);
    // Refused clients send only as much as a request needs.
    let read = "first,fail,panic,time out,disconnect,last,".len();
    let refused = if L::STREAM {
        0
    } else {
        "begin,begin,begin,".len()
    };
    assert_eq!(before.bytes_in, (read + refused) as u64);
    assert_eq!(before.bytes_out, "first,last,".len() as u64);
    assert_eq!((before.peak_active, before.peak_queued), (1, 0));
    assert_eq!((before.threads, before.peak_threads), (threads, threads));
    // No request is active or queued any more, and the totals do not change.
    assert_eq!((after.threads, after.lingering), (0, 0));
    let mut as_before = after;
    as_before.threads = threads;
    as_before.lingering = before.lingering;
    assert_eq!(as_before, before);
}

for_all_servers! { every_outcome_is_counted_once }

/// A handler that sends a line, and then sends lines back.
fn echo(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(())
}

/// The statistics after one client of an echo server.
fn one<D: Dispatch>(
    builder: Builder<Tcp, D>,
    send: impl FnOnce(TcpStream, &ServerHandle),
) -> io::Result<Statistics> {
    let server = builder.bind_fn(ANY, echo)?.serve_in_background()?;
    let handle = server.handle();
    send(connect(server.server_address()), &handle);
    Ok(settled(&handle, 1))
}

#[test]
fn a_forced_close_counts_as_disconnected() -> io::Result<()> {
    let statistics = one(ConcurrentTcpServer::builder(), |mut client, server| {
        // The client is in the middle of a line, so the connection is not idle.
        client.write_all(b"half line").expect("the server reads");
        eventually("the bytes are read", || server.statistics().bytes_in == 9);
        let report = server.shutdown_within(Duration::from_millis(10));
        assert_eq!((report.forced, report.unfinished), (1, 0));
    })?;
    assert_eq!(outcomes(&statistics), [0, 0, 0, 0, 1]);
    Ok(())
}

#[test]
fn timeouts_and_deadlines_count_as_timed_out() -> io::Result<()> {
    let short = Duration::from_millis(20);
    let deadline = ConcurrentTcpServer::builder().max_lifetime(short);
    let read_timeout = ConcurrentTcpServer::builder().read_timeout(short);
    for builder in [deadline, read_timeout] {
        let statistics = one(builder, |mut client, _| {
            client.write_all(b"half line").expect("the server reads");
            // The client sees a reset at the deadline.
            let _ = client.read_to_end(&mut Vec::new());
        })?;
        assert_eq!(outcomes(&statistics), [0, 0, 0, 1, 0]);
    }
    Ok(())
}

#[test]
fn an_idle_timeout_counts_as_finished() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().idle_timeout(Duration::from_millis(20));
    let statistics = one(builder, |client, _| assert_eq!(read_all(client), "hello\n"))?;
    assert_eq!(outcomes(&statistics), [1, 0, 0, 0, 0]);
    Ok(())
}

/// A handler that fails in `handle` and panics in `finish`.
struct FailsTwice;

impl RequestHandler for FailsTwice {
    fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
        Err("once".into())
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        panic!("twice")
    }
}

#[test]
fn a_request_that_fails_twice_counts_once() -> io::Result<()> {
    let server = TcpServer::bind(ANY, || FailsTwice)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "");
    let statistics = settled(&server.handle(), 1);
    assert_eq!(outcomes(&statistics), [0, 0, 1, 0, 0]);
    Ok(())
}

#[test]
fn a_waiting_client_is_queued_and_then_active() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().max_connections(1);
    let builder = builder.overload(OverloadPolicy::Queue {
        length: 1,
        timeout: support::LONG,
    });
    let server = builder.bind_fn(ANY, echo)?.serve_in_background()?;
    let handle = server.handle();
    let first = connect(server.server_address());
    assert_eq!(exchange(&first, ""), "hello\n");
    let second = connect(server.server_address());
    eventually("the client is queued", || handle.statistics().queued == 1);
    assert_eq!(handle.statistics().active, 1);
    drop(first);
    assert_eq!(exchange(&second, ""), "hello\n");
    assert_eq!(handle.statistics().queued, 0);
    drop(second);
    let statistics = settled(&handle, 2);
    assert_eq!(outcomes(&statistics), [2, 0, 0, 0, 0]);
    assert_eq!((statistics.peak_active, statistics.peak_queued), (1, 1));
    Ok(())
}
