//! The thread pool: its growth, the reuse of threads, and the end of idle threads.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use socketserver::dispatch::{Job, ThreadPool};
use socketserver::prelude::*;
use socketserver::{Dispatch, RequestError, Stage};

use support::gate::Gate;
use support::{ANY, HOUR, LONG, connect, eventually, read_all};

/// A handler that reports the name of its thread to the gate, waits, and then answers.
fn gated(gate: &Gate) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static {
    let gate = gate.clone();
    move |request| {
        gate.hold(thread::current().name().unwrap_or_default())?;
        Ok(request.wfile.write_all(b"hello")?)
    }
}

#[test]
fn the_pool_grows_with_the_clients_and_names_its_threads() -> io::Result<()> {
    let gate = Gate::default();
    let builder = ThreadingTcpServer::builder().thread_name("worker");
    let server = builder.bind_fn(ANY, gated(&gate))?.serve_in_background()?;
    let clients: Vec<_> = (0..20).map(|_| connect(server.server_address())).collect();
    let names: HashSet<_> = clients.iter().map(|_| gate.next()).collect();
    assert_eq!(
        names.len(),
        20,
        "each client has a separate thread: {names:?}"
    );
    assert!(
        names.iter().all(|name| name.starts_with("worker-")),
        "{names:?}"
    );
    gate.release(clients.len());
    for client in clients {
        assert_eq!(read_all(client), "hello");
    }
    Ok(())
}

#[test]
fn successive_clients_reuse_threads() -> io::Result<()> {
    let server = ThreadingTcpServer::bind_fn(ANY, |request| {
        write!(request.wfile, "{:?}", thread::current().id())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let threads: HashSet<_> = (0..200)
        .map(|_| read_all(connect(server.server_address())))
        .collect();
    // A client may connect before the last thread has become idle, so there can be two threads, or
    // a few more on a busy machine. Without any reuse there would be 200.
    assert!(threads.len() < 100, "{} threads", threads.len());
    Ok(())
}

thread_local! {
    /// The value is dropped when its thread ends.
    static ALIVE: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
}

#[test]
fn idle_threads_end_and_new_threads_are_started() -> io::Result<()> {
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
    // One reference is the test's, and one the handler's.
    eventually("the idle thread ends", || Arc::strong_count(&token) == 2);
    let second = read_all(connect(server.server_address()));
    assert_ne!(first, second);
    Ok(())
}

#[test]
fn clients_that_come_at_once_find_all_idle_threads() -> io::Result<()> {
    const THREADS: usize = 20;
    let gate = Gate::default();
    let builder = ThreadingTcpServer::builder().max_threads(THREADS);
    let builder = builder.thread_keep_alive(HOUR);
    let server = builder.bind_fn(ANY, gated(&gate))?.serve_in_background()?;
    for _ in 0..3 {
        let clients = [(); THREADS].map(|()| connect(server.server_address()));
        // All have a thread, although no handler has ended.
        gate.next_few(THREADS);
        gate.release(THREADS);
        assert_eq!(clients.map(read_all), ["hello"; THREADS]);
    }
    Ok(())
}

/// The others stay idle, so that they end, and the pool shrinks to the size that it needs.
#[test]
fn one_client_after_the_other_uses_few_of_many_idle_threads() -> io::Result<()> {
    const THREADS: usize = 20;
    let gate = Gate::default();
    let builder = ThreadingTcpServer::builder().thread_keep_alive(HOUR);
    let server = builder.bind_fn(ANY, gated(&gate))?.serve_in_background()?;
    let clients = [(); THREADS].map(|()| connect(server.server_address()));
    gate.next_few(THREADS);
    gate.release(THREADS);
    assert_eq!(clients.map(read_all), ["hello"; THREADS]);
    let serve_next = |_| {
        gate.release(1);
        assert_eq!(read_all(connect(server.server_address())), "hello");
        gate.next()
    };
    // The first clients may meet threads that look for another job before they are idle.
    (0..THREADS).map(serve_next).for_each(drop);
    let used: HashSet<_> = (0..THREADS).map(serve_next).collect();
    // A client may come before the last thread is idle again. If all took turns, there would be 20.
    assert!(used.len() <= THREADS / 2, "{used:?}");
    Ok(())
}

#[test]
fn a_thread_at_the_end_of_its_keep_alive_loses_no_client() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().thread_keep_alive(Duration::from_micros(50));
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))?;
    let server = server.serve_in_background()?;
    for _ in 0..1000 {
        assert_eq!(read_all(connect(server.server_address())), "hello");
    }
    Ok(())
}

/// Calls itself until `depth` bytes of the stack are in use.
fn recurse(start: usize, depth: usize) -> usize {
    let frame = black_box([0_u8; 1024]);
    let here = black_box(&frame).as_ptr() as usize;
    match start.abs_diff(here) >= depth {
        true => 1,
        false => 1 + recurse(start, depth),
    }
}

#[test]
fn stack_size_applies_to_handler_threads() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().stack_size(16 << 20);
    let server = builder.bind_fn(ANY, |request| {
        let here = 0_u8;
        let frames = recurse(&raw const here as usize, 12 << 20);
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
fn a_failed_thread_start_affects_one_client_only() -> io::Result<()> {
    let (report, reports) = unbounded();
    // With one thread, a request that still counted would keep the next one waiting.
    let builder = ThreadingTcpServer::builder().max_threads(1);
    let builder = builder.stack_size(1 << 60).hooks(Report(report));
    let server = builder.bind_fn(ANY, |_| Ok(()))?.serve_in_background()?;
    for _ in 0..3 {
        let client: TcpStream = connect(server.server_address());
        let (stage, message) = reports.recv_timeout(LONG).expect("the error is reported");
        assert_eq!(stage, Stage::Dispatch);
        assert!(message.contains("cannot start a thread"), "{message}");
        assert_eq!(read_all(client), "");
    }
    server.stop()
}

#[test]
fn a_thread_name_that_no_thread_can_have_is_refused() {
    let refused = |bound: io::Result<ThreadingTcpServer>| {
        let error = bound.map(drop).expect_err("no thread can have this name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(
            message.contains("thread_name") && message.contains("a\\0b"),
            "{message}"
        );
    };
    let builder = || ThreadingTcpServer::builder().thread_name("a\0b");
    refused(builder().bind_fn(ANY, |_| Ok(())));
    refused(builder().unbound_fn(ANY, |_| Ok(())));
    let pool = ThreadPool::new().thread_name("a\0b");
    refused(
        ThreadingTcpServer::builder()
            .dispatch(pool)
            .bind_fn(ANY, |_| Ok(())),
    );
}

/// A dispatcher of the program's own that uses a pool for its threads.
struct Outer(ThreadPool);

impl Dispatch for Outer {
    fn dispatch(&self, job: Job) {
        self.0.dispatch(job);
    }
}

#[test]
fn a_thread_start_that_panics_affects_one_client_only() -> io::Result<()> {
    let (report, reports) = unbounded();
    let outer = Outer(ThreadPool::new().thread_name("a\0b"));
    let builder = TcpServer::builder().dispatch(outer).hooks(Report(report));
    let server = builder.bind_fn(ANY, |_| Ok(()))?.serve_in_background()?;
    for _ in 0..3 {
        let client = connect(server.server_address());
        let (stage, message) = reports.recv_timeout(LONG).expect("the error is reported");
        assert_eq!(stage, Stage::Dispatch);
        assert!(message.contains("cannot start a thread"), "{message}");
        assert_eq!(read_all(client), "");
    }
    server.stop()
}
