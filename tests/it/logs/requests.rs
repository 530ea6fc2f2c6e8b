//! Each request has a number, and each line of the log that is about it begins with that, from its
//! first line to its last.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use log::Level;
use socket2::{Domain, SockRef, Socket, Type};
use socketserver::dispatch::{Inline, Job, ThreadPool};
use socketserver::listener::{Tcp, Udp, Unix, UnixDatagram};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, OverloadPolicy, Server};

use support::counts::settled;
use support::handlers::echo_or_fail;
use support::kind::{Client, Kind, Talk};
use support::logs::Logs;
use support::{ANY, LONG, connect_udp, eventually, exchange, socket_folder};

/// Loopback addresses that no other test's clients have: ports alone are used again.
fn new_host() -> Ipv4Addr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 1, 0, HOSTS.fetch_add(1, Ordering::Relaxed))
}

fn connect_from(host: Ipv4Addr, server: &Address) -> io::Result<TcpStream> {
    let Address::Ip(server) = *server else {
        panic!("a TCP server has an IP address");
    };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_read_timeout(Some(LONG))?;
    socket.bind(&SocketAddr::from((host, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// What the log says of the request from this address, without its name.
fn lines(request: u64, client: &str) -> Vec<String> {
    let name = format!("request {request} from {client}: ");
    let named = logs.with(&name);
    // Nothing is said of it without its name, and nothing of its end but at debug level.
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

/// The log has `accepted`, the lines between, and the end of the one request of a server.
fn tells(client: &str, between: &[&str], end: &str) {
    let lines = lines(1, client);
    let (last, first) = lines.split_last().expect("it is in the log");
    assert_eq!(first[0], "DEBUG accepted");
    assert_eq!(&first[1..], between);
    assert_eq!(without_duration(last), format!("DEBUG {end}"));
}

/// Says hello first.
fn greet_and_obey(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    echo_or_fail(request)
}

/// One client sends this and no more; its address.
fn one<D: Dispatch>(builder: Builder<Tcp, D>, text: &str) -> io::Result<String> {
    let logs = Logs::from_here();
    let server = builder
        .bind_fn(ANY, greet_and_obey)?
        .serve_in_background()?;
    let client = connect_from(new_host(), server.server_address())?;
    let address = client.local_addr()?.to_string();
    // It may be rejected meanwhile.
    let _ = (&client).write_all(text.as_bytes());
    if text.ends_with('\n') || text.is_empty() {
        let _ = client.shutdown(Shutdown::Write);
    }
    let _ = (&client).read_to_end(&mut Vec::new());
    settled(&server.handle(), 1);
    Ok(address)
}

macro_rules! outcomes {
    ($($name:ident: $builder:expr, $text:literal, $between:expr, $end:literal;)*) => {
        $(#[test]
        fn $name() -> io::Result<()> {
            let client = one($builder, $text)?;
            tells(&client, &$between, $end);
            Ok(())
        })*
    };
}

const SHORT: Duration = Duration::from_millis(20);

outcomes! {
    finished: ThreadingTcpServer::builder(), "hi\n", [], "finished; 3 bytes in, 9 bytes out";
    finished_inline: TcpServer::builder(), "hi\n", [], "finished; 3 bytes in, 9 bytes out";
    failed: ThreadingTcpServer::builder(), "fail\n",
        ["ERROR handle failed: as asked"], "failed; 5 bytes in, 6 bytes out";
    panicked: ThreadingTcpServer::builder(), "panic\n",
        ["ERROR handle failed: panicked: as asked"], "panicked; 6 bytes in, 6 bytes out";
    refused: TcpServer::builder().hooks(Refuse), "",
        [], "refused; 0 bytes in, 0 bytes out";
    refused_with_a_panic: TcpServer::builder().hooks(Clumsy("verify_request")), "",
        ["ERROR verify_request failed: panicked: in verify_request"],
        "refused; 0 bytes in, 0 bytes out";
    a_panic_in_handle_error: TcpServer::builder().hooks(Clumsy("handle_error")), "fail\n",
        ["ERROR handle_error panicked: in handle_error"], "failed; 5 bytes in, 6 bytes out";
    dropped_by_a_dispatcher: TcpServer::builder().dispatch(Dropper), "",
        [], "rejected (not dispatched); 0 bytes in, 0 bytes out";
    refused_by_a_dispatcher: TcpServer::builder().dispatch(Refuser), "",
        ["ERROR dispatch failed: not today"],
        "rejected (not dispatched); 0 bytes in, 0 bytes out";
}

struct Refuse;

impl Hooks for Refuse {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(false)
    }
}

/// Panics in one place.
struct Clumsy(&'static str);

impl Clumsy {
    fn pass(&self, place: &str) {
        assert!(self.0 != place, "in {place}");
    }
}

impl Hooks for Clumsy {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.pass("verify_request");
        Ok(true)
    }

    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        self.pass("handle_error");
        error.log(request);
    }
}

struct Dropper;

impl Dispatch for Dropper {
    fn dispatch(&self, job: Job) {
        drop(job);
    }
}

struct Refuser;

impl Dispatch for Refuser {
    fn dispatch(&self, job: Job) {
        job.refuse(io::Error::other("not today"));
    }
}

#[test]
fn timed_out() -> io::Result<()> {
    let client = one(
        ThreadingTcpServer::builder().read_timeout(SHORT),
        "half a li",
    )?;
    let why = format!("ERROR handle failed: nothing received from {client} for 20ms");
    tells(&client, &[&why], "timed out; 9 bytes in, 6 bytes out");
    Ok(())
}

#[test]
fn disconnected() -> io::Result<()> {
    let logs = Logs::from_here();
    let server = ThreadingTcpServer::bind_fn(ANY, greet_and_obey)?.serve_in_background()?;
    let client = connect_from(new_host(), server.server_address())?;
    let address = client.local_addr()?.to_string();
    assert_eq!(exchange(&client, "half a li"), "hello\n");
    eventually("it is read", || server.handle().statistics().bytes_in == 9);
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    drop(client);
    settled(&server.handle(), 1);
    let why = "DEBUG handle failed: Connection reset by peer (os error 104)";
    tells(&address, &[why], "disconnected; 9 bytes in, 6 bytes out");
    Ok(())
}

/// The second client of a server with room for one, by its address: it is number 2.
fn second(
    builder: Builder<Tcp, ThreadPool>,
    meanwhile: impl FnOnce(&ServerHandle),
) -> io::Result<Vec<String>> {
    let logs = Logs::from_here();
    let server: BackgroundServer = builder
        .bind_fn(ANY, greet_and_obey)?
        .serve_in_background()?;
    let host = new_host();
    let first = connect_from(host, server.server_address())?;
    assert_eq!(exchange(&first, ""), "hello\n");
    let client = connect_from(host, server.server_address())?;
    let address = client.local_addr()?.to_string();
    meanwhile(&server.handle());
    let _ = (&client).read_to_end(&mut Vec::new());
    drop(first);
    settled(&server.handle(), 2);
    Ok(lines(2, &address))
}

fn queue(timeout: Duration) -> Builder<Tcp, ThreadPool> {
    let length = 1;
    let builder = ThreadingTcpServer::builder().max_connections(1);
    builder.overload(OverloadPolicy::Queue { length, timeout })
}

#[test]
fn rejected_for_want_of_room() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().max_connections(1);
    let lines = second(builder.overload(OverloadPolicy::Reject), |_| {})?;
    assert_eq!(lines[0], "DEBUG accepted");
    let end = "DEBUG rejected (no room); 0 bytes in, 0 bytes out";
    assert_eq!(without_duration(&lines[1]), end);
    assert_eq!(lines.len(), 2);
    Ok(())
}

#[test]
fn rejected_after_waiting() -> io::Result<()> {
    let lines = second(queue(SHORT), |_| {})?;
    assert_eq!(lines[0], "DEBUG accepted");
    let end = "DEBUG rejected (no room in time); 0 bytes in, 0 bytes out";
    assert_eq!(without_duration(&lines[1]), end);
    assert_eq!(lines.len(), 2);
    Ok(())
}

#[test]
fn rejected_by_a_shutdown() -> io::Result<()> {
    let lines = second(queue(LONG), |server| {
        eventually("it is queued", || server.statistics().queued == 1);
        server.shutdown();
    })?;
    assert_eq!(lines[0], "DEBUG accepted");
    let end = "DEBUG rejected (shutting down); 0 bytes in, 0 bytes out";
    assert_eq!(without_duration(&lines[1]), end);
    Ok(())
}

#[test]
fn rejected_with_others_of_its_source() -> io::Result<()> {
    let lines = second(ThreadingTcpServer::builder().max_per_ip(1), |_| {})?;
    assert_eq!(lines[0], "DEBUG accepted");
    assert!(lines[1].starts_with("WARN rejected, its source has 1 already"));
    let end = "DEBUG rejected (too many of one source); 0 bytes in, 0 bytes out";
    assert_eq!(without_duration(&lines[2]), end);
    assert_eq!(lines.len(), 3);
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
    let lines = lines(1, &client.local_addr()?.to_string());
    assert!(lines[0].starts_with("WARN a datagram longer than 5 bytes was cut"));
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

fn count_from_one<L: Kind>() -> io::Result<()> {
    let inline = numbers::<L, Inline>()?;
    assert_eq!(inline, (1..=100).collect::<Vec<_>>());
    let threading = numbers::<L, ThreadPool>()?;
    assert_eq!(threading.len(), 100);
    let threading: BTreeSet<_> = threading.into_iter().collect();
    assert_eq!(threading, (1..=100).collect());
    Ok(())
}

#[test]
fn numbers_are_unique_and_count_from_one() -> io::Result<()> {
    count_from_one::<Tcp>()?;
    count_from_one::<Unix>()?;
    count_from_one::<Udp>()?;
    count_from_one::<UnixDatagram>()
}

#[test]
fn without_an_error_nothing_is_said_above_debug_level() -> io::Result<()> {
    let client = one(ThreadingTcpServer::builder(), "hi\n")?;
    let levels = logs.with(&client).into_iter().map(|(level, _)| level);
    assert!(levels.clone().count() > 0 && levels.clone().all(|level| level == Level::Debug));
    Ok(())
}
