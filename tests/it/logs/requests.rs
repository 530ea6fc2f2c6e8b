//! The end of each request is counted once and logged. Each log line about a request begins with
//! the number of the request.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socketserver::dispatch::{Inline, Job};
use socketserver::listener::{Tcp, Udp};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, Server, Statistics};

use support::concurrent::{Concurrent, ConcurrentTcpServer, ConcurrentUdpServer};
use support::counts::settled;
use support::handlers::echo_or_fail;
use support::logs::Logs;
use support::{ANY, connect_from, connect_udp, eventually, exchange, reset};

/// A loopback address that the clients of other tests do not use. A port alone is not unique,
/// because the system uses ports again.
pub fn new_host() -> IpAddr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 1, 0, HOSTS.fetch_add(1, Ordering::Relaxed)).into()
}

pub fn ip(server: &BackgroundServer) -> SocketAddr {
    let address = server.server_address().socket_addr();
    address.expect("the server has an IP address")
}

/// The log lines about the request from this address, without its number and address.
pub fn lines(logs: &Logs, request: u64, client: &str) -> Vec<String> {
    let name = format!("request {request} from {client}: ");
    let named = logs.with(&name);
    assert_eq!(logs.with(&format!("from {client}")).len(), named.len());
    named
        .into_iter()
        .map(|(level, line)| {
            format!(
                "{level} {}",
                line.split(&name).last().expect("the line has a text")
            )
        })
        .collect()
}

/// Splits `DEBUG finished after 1.234ms, 6 bytes in, 0 bytes out` around the duration.
pub fn without_duration(line: &str) -> String {
    let (end, rest) = line.split_once(" after ").expect(line);
    let (duration, bytes) = rest.split_once(", ").expect(line);
    assert!(duration.ends_with('s'), "{line}");
    assert!(duration.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    format!("{end}; {bytes}")
}

/// The log lines and the statistics of one request.
pub struct Ended {
    pub lines: Vec<String>,
    pub statistics: Statistics,
}

impl Ended {
    /// Checks that the log lines are `accepted`, the lines in `between`, and the line `end`.
    pub fn expect_lines(&self, between: &[&str], end: &str) {
        let (last, first) = self.lines.split_last().expect("the request is logged");
        assert_eq!(first[0], "DEBUG accepted");
        assert_eq!(&first[1..], between);
        assert_eq!(without_duration(last), format!("DEBUG {end}"));
    }
}

/// A handler that sends a line, and then sends lines back.
pub fn greet_and_echo(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    echo_or_fail(request)
}

/// Serves one client, which sends this text and nothing else.
fn one<D: Dispatch>(builder: Builder<Tcp, D>, text: &str) -> io::Result<Ended> {
    let logs = Logs::from_here();
    let server = builder
        .bind_fn(ANY, greet_and_echo)?
        .serve_in_background()?;
    let client = connect_from(new_host(), ip(&server))?;
    // The server may reject the client before this write.
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
            // The sum of all counts is 1.
            assert_eq!(ended.statistics.$($count).+, 1);
            Ok(())
        })*
    };
}

pub const SHORT: Duration = Duration::from_millis(20);

const NOT_DISPATCHED: &str = "rejected (not dispatched); 0 bytes in, 0 bytes out";

ends! {
    finished: ConcurrentTcpServer::builder(), "hi\n",
        [], "finished; 3 bytes in, 9 bytes out", finished;
    finished_inline: TcpServer::builder(), "hi\n",
        [], "finished; 3 bytes in, 9 bytes out", finished;
    failed: ConcurrentTcpServer::builder(), "fail\n",
        ["ERROR handle failed: requested by the test"], "failed; 5 bytes in, 6 bytes out", failed;
    panicked: ConcurrentTcpServer::builder(), "panic\n",
        ["ERROR handle failed: panicked: requested by the test"], "panicked; 6 bytes in, 6 bytes out", panicked;
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

/// Hooks that panic in one place.
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

/// A dispatcher that runs no job.
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
    let builder = ConcurrentTcpServer::builder().read_timeout(SHORT);
    let ended = one(builder, "half line")?;
    let end = "timed out; 9 bytes in, 6 bytes out";
    assert_eq!(without_duration(&ended.lines[2]), format!("DEBUG {end}"));
    assert!(ended.lines[1].starts_with("ERROR handle failed: nothing received from 127.1.0."));
    assert!(ended.lines[1].ends_with(" within 20ms"));
    assert_eq!((ended.lines.len(), ended.statistics.timed_out), (3, 1));
    Ok(())
}

#[test]
fn disconnected() -> io::Result<()> {
    let logs = Logs::from_here();
    let server = ConcurrentTcpServer::bind_fn(ANY, greet_and_echo)?.serve_in_background()?;
    let client = connect_from(new_host(), ip(&server))?;
    let address = client.local_addr()?.to_string();
    assert_eq!(exchange(&client, "half line"), "hello\n");
    eventually("the data is read", || {
        server.handle().statistics().bytes_in == 9
    });
    reset(client);
    let statistics = settled(&server.handle(), 1);
    let lines = lines(&logs, 1, &address);
    let ended = Ended { lines, statistics };
    let why = "DEBUG handle failed: Connection reset by peer (os error 104)";
    ended.expect_lines(&[why], "disconnected; 9 bytes in, 6 bytes out");
    assert_eq!(ended.statistics.disconnected, 1);
    Ok(())
}

#[test]
fn log_lines_about_a_datagram_have_its_number() -> io::Result<()> {
    let logs = Logs::from_here();
    let builder = ConcurrentUdpServer::builder().max_packet_size(5);
    let server = builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"well, hello")?;
        Err("requested by the test".into())
    })?;
    let server = server.serve_in_background()?;
    let client = connect_udp(server.server_address());
    client.send(b"hello there")?;
    client.recv(&mut [0; 20])?;
    settled(&server.handle(), 1);
    let lines = lines(&logs, 1, &client.local_addr()?.to_string());
    assert!(lines[0].starts_with("WARN a datagram longer than 5 bytes was truncated"));
    assert_eq!(lines[1], "DEBUG accepted");
    assert_eq!(lines[2], "ERROR handle failed: requested by the test");
    let end = "DEBUG failed; 5 bytes in, 11 bytes out";
    assert_eq!(without_duration(&lines[3]), end);
    Ok(())
}

#[test]
fn requests_without_errors_are_logged_at_debug_level() -> io::Result<()> {
    let lines = one(ConcurrentTcpServer::builder(), "hi\n")?.lines;
    assert!(lines.iter().all(|line| line.starts_with("DEBUG ")));
    Ok(())
}

fn what_a_handler_sends_counts_as_its_requests_bytes<D: Dispatch + Default>() -> io::Result<()> {
    let logs = Logs::from_here();
    let server = Server::<Udp, D>::bind_fn(ANY, |request| {
        let client = &request.client_address;
        request.socket.send_to(b"one", client)?;
        request
            .socket
            .clone()
            .send_to(b"not counted here", client)?;
        request.reply(b"three")?;
        request.wfile.write_all(b"four")?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    for request in 1..=2 {
        let client = connect_udp(server.server_address());
        client.send(b"hello")?;
        let statistics = settled(&server.handle(), request);
        assert_eq!(statistics.bytes_out, 28 * request);
        let lines = lines(&logs, request, &client.local_addr()?.to_string());
        let end = "DEBUG finished; 5 bytes in, 12 bytes out";
        assert_eq!(without_duration(lines.last().expect("it is logged")), end);
    }
    Ok(())
}

#[test]
fn what_a_datagram_handler_sends_is_logged() -> io::Result<()> {
    what_a_handler_sends_counts_as_its_requests_bytes::<Inline>()?;
    what_a_handler_sends_counts_as_its_requests_bytes::<Concurrent>()
}
