//! The thread pool: how it grows, where it stops, what it uses again and what it lets go.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::prelude::*;
use socketserver::{HandlerError, RequestError, Stage};

use support::logs::Logs;
use support::{ANY, LONG, connect, eventually, read_all};

/// Holds handlers until the test lets them go, one for each `let_one_go`.
#[derive(Clone)]
struct Gate {
    entered: (Sender<String>, Receiver<String>),
    open: (Sender<()>, Receiver<()>),
}

impl Gate {
    fn new() -> Self {
        Gate {
            entered: unbounded(),
            open: unbounded(),
        }
    }

    /// For the handler: reports the name of its thread, and waits.
    fn pass(&self) -> Result<(), HandlerError> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.entered.0.send(name)?;
        Ok(self.open.1.recv_timeout(LONG)?)
    }

    /// Waits until another handler is held here; the name of its thread.
    fn next_thread(&self) -> String {
        self.entered.1.recv_timeout(LONG).expect("a handler starts")
    }

    fn let_one_go(&self) {
        self.open.0.send(()).expect("the gate stands");
    }
}

/// A handler that says hello after the gate.
fn gated(gate: &Gate) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static {
    let gate = gate.clone();
    move |request| {
        gate.pass()?;
        Ok(request.wfile.write_all(b"hello")?)
    }
}

#[test]
fn the_pool_grows_with_the_clients_and_names_its_threads() -> io::Result<()> {
    let gate = Gate::new();
    let builder = ThreadingTcpServer::builder().thread_name("usher");
    let server = builder.bind_fn(ANY, gated(&gate))?.serve_in_background()?;
    let clients: Vec<_> = (0..20).map(|_| connect(server.server_address())).collect();
    let names: HashSet<_> = clients.iter().map(|_| gate.next_thread()).collect();
    assert_eq!(names.len(), 20, "each has a thread of its own: {names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("usher-")),
        "{names:?}"
    );
    clients.iter().for_each(|_| gate.let_one_go());
    for client in clients {
        assert_eq!(read_all(client), "hello");
    }
    Ok(())
}

#[test]
fn one_client_after_the_other_is_served_by_the_same_few_threads() -> io::Result<()> {
    let server = ThreadingTcpServer::bind_fn(ANY, |request| {
        write!(request.wfile, "{:?}", thread::current().id())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let threads: HashSet<_> = (0..200)
        .map(|_| read_all(connect(server.server_address())))
        .collect();
    // A client may come back before the thread that served it has gone to rest, so it can be two,
    // or on a busy machine a few more; without any reuse it would be 200.
    assert!(threads.len() < 100, "{} threads", threads.len());
    Ok(())
}

#[test]
fn at_the_bound_clients_wait_and_are_served_later() -> io::Result<()> {
    let gate = Gate::new();
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, record, pass) = (busy.clone(), most.clone(), gated(&gate));
    let builder = ThreadingTcpServer::builder().max_threads(3);
    let server = builder.bind_fn(ANY, move |request| {
        record.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let passed = pass(request);
        now.fetch_sub(1, Ordering::SeqCst);
        passed
    })?;
    let server = server.serve_in_background()?;
    // The kernel completes the connections that the server has not accepted.
    let clients: Vec<_> = (0..12).map(|_| connect(server.server_address())).collect();
    for _ in 0..3 {
        gate.next_thread();
    }
    for _ in 3..12 {
        gate.let_one_go();
        gate.next_thread();
    }
    (0..3).for_each(|_| gate.let_one_go());
    for client in clients {
        assert_eq!(read_all(client), "hello");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    Ok(())
}

#[test]
fn a_bound_of_one_serves_everybody_in_turn() -> io::Result<()> {
    for bound in [0, 1] {
        let builder = ThreadingTcpServer::builder().max_threads(bound);
        let server = builder.bind_fn(ANY, |request| {
            write!(request.wfile, "{:?}", thread::current().id())?;
            Ok(())
        })?;
        let server = server.serve_in_background()?;
        let clients: Vec<_> = (0..10).map(|_| connect(server.server_address())).collect();
        let threads: HashSet<_> = clients.into_iter().map(read_all).collect();
        assert_eq!(threads.len(), 1);
    }
    Ok(())
}

#[test]
fn the_log_says_once_that_the_bound_was_reached() -> io::Result<()> {
    let logs = Logs::from_here();
    let said = || logs.with("all threads are busy, 7 of them");
    let gate = Gate::new();
    // A number that no other test here uses.
    let builder = ThreadingTcpServer::builder().max_threads(7);
    let server = builder.bind_fn(ANY, gated(&gate))?.serve_in_background()?;
    for _ in 0..3 {
        let clients: Vec<_> = (0..9).map(|_| connect(server.server_address())).collect();
        (0..7).for_each(|_| drop(gate.next_thread()));
        eventually("it is said", || !said().is_empty());
        clients.iter().for_each(|_| gate.let_one_go());
        (7..9).for_each(|_| drop(gate.next_thread()));
        for client in clients {
            assert_eq!(read_all(client), "hello");
        }
    }
    server.stop()?;
    let said = said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, log::Level::Warn);
    Ok(())
}

thread_local! {
    /// Dropped when its thread ends.
    static ALIVE: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
}

#[test]
fn idle_threads_end_and_new_ones_take_their_place() -> io::Result<()> {
    let token = Arc::new(());
    let kept = token.clone();
    let builder = ThreadingTcpServer::builder().thread_keep_alive(Duration::from_millis(10));
    let server = builder.bind_fn(ANY, move |request| {
        ALIVE.set(Some(kept.clone()));
        write!(request.wfile, "{:?}", thread::current().id())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let first = read_all(connect(server.server_address()));
    // One is ours, one the handler's.
    eventually("the idle thread ends", || Arc::strong_count(&token) == 2);
    let second = read_all(connect(server.server_address()));
    assert_ne!(first, second);
    Ok(())
}

#[test]
fn a_thread_that_is_used_again_and_again_at_the_edge_of_its_idle_time_loses_no_client()
-> io::Result<()> {
    let builder = ThreadingTcpServer::builder().thread_keep_alive(Duration::from_micros(50));
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))?;
    let server = server.serve_in_background()?;
    for _ in 0..1000 {
        assert_eq!(read_all(connect(server.server_address())), "hello");
    }
    Ok(())
}

/// Calls itself until this much of the stack, in bytes, is in use.
fn dig(start: usize, depth: usize) -> usize {
    let frame = black_box([0_u8; 1024]);
    let here = black_box(&frame).as_ptr() as usize;
    match start.abs_diff(here) >= depth {
        true => 1,
        false => 1 + dig(start, depth),
    }
}

#[test]
fn handlers_can_go_as_deep_as_the_stack_they_were_promised() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().stack_size(16 << 20);
    let server = builder.bind_fn(ANY, |request| {
        let here = 0_u8;
        let frames = dig(&raw const here as usize, 12 << 20);
        write!(request.wfile, "{frames}")?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let frames = read_all(connect(server.server_address()));
    assert!(frames.parse::<usize>().map_err(io::Error::other)? > 1000);
    Ok(())
}

struct Report(Sender<(Stage, String)>);

impl Hooks for Report {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let _ = self.0.send((error.stage(), error.to_string()));
    }
}

#[test]
fn a_thread_that_cannot_be_started_costs_one_client_only() -> io::Result<()> {
    let (report, reports) = unbounded();
    let builder = ThreadingTcpServer::builder().stack_size(1 << 60);
    let builder = builder.hooks(Report(report));
    let server = builder.bind_fn(ANY, |_| Ok(()))?.serve_in_background()?;
    for _ in 0..3 {
        let client: TcpStream = connect(server.server_address());
        let (stage, message) = reports.recv_timeout(LONG).expect("it is reported");
        assert_eq!(stage, Stage::Dispatch);
        assert!(message.contains("cannot start a thread"), "{message}");
        assert_eq!(read_all(client), "");
    }
    server.stop()
}

#[test]
fn a_panic_costs_nobody_else_anything() -> io::Result<()> {
    let (report, reports) = unbounded();
    let builder = ThreadingTcpServer::builder().max_threads(2);
    let builder = builder.hooks(Report(report));
    let server = builder.bind_fn(ANY, |request| {
        let line = request.rfile.readline(100)?;
        assert_eq!(line, b"good\n", "a bad line");
        write!(request.wfile, "{:?}", thread::current().id())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut patient = connect(server.server_address());
    for _ in 0..5 {
        let mut client = connect(server.server_address());
        client.write_all(b"bad\n")?;
        assert_eq!(read_all(client), "");
        let (stage, message) = reports.recv_timeout(LONG).expect("it is reported");
        assert_eq!(stage, Stage::Handle);
        assert!(message.contains("a bad line"), "{message}");
    }
    patient.write_all(b"good\n")?;
    let first = read_all(patient);
    assert!(first.starts_with("ThreadId"), "{first}");
    Ok(())
}
