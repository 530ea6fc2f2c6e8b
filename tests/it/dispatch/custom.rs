//! A listener and a dispatcher of one's own, made of public items only.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;
use socketserver::dispatch::{Job, ThreadPool, Waker};
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::{Address, Dispatch, RequestError, Server, ServerHandle, Stage};

use support::{ANY, LONG, connect, eventually, read_all};

/// A listener from scratch: connections whose first byte, a badge, was taken off before the handler.
struct Badged(TcpListener);

#[derive(Debug, PartialEq)]
struct Badge(u8);

impl Badged {
    fn bind() -> io::Result<Self> {
        TcpListener::bind(ANY).map(Badged)
    }
}

impl Listener for Badged {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.set_nonblocking(true)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (mut stream, address) = self.0.accept()?;
        let mut badge = [0];
        stream.read_exact(&mut badge)?;
        let mut request = StreamRequest::new(stream, address.into(), server);
        request.extensions.insert(Badge(badge[0]));
        Ok(request)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_addr().map(Address::from)
    }
}

impl AsFd for Badged {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A dispatcher that only keeps jobs, up to a bound if it has one: the test runs them.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<ShelfState>>);

#[derive(Default)]
struct ShelfState {
    jobs: VecDeque<Job>,
    bound: Option<usize>,
    asleep: Option<Waker>,
    joined: usize,
}

impl Shelf {
    fn bounded(bound: usize) -> Self {
        let shelf = Shelf::default();
        shelf.0.lock().bound = Some(bound);
        shelf
    }

    fn len(&self) -> usize {
        self.0.lock().jobs.len()
    }

    /// Takes the oldest job, and wakes the server that waits for the room.
    fn take(&self) -> Job {
        eventually("a job comes", || self.len() > 0);
        let mut state = self.0.lock();
        if let Some(server) = state.asleep.take() {
            server.wake();
        }
        state.jobs.pop_front().expect("there is one")
    }
}

impl Dispatch for Shelf {
    fn dispatch(&self, job: Job) {
        self.0.lock().jobs.push_back(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        let room = state.bound.is_none_or(|bound| state.jobs.len() < bound);
        if !room {
            state.asleep = Some(waker.clone());
        }
        room
    }

    fn join(&self) {
        self.0.lock().joined += 1;
    }
}

/// Says what the listener found, and reports the thread it ran on.
fn show_badge(ran_on: Sender<ThreadId>) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        ran_on.send(thread::current().id())?;
        let badge = request.extensions.get::<Badge>().ok_or("no badge")?;
        Ok(write!(request.wfile, "badge {}", badge.0)?)
    }
}

#[test]
fn a_listener_and_a_dispatcher_of_ones_own_work_together() -> io::Result<()> {
    let (ran_on, threads) = unbounded();
    let shelf = Shelf::default();
    let server = Server::<Badged, Shelf>::builder()
        .dispatch(shelf.clone())
        .adopt(Badged::bind()?, move || show_badge(ran_on.clone()))?;
    let server = server.serve_in_background()?;
    let mut clients = vec![];
    for badge in 0..3 {
        let mut client = connect(server.server_address());
        client.write_all(&[badge])?;
        clients.push(client);
    }
    eventually("all three are kept", || shelf.len() == 3);
    assert!(threads.is_empty(), "none has run");
    for (number, client) in clients.into_iter().enumerate() {
        let job = shelf.take();
        let runner = thread::spawn(move || job.run());
        assert_eq!(read_all(client), format!("badge {number}"));
        assert_eq!(threads.recv_timeout(LONG), Ok(runner.thread().id()));
        runner.join().expect("a job never panics");
    }
    server.stop()?;
    assert_eq!(shelf.0.lock().joined, 1);
    Ok(())
}

/// A server of the shelf's with a handler that says hello.
fn shelf_server(shelf: &Shelf) -> io::Result<Server<Tcp, Shelf>> {
    let builder = Server::<Tcp, Shelf>::builder().dispatch(shelf.clone());
    builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))
}

#[test]
fn a_job_may_run_after_its_server_is_gone() -> io::Result<()> {
    let shelf = Shelf::default();
    let builder = Server::<Tcp, Shelf>::builder().dispatch(shelf.clone());
    // Otherwise closing waits for jobs that are kept, too.
    let builder = builder.block_on_close(false);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    eventually("it is kept", || shelf.len() == 1);
    server.stop()?;
    shelf.take().run();
    assert_eq!(read_all(client), "hello");
    Ok(())
}

#[test]
fn a_job_that_is_dropped_closes_its_connection() -> io::Result<()> {
    let shelf = Shelf::default();
    let server = shelf_server(&shelf)?.serve_in_background()?;
    let client = connect(server.server_address());
    drop(shelf.take());
    assert_eq!(read_all(client), "");
    server.stop()
}

/// Tells the client why it is refused, and the test too.
struct Apologise(Sender<(Stage, io::ErrorKind)>);

impl Hooks for Apologise {
    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        let kind = error.io_kind().unwrap_or(io::ErrorKind::Other);
        let _ = self.0.send((error.stage(), kind));
        let _ = write!(request.wfile, "sorry: {error}");
    }
}

/// No client is ever served.
struct Closed;

impl Dispatch for Closed {
    fn dispatch(&self, job: Job) {
        job.refuse(io::Error::new(io::ErrorKind::QuotaExceeded, "we are full"));
    }
}

#[test]
fn a_job_that_is_refused_goes_to_handle_error_and_its_connection_is_closed() -> io::Result<()> {
    let (report, reports) = unbounded();
    let server = TcpServer::builder()
        .dispatch(Closed)
        .hooks(Apologise(report))
        .bind_fn(ANY, |_| panic!("it is not to run"))?;
    let server = server.serve_in_background()?;
    for _ in 0..3 {
        let client = connect(server.server_address());
        assert_eq!(read_all(client), "sorry: dispatch failed: we are full");
        let report = reports.recv_timeout(LONG);
        assert_eq!(report, Ok((Stage::Dispatch, io::ErrorKind::QuotaExceeded)));
    }
    server.stop()
}

#[test]
fn nobody_is_accepted_while_there_is_no_room() -> io::Result<()> {
    let shelf = Shelf::bounded(2);
    let server = shelf_server(&shelf)?.serve_in_background()?;
    let clients: Vec<_> = (0..6).map(|_| connect(server.server_address())).collect();
    for client in clients {
        // Asked again and again, it would be more than two sooner or later.
        eventually("it is kept", || shelf.len() > 0);
        assert!(shelf.len() <= 2);
        shelf.take().run();
        assert_eq!(read_all(client), "hello");
    }
    server.stop()
}

#[test]
fn a_server_that_waits_for_room_can_be_shut_down() -> io::Result<()> {
    let shelf = Shelf::bounded(0);
    let server = shelf_server(&shelf)?.serve_in_background()?;
    let _client = connect(server.server_address());
    eventually("the server waits", || shelf.0.lock().asleep.is_some());
    server.stop()?;
    // It does no harm to wake a server that is gone.
    shelf.0.lock().asleep.take().expect("it is there").wake();
    Ok(())
}

/// One pool for several servers.
#[derive(Clone)]
struct Shared {
    pool: Arc<ThreadPool>,
    asleep: Sender<()>,
}

impl Dispatch for Shared {
    fn dispatch(&self, job: Job) {
        self.pool.dispatch(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        let room = self.pool.has_capacity(waker);
        if !room {
            let _ = self.asleep.send(());
        }
        room
    }
}

#[test]
fn servers_that_share_a_pool_are_all_woken_when_there_is_room() -> io::Result<()> {
    let (asleep, sleeper) = unbounded();
    let pool = Arc::new(ThreadPool::new().max_threads(1));
    let shared = Shared { pool, asleep };
    let bind = || {
        let builder = ThreadingTcpServer::builder().dispatch(shared.clone());
        let server = builder.bind_fn(ANY, |request| {
            let line = request.rfile.readline(10)?;
            Ok(request.wfile.write_all(&line)?)
        })?;
        server.serve_in_background()
    };
    let (first, second) = (bind()?, bind()?);
    let mut busy = connect(first.server_address());
    sleeper.recv_timeout(LONG).expect("the first is full");
    let mut clients = [first.server_address(), second.server_address()].map(connect);
    sleeper.recv_timeout(LONG).expect("the second is full");
    busy.write_all(b"done\n")?;
    assert_eq!(read_all(busy), "done\n");
    for client in &mut clients {
        client.write_all(b"served\n")?;
    }
    for client in clients {
        assert_eq!(read_all(client), "served\n");
    }
    Ok(())
}
