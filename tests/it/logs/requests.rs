//! How each request ends is counted once, and logged: each line of the log about a request begins with
//! the request's number.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::dispatch::{Inline, Job, ThreadPool};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{
    BackgroundServer, Builder, Dispatch, OverloadPolicy, RejectReason, Server, Statistics,
};

use support::counts::settled;
use support::handlers::echo_or_fail;
use support::kind::{Client, Kind, Talk};
use support::logs::Logs;
use support::{
    ANY, LONG, connect_from, connect_udp, eventually, exchange, for_all_kinds, socket_folder,
};

/// Loopback addresses that no other test's clients have: ports alone are used again.
fn new_host() -> IpAddr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 1, 0, HOSTS.fetch_add(1, Ordering::Relaxed)).into()
}

fn ip(server: &BackgroundServer) -> SocketAddr {
    let address = server.server_address().socket_addr();
    address.expect("a TCP server has an IP address")
}

/// What is logged of the request from this address, without its number and address.
fn lines(logs: &Logs, request: u64, client: &str) -> Vec<String> {
    let name = format!("request {request} from {client}: ");
    let named = logs.with(&name);
    assert_eq!(logs.with(&format!("from {client}")).len(), named.len());
    named
        .into_iter()
        .map(|(level, line)| format!("{level} {}", line.split(&name).last().expect("its end")))
        .collect()
}

/// Splits `DEBUG finished after 1.234ms, 6 bytes in, 0 bytes out` around the duration.
fn without_duration(line: &str) -> String {
    let (end, rest) = line.split_once(" after ").expect(line);
    let (duration, bytes) = rest.split_once(", ").expect(line);
    assert!(duration.ends_with('s'), "{line}");
    assert!(duration.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    format!("{end}; {bytes}")
}

/// What is logged and counted of one request.
struct Ended {
    lines: Vec<String>,
    statistics: Statistics,
}

impl Ended {
    /// Logged are `accepted`, the lines between, and the end.
    fn expect_lines(&self, between: &[&str], end: &str) {
        let (last, first) = self.lines.split_last().expect("it is in the log");
        assert_eq!(first[0], "DEBUG accepted");
        assert_eq!(&first[1..], between);
        assert_eq!(without_duration(last), format!("DEBUG {end}"));
    }
}

/// Sends a line first.
fn greet_and_echo(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    echo_or_fail(request)
}

/// Serves one client, which sends this and no more.
fn one<D: Dispatch>(builder: Builder<Tcp, D>, text: &str) -> io::Result<Ended> {
    let logs = Logs::from_here();
    let server = builder
        .bind_fn(ANY, greet_and_echo)?
        .serve_in_background()?;
    let client = connect_from(new_host(), ip(&server))?;
    // It may be rejected meanwhile.
    let _ = (&client).write_all(text.as_bytes());
    if text.ends_with('\n') || text.is_empty() {
        let _ = client.shutdown(Shutdown::Write);
    }
    let _ = (&client).read_to_end(&mut Vec::new());
    let statistics = settled(&server.handle(), 1);
    Ok(Ended {
        lines: lines(&logs, 1, &client.local_addr()?.to_string()),
        statistics,
    })
}

macro_rules! ends {
    ($($name:ident: $builder:expr, $text:literal, $between:expr, $end:expr, $($count:ident).+;)*) => {
        $(#[test]
        fn $name() -> io::Result<()> {
            let ended = one($builder, $text)?;
            ended.expect_lines(&$between, $end);
            // All counts together are 1.
            assert_eq!(ended.statistics.$($count).+, 1);
            Ok(())
        })*
    };
}

const SHORT: Duration = Duration::from_millis(20);

fn rejected(why: RejectReason) -> String {
    format!("rejected ({why}); 0 bytes in, 0 bytes out")
}

const NOT_DISPATCHED: &str = "rejected (not dispatched); 0 bytes in, 0 bytes out";

ends! {
    finished: ThreadingTcpServer::builder(), "hi\n",
        [], "finished; 3 bytes in, 9 bytes out", finished;
    finished_inline: TcpServer::builder(), "hi\n",
        [], "finished; 3 bytes in, 9 bytes out", finished;
    failed: ThreadingTcpServer::builder(), "fail\n",
        ["ERROR handle failed: as asked"], "failed; 5 bytes in, 6 bytes out", failed;
    panicked: ThreadingTcpServer::builder(), "panic\n",
        ["ERROR handle failed: panicked: as asked"], "panicked; 6 bytes in, 6 bytes out", panicked;
    refused: TcpServer::builder().hooks(Refuse), "",
        [], "refused; 0 bytes in, 0 bytes out", rejected.refused;
    refused_with_a_panic: TcpServer::builder().hooks(Panics("verify_request")), "",
        ["ERROR verify_request failed: panicked: in verify_request"],
        "refused; 0 bytes in, 0 bytes out", rejected.refused;
    a_panic_in_handle_error: TcpServer::builder().hooks(Panics("handle_error")), "fail\n",
        ["ERROR handle_error panicked: in handle_error"],
        "failed; 5 bytes in, 6 bytes out", failed;
    dropped_by_a_dispatcher: TcpServer::builder().dispatch(Idle::Drops), "",
        [], NOT_DISPATCHED, rejected.dispatch;
    refused_by_a_dispatcher: TcpServer::builder().dispatch(Idle::Refuses), "",
        ["ERROR dispatch failed: not today"],
        NOT_DISPATCHED, rejected.dispatch;
}

struct Refuse;

impl Hooks for Refuse {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(false)
    }
}

/// Panics in one place.
struct Panics(&'static str);

impl Panics {
    fn panic_in(&self, place: &str) {
        assert!(self.0 != place, "in {place}");
    }
}

impl Hooks for Panics {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.panic_in("verify_request");
        Ok(true)
    }

    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        self.panic_in("handle_error");
        error.log(request);
    }
}

/// Runs no job.
enum Idle {
    Drops,
    Refuses,
}

impl Dispatch for Idle {
    fn dispatch(&self, job: Job) {
        match self {
            Idle::Drops => drop(job),
            Idle::Refuses => job.refuse(io::Error::other("not today")),
        }
    }
}

#[test]
fn timed_out() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().read_timeout(SHORT);
    let ended = one(builder, "half a li")?;
    let end = "timed out; 9 bytes in, 6 bytes out";
    assert_eq!(without_duration(&ended.lines[2]), format!("DEBUG {end}"));
    assert!(ended.lines[1].starts_with("ERROR handle failed: nothing received from 127.1.0."));
    assert!(ended.lines[1].ends_with(" for 20ms"));
    assert_eq!((ended.lines.len(), ended.statistics.timed_out), (3, 1));
    Ok(())
}

#[test]
fn disconnected() -> io::Result<()> {
    let logs = Logs::from_here();
    let server = ThreadingTcpServer::bind_fn(ANY, greet_and_echo)?.serve_in_background()?;
    let client = connect_from(new_host(), ip(&server))?;
    let address = client.local_addr()?.to_string();
    assert_eq!(exchange(&client, "half a li"), "hello\n");
    eventually("it is read", || server.handle().statistics().bytes_in == 9);
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    drop(client);
    let statistics = settled(&server.handle(), 1);
    let lines = lines(&logs, 1, &address);
    let ended = Ended { lines, statistics };
    let why = "DEBUG handle failed: Connection reset by peer (os error 104)";
    ended.expect_lines(&[why], "disconnected; 9 bytes in, 6 bytes out");
    assert_eq!(ended.statistics.disconnected, 1);
    Ok(())
}

/// The second client of a server that serves one. Both have the same IP address.
fn second(
    builder: Builder<Tcp, ThreadPool>,
    meanwhile: impl FnOnce(&ServerHandle),
) -> io::Result<Ended> {
    let logs = Logs::from_here();
    let server = builder
        .bind_fn(ANY, greet_and_echo)?
        .serve_in_background()?;
    let host = new_host();
    let first = connect_from(host, ip(&server))?;
    assert_eq!(exchange(&first, ""), "hello\n");
    let client = connect_from(host, ip(&server))?;
    meanwhile(&server.handle());
    assert_eq!((&client).read_to_end(&mut Vec::new())?, 0);
    drop(first);
    let statistics = settled(&server.handle(), 2);
    assert_eq!(statistics.finished, 1);
    Ok(Ended {
        lines: lines(&logs, 2, &client.local_addr()?.to_string()),
        statistics,
    })
}

fn one_connection() -> Builder<Tcp, ThreadPool> {
    ThreadingTcpServer::builder().max_connections(1)
}

fn queue(timeout: Duration) -> OverloadPolicy {
    OverloadPolicy::Queue { length: 1, timeout }
}

#[test]
fn rejected_at_the_limit() -> io::Result<()> {
    let ended = second(one_connection().overload(OverloadPolicy::Reject), |_| {})?;
    ended.expect_lines(&[], &rejected(RejectReason::Overload));
    assert_eq!(ended.statistics.rejected.overload, 1);
    Ok(())
}

#[test]
fn rejected_after_waiting() -> io::Result<()> {
    let ended = second(one_connection().overload(queue(SHORT)), |_| {})?;
    ended.expect_lines(&[], &rejected(RejectReason::QueueTimeout));
    assert_eq!(ended.statistics.rejected.queue_timeout, 1);
    Ok(())
}

#[test]
fn rejected_by_a_shutdown() -> io::Result<()> {
    let ended = second(one_connection().overload(queue(LONG)), |server| {
        eventually("it is queued", || server.statistics().queued == 1);
        server.shutdown();
    })?;
    ended.expect_lines(&[], &rejected(RejectReason::Shutdown));
    assert_eq!(ended.statistics.rejected.shutdown, 1);
    Ok(())
}

#[test]
fn rejected_at_the_limit_of_its_ip() -> io::Result<()> {
    let ended = second(ThreadingTcpServer::builder().max_per_ip(1), |_| {})?;
    let lines = &ended.lines;
    assert_eq!(lines[0], "DEBUG accepted");
    assert!(lines[1].starts_with("WARN rejected") && lines[1].contains("max_per_ip"));
    let end = format!("DEBUG {}", rejected(RejectReason::PerIp));
    assert_eq!((lines.len(), without_duration(&lines[2])), (3, end));
    assert_eq!(ended.statistics.rejected.per_ip, 1);
    Ok(())
}

#[test]
fn a_datagram_has_its_number_too() -> io::Result<()> {
    let logs = Logs::from_here();
    let builder = ThreadingUdpServer::builder().max_packet_size(5);
    let server = builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"well, hello")?;
        Err("as asked".into())
    })?;
    let server = server.serve_in_background()?;
    let client = connect_udp(server.server_address());
    client.send(b"hello there")?;
    client.recv(&mut [0; 20])?;
    settled(&server.handle(), 1);
    let lines = lines(&logs, 1, &client.local_addr()?.to_string());
    assert!(lines[0].starts_with("WARN a datagram longer than 5 bytes was truncated"));
    assert_eq!(lines[1], "DEBUG accepted");
    assert_eq!(lines[2], "ERROR handle failed: as asked");
    let end = "DEBUG failed; 5 bytes in, 11 bytes out";
    assert_eq!(without_duration(&lines[3]), end);
    Ok(())
}

/// The numbers that handlers saw.
fn numbers<L: Kind, D: Dispatch + Default>() -> io::Result<Vec<u64>> {
    let folder = socket_folder();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let place = L::address(folder.path());
    let server = Server::<L, D>::bind_fn(place, move |request: &mut L::Request| {
        see.lock()
            .expect("nothing panics in here")
            .push(request.id());
        Ok(request.answer("seen")?)
    })?;
    let server = server.serve_in_background()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = L::connect(server.server_address());
                    client.begin();
                    assert_eq!(client.receive_line(), "seen");
                }
            });
        }
    });
    settled(&server.handle(), 100);
    let numbers = seen.lock().expect("nothing panics in here");
    Ok(numbers.clone())
}

fn numbers_are_unique_and_count_from_one<L: Kind>() {
    let inline = numbers::<L, Inline>().expect("it serves");
    assert_eq!(inline, (1..=100).collect::<Vec<_>>());
    let threading = numbers::<L, ThreadPool>().expect("it serves");
    assert_eq!(threading.len(), 100);
    let threading: BTreeSet<_> = threading.into_iter().collect();
    assert_eq!(threading, (1..=100).collect());
}

for_all_kinds! { numbers_are_unique_and_count_from_one }

#[test]
fn without_an_error_nothing_is_logged_above_debug_level() -> io::Result<()> {
    let lines = one(ThreadingTcpServer::builder(), "hi\n")?.lines;
    assert!(lines.iter().all(|line| line.starts_with("DEBUG ")));
    Ok(())
}
