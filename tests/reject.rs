//! `Overload::Reject` and `reject_request`: clients are told, and nobody waits for those who do not
//! listen.

#[path = "support/gate.rs"]
mod gate;
#[path = "support/kind.rs"]
mod kind;
mod support;

use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socketserver::dispatch::ThreadPool;
use socketserver::listener::{Tcp, Udp, UnixDatagram, UnixStream};
use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{BackgroundServer, Builder, Overload, Rejection, Server, Stage};

use gate::Gate;
use kind::{Client, Kind, Talk};
use support::{ANY, LONG, connect, eventually, read_all, socket_folder};

/// Longer than a rejection may take, and shorter than anything that hangs.
const SOON: Duration = Duration::from_secs(8);

type Rejecting = fn(&mut StreamRequest) -> HandlerResult;

/// Rejects as it is told, and reports what failed.
struct Bouncer {
    reject: Rejecting,
    errors: Sender<(Stage, String)>,
}

impl Hooks for Bouncer {
    fn reject_request(&self, request: &mut StreamRequest, why: Rejection) -> HandlerResult {
        assert!(matches!(why, Rejection::Overload | Rejection::QueueTimeout));
        (self.reject)(request)
    }

    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        // The test may be over.
        let _ = self.errors.send((error.stage(), error.to_string()));
    }
}

/// A server with room for one, and somebody in it.
struct Full {
    server: BackgroundServer,
    gate: Gate,
    first: TcpStream,
    errors: Receiver<(Stage, String)>,
}

impl Full {
    fn new(policy: Overload, reject: Rejecting) -> Self {
        // Hooks that sleep are left behind.
        let builder = one().shutdown_timeout(Duration::from_millis(100));
        Self::with(builder.overload(policy), reject)
    }

    fn with(builder: Builder<Tcp, ThreadPool>, reject: Rejecting) -> Self {
        let gate = Gate::new();
        let (sender, errors) = unbounded();
        let builder = builder.hooks(Bouncer {
            reject,
            errors: sender,
        });
        let server = builder
            .bind_fn(ANY, gate.handler())
            .expect("a port is free");
        let server = server
            .serve_in_background()
            .expect("a thread can be started");
        let first = come(&server, "first");
        assert_eq!(gate.next(), "first");
        Full {
            server,
            gate,
            first,
            errors,
        }
    }

    /// Who is in is served, and so is who comes then.
    fn serves(self) {
        self.gate.let_go(2);
        assert_eq!(read_all(self.first), "first\n");
        eventually("there is room", || self.server.statistics().active == 0);
        assert_eq!(read_all(come(&self.server, "next")), "next\n");
    }
}

fn one() -> Builder<Tcp, ThreadPool> {
    ThreadingTcpServer::builder().max_connections(1)
}

fn come(server: &ServerHandle, name: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    // It may be rejected, and the connection closed, before it has spoken.
    let _ = writeln!(client, "{name}");
    client
}

fn busy(request: &mut StreamRequest) -> HandlerResult {
    Ok(request.wfile.write_all(b"server busy\n")?)
}

#[test]
fn clients_are_told_when_no_connection_is_free() {
    let full = Full::new(Overload::Reject, busy);
    for _ in 0..20 {
        assert_eq!(
            read_all(connect(full.server.server_address())),
            "server busy\n"
        );
    }
    assert_eq!(full.server.statistics().rejected.overload, 20);
    full.serves();
}

#[test]
fn clients_are_told_when_no_thread_is_free() {
    let builder = ThreadingTcpServer::builder().max_threads(1);
    let full = Full::with(builder.overload(Overload::Reject), busy);
    for _ in 0..20 {
        assert_eq!(
            read_all(connect(full.server.server_address())),
            "server busy\n"
        );
    }
    // The thread is free a moment after the request is gone.
    full.gate.let_go(1);
    eventually("there is room", || {
        let client = come(&full.server, "next");
        full.gate.let_go(1);
        read_all(client) == "next\n"
    });
}

#[test]
fn the_words_arrive_though_the_client_has_spoken() {
    let full = Full::new(Overload::Reject, busy);
    for bytes in [1, 1_000, 60_000] {
        // Accepted only when all of it is there.
        full.server.suspend();
        let mut client = connect(full.server.server_address());
        client
            .write_all(&vec![b'x'; bytes])
            .expect("the kernel keeps it");
        full.server.resume();
        assert_eq!(read_all(client), "server busy\n");
    }
}

#[test]
fn the_words_arrive_though_the_client_has_said_all() {
    let full = Full::new(Overload::Reject, busy);
    full.server.suspend();
    let client = come(&full.server, "hello");
    client.shutdown(Shutdown::Write).expect("it is connected");
    full.server.resume();
    assert_eq!(read_all(client), "server busy\n");
}

#[test]
fn many_words_arrive_in_full() {
    let full = Full::new(Overload::Reject, |request| {
        Ok(request.wfile.write_all(&[b'.'; 1_000_000])?)
    });
    let client = connect(full.server.server_address());
    assert_eq!(read_all(client).len(), 1_000_000);
}

#[test]
fn the_hook_may_read_what_the_client_wants() {
    let full = Full::new(Overload::Reject, |request| {
        let line = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&line)?)
    });
    assert_eq!(read_all(come(&full.server, "whoever")), "whoever\n");
}

/// Twenty clients that keep the hook busy, more than there are threads for it.
fn nobody_waits_for(reject: Rejecting, complaint: Option<&str>) {
    let full = Full::new(Overload::Reject, reject);
    let crowd: Vec<_> = (0..20)
        .map(|_| connect(full.server.server_address()))
        .collect();
    eventually("all are rejected", || {
        full.server.statistics().rejected.overload == 20
    });
    if let Some(complaint) = complaint {
        let (stage, text) = full.errors.recv_timeout(LONG).expect("it fails");
        assert_eq!(stage, Stage::Reject);
        assert!(text.contains(complaint), "{text}");
    }
    let since = Instant::now();
    full.serves();
    assert!(since.elapsed() < SOON);
    drop(crowd);
}

#[test]
fn nobody_waits_for_a_client_that_does_not_speak() {
    let reject: Rejecting = |request| Ok(drop(request.rfile.readline(100)?));
    nobody_waits_for(reject, Some("was not done within 1s"));
}

#[test]
fn nobody_waits_for_a_client_that_does_not_listen() {
    let reject: Rejecting = |request| loop {
        request.wfile.write_all(&[b'.'; 65_536])?;
    };
    nobody_waits_for(reject, Some("was not done within 1s"));
}

#[test]
fn nobody_waits_for_a_hook_that_sleeps() {
    nobody_waits_for(|_| Ok(thread::sleep(Duration::from_secs(3))), None);
}

#[test]
fn nobody_waits_for_a_hook_that_panics() {
    nobody_waits_for(|_| panic!("no words"), Some("no words"));
}

#[test]
fn nobody_waits_for_a_hook_that_fails() {
    nobody_waits_for(|_| Err("no words".into()), Some("no words"));
}

fn ends_after_a_second(reject: Rejecting) {
    let full = Full::new(Overload::Reject, reject);
    let since = Instant::now();
    let mut client = connect(full.server.server_address());
    let mut sink = Vec::new();
    // A reset, or the end: it is over.
    let _ = client.read_to_end(&mut sink);
    let took = since.elapsed();
    let range = Duration::from_millis(900)..SOON;
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn a_silent_clients_connection_ends_after_a_second() {
    ends_after_a_second(|request| Ok(drop(request.rfile.readline(100)?)));
}

#[test]
fn a_sleeping_hooks_connection_ends_after_a_second() {
    ends_after_a_second(|_| Ok(thread::sleep(2 * SOON)));
}

/// Room for many descriptors: both ends of each connection are in this process.
fn allow_descriptors(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    assert!(
        hard >= count,
        "{hard} descriptors are too few for this test"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(count), hard).expect("the hard limit allows it");
}

#[test]
fn serving_goes_on_beside_a_thousand_rejections() {
    allow_descriptors(8192);
    let full = Full::new(Overload::Reject, |_| Ok(thread::sleep(SOON)));
    let crowd: Vec<_> = (0..1200)
        .map(|_| connect(full.server.server_address()))
        .collect();
    eventually("many wait to be told", || {
        full.server.statistics().rejected.overload == 1024
    });
    // The next is the first of those who wait in the kernel's queue, and says nothing.
    full.gate.let_go(1);
    assert_eq!(read_all(full.first), "first\n");
    eventually("the next is in", || full.server.statistics().active == 1);
    assert_eq!(full.server.statistics().rejected.overload, 1024);
    drop(crowd);
}

#[test]
fn those_who_queued_in_vain_do_not_pile_up() {
    allow_descriptors(8192);
    let policy = Overload::Queue {
        length: 50,
        timeout: Duration::from_millis(1),
    };
    let full = Full::new(policy, |_| Ok(thread::sleep(SOON)));
    let _crowd: Vec<_> = (0..1200)
        .map(|_| connect(full.server.server_address()))
        .collect();
    eventually("many wait to be told", || {
        full.server.statistics().rejected.queue_timeout >= 1024
    });
    thread::sleep(Duration::from_millis(100));
    let accepted = full.server.statistics().accepted;
    assert!(accepted <= 1 + 1024 + 50, "{accepted}");
}

#[test]
fn a_hook_may_shut_the_server_down() {
    let full = Full::with(one().overload(Overload::Reject), |request| {
        request.server.shutdown();
        busy(request)
    });
    assert_eq!(read_all(come(&full.server, "last")), "server busy\n");
    full.gate.let_go(1);
    assert_eq!(read_all(full.first), "first\n");
    full.server.join().expect("it was served well");
}

/// Its own request is not waited for.
#[test]
fn a_hook_may_wait_for_the_shutdown() {
    let full = Full::with(one().overload(Overload::Reject), |request| {
        let report = request.server.shutdown_within(2 * SOON);
        Ok(write!(request.wfile, "{}", report.left_behind)?)
    });
    let client = come(&full.server, "last");
    eventually("it shuts down", || full.server.is_shutting_down());
    full.gate.let_go(1);
    let since = Instant::now();
    let _ = read_all(full.first);
    let mut told = String::new();
    // Its second may be over.
    let _ = { client }.read_to_string(&mut told);
    full.server.stop().expect("it was served well");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

/// Tells in the words of any kind of server.
struct TellAll;

impl<R: Request + Talk> Hooks<R> for TellAll {
    fn reject_request(&self, request: &mut R, why: Rejection) -> HandlerResult {
        Ok(request.answer(&why.to_string())?)
    }
}

fn clients_of_every_kind_are_told<L: Kind>() {
    let (folder, gate) = (socket_folder(), Gate::new());
    let builder = Server::<L, ThreadPool>::builder().max_connections(1);
    let builder = builder.overload(Overload::Reject).hooks(TellAll);
    let server = builder.bind_fn(L::place(folder.path()), gate.handler());
    let server = server.expect("it can be bound").serve_in_background();
    let server = server.expect("a thread can be started");
    let mut first = L::connect(server.server_address());
    first.say("first");
    assert_eq!(gate.next(), "first");
    let mut second = L::connect(server.server_address());
    assert_eq!(second.ask("second"), "no room");
    gate.let_go(1);
    assert_eq!(first.hear(), "first");
    eventually("its counts are right", || {
        let now = server.statistics();
        (now.accepted, now.finished, now.rejected.overload) == (2, 1, 1)
    });
}

#[test]
fn clients_of_tcp_are_told() {
    clients_of_every_kind_are_told::<Tcp>();
}

#[test]
fn clients_of_unix_streams_are_told() {
    clients_of_every_kind_are_told::<UnixStream>();
}

#[test]
fn clients_of_udp_are_told() {
    clients_of_every_kind_are_told::<Udp>();
}

#[test]
fn clients_of_unix_datagrams_are_told() {
    clients_of_every_kind_are_told::<UnixDatagram>();
}
