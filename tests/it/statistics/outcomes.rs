//! What a server counts of its requests: how they ended, or why they were not handled.

use std::io::{self, Error, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{Builder, Dispatch, OverloadPolicy, Server, Statistics};

use support::counts::{outcomes, reasons, settled};
use support::kind::{Client, Kind, Talk};
use support::{
    ANY, connect, eventually, exchange, for_all_servers, in_background, read_all, socket_folder,
};

/// Refuses the second to the fourth request, each in another way.
struct Picky;

impl<R: Request> Hooks<R> for Picky {
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        match request.id() {
            2 => Ok(false),
            3 => Err("refused with an error".into()),
            4 => panic!("refused with a panic"),
            _ => Ok(true),
        }
    }
}

/// Ends as its client says.
fn respond<R: Talk>(request: &mut R) -> HandlerResult {
    match &*request.question()? {
        "fail" => return Err("as asked".into()),
        "panic" => panic!("as asked"),
        "time out" => return Err(Error::from(ErrorKind::TimedOut).into()),
        "disconnect" => return Err(Error::from(ErrorKind::BrokenPipe).into()),
        line => request.answer(line)?,
    }
    Ok(())
}

/// The statistics before and after the end of a server whose clients ended in all ways.
fn statistics_of_all_ends<L: Kind, D: Dispatch + Default>() -> (Statistics, Statistics) {
    let folder = socket_folder();
    let server = in_background(
        Server::<L, D>::builder()
            .hooks(Picky)
            .bind_fn(L::address(folder.path()), respond),
    );
    let handle = server.handle();
    assert_eq!(handle.statistics(), Statistics::default());
    let mut count = 0;
    let mut end = |talk: &dyn Fn(&mut L::Client)| {
        let mut client = L::connect(server.server_address());
        talk(&mut client);
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
    server.stop().expect("it serves to its end");
    (before, handle.statistics())
}

fn every_end_is_counted_once<L: Kind, D: Dispatch + Default>() {
    let (before, after) = statistics_of_all_ends::<L, D>();
    // Dispatchers without threads count none.
    let threads = usize::from(before.peak_threads > 0);
    assert_eq!(threads, usize::from(D::default().thread_gauge().is_some()));
    assert_eq!(before.accepted, 9);
    assert_eq!(outcomes(&before), [2, 1, 1, 1, 1]);
    assert_eq!(reasons(&before), [3, 0, 0, 0, 0, 0]);
    // Those that are refused send nothing but what a request needs.
    let read = "first,fail,panic,time out,disconnect,last,".len();
    let refused = if L::STREAM {
        0
    } else {
        "begin,knock,knock,".len()
    };
    assert_eq!(before.bytes_in, (read + refused) as u64);
    assert_eq!(before.bytes_out, "first,last,".len() as u64);
    assert_eq!((before.peak_active, before.peak_queued), (1, 0));
    assert_eq!((before.threads, before.peak_threads), (threads, threads));
    // Nothing is there any more, and the totals stay.
    assert_eq!(after.threads, 0);
    let mut as_before = after;
    as_before.threads = threads;
    assert_eq!(as_before, before);
}

for_all_servers! { every_end_is_counted_once }

/// Sends a line, and then lines back.
fn echo(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(())
}

/// What is counted of one client of an echo server.
fn one<D: Dispatch>(
    builder: Builder<Tcp, D>,
    talk: impl FnOnce(TcpStream, &ServerHandle),
) -> io::Result<Statistics> {
    let server = builder.bind_fn(ANY, echo)?.serve_in_background()?;
    let handle = server.handle();
    talk(connect(server.server_address()), &handle);
    Ok(settled(&handle, 1))
}

#[test]
fn a_client_whose_connection_is_forced_to_close_has_disconnected() -> io::Result<()> {
    let statistics = one(ThreadingTcpServer::builder(), |mut client, server| {
        // In the middle of a line, so that it is not idle.
        client.write_all(b"half a li").expect("the server reads");
        eventually("it is read", || server.statistics().bytes_in == 9);
        let report = server.shutdown_within(Duration::from_millis(10));
        assert_eq!((report.forced, report.unfinished), (1, 0));
    })?;
    assert_eq!(outcomes(&statistics), [0, 0, 0, 0, 1]);
    Ok(())
}

#[test]
fn slow_clients_have_timed_out() -> io::Result<()> {
    let short = Duration::from_millis(20);
    let deadline = ThreadingTcpServer::builder().max_lifetime(short);
    let read_timeout = ThreadingTcpServer::builder().read_timeout(short);
    for builder in [deadline, read_timeout] {
        let statistics = one(builder, |mut client, _| {
            client.write_all(b"half a li").expect("the server reads");
            // A deadline ends in a reset.
            let _ = client.read_to_end(&mut Vec::new());
        })?;
        assert_eq!(outcomes(&statistics), [0, 0, 0, 1, 0]);
    }
    Ok(())
}

#[test]
fn an_idle_client_has_finished() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().idle_timeout(Duration::from_millis(20));
    let statistics = one(builder, |client, _| assert_eq!(read_all(client), "hello\n"))?;
    assert_eq!(outcomes(&statistics), [1, 0, 0, 0, 0]);
    Ok(())
}

/// Fails, and panics over that.
struct Twice;

impl RequestHandler for Twice {
    fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
        Err("once".into())
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        panic!("twice")
    }
}

#[test]
fn what_fails_twice_counts_once() -> io::Result<()> {
    let server = TcpServer::bind(ANY, || Twice)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "");
    let statistics = settled(&server.handle(), 1);
    assert_eq!(outcomes(&statistics), [0, 0, 1, 0, 0]);
    Ok(())
}

#[test]
fn a_client_that_waits_is_queued_then_active() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().max_connections(1);
    let builder = builder.overload(OverloadPolicy::Queue {
        length: 1,
        timeout: support::LONG,
    });
    let server = builder.bind_fn(ANY, echo)?.serve_in_background()?;
    let handle = server.handle();
    let first = connect(server.server_address());
    assert_eq!(exchange(&first, ""), "hello\n");
    let second = connect(server.server_address());
    eventually("it is queued", || handle.statistics().queued == 1);
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
