//! A custom listener and a custom dispatcher, built with public items only.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;
use socketserver::dispatch::{Inline, Job, ThreadGauge, ThreadPool, Waker};
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{Address, Dispatch, RequestError, Server, ServerHandle, Stage};

use support::kind::{Client, Kind, echo_message};
use support::socket_folder;
use support::{ANY, LONG, connect, eventually, for_all_kinds, in_background, read_all};

/// A custom listener. It reads the first byte of each connection, its tag, before the handler runs.
struct Tagged(TcpListener);

#[derive(Debug, PartialEq)]
struct Tag(u8);

impl Tagged {
    fn bind() -> io::Result<Self> {
        TcpListener::bind(ANY).map(Tagged)
    }
}

impl Listener for Tagged {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.set_nonblocking(true)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (mut stream, address) = self.0.accept()?;
        let mut tag = [0];
        stream.read_exact(&mut tag)?;
        let mut request = StreamRequest::new(stream, address.into(), server);
        request.extensions.insert(Tag(tag[0]));
        Ok(request)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_addr().map(Address::from)
    }
}

impl AsFd for Tagged {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A dispatcher that only stores jobs, up to an optional limit. The test runs them.
#[derive(Clone, Default)]
struct JobQueue(Arc<Mutex<JobQueueState>>);

#[derive(Default)]
struct JobQueueState {
    jobs: VecDeque<Job>,
    limit: Option<usize>,
    asleep: Option<Waker>,
    joined: usize,
}

impl JobQueue {
    fn limited(limit: usize) -> Self {
        let job_queue = JobQueue::default();
        job_queue.0.lock().limit = Some(limit);
        job_queue
    }

    fn len(&self) -> usize {
        self.0.lock().jobs.len()
    }

    /// Removes the oldest job, and wakes the server that waits for capacity.
    fn take(&self) -> Job {
        eventually("a job is stored", || self.len() > 0);
        let mut state = self.0.lock();
        if let Some(server) = state.asleep.take() {
            server.wake();
        }
        state.jobs.pop_front().expect("a job is stored")
    }
}

impl Dispatch for JobQueue {
    fn dispatch(&self, job: Job) {
        self.0.lock().jobs.push_back(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        let has_capacity = state.limit.is_none_or(|limit| state.jobs.len() < limit);
        if !has_capacity {
            state.asleep = Some(waker.clone());
        }
        has_capacity
    }

    fn join(&self, _: &ServerHandle) {
        self.0.lock().joined += 1;
    }
}

/// A handler that answers with the tag, and reports the thread that it runs on.
fn show_tag(ran_on: Sender<ThreadId>) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        ran_on.send(thread::current().id())?;
        let tag = request.extensions.get::<Tag>().ok_or("no tag")?;
        Ok(write!(request.wfile, "tag {}", tag.0)?)
    }
}

#[test]
fn a_custom_listener_and_a_custom_dispatcher_work_together() -> io::Result<()> {
    let (ran_on, threads) = unbounded();
    let job_queue = JobQueue::default();
    let server = Server::<Tagged, JobQueue>::builder()
        .dispatch(job_queue.clone())
        .adopt(Tagged::bind()?, move || show_tag(ran_on.clone()))?;
    let server = server.serve_in_background()?;
    let mut clients = vec![];
    for tag in 0..3 {
        let mut client = connect(server.server_address());
        client.write_all(&[tag])?;
        clients.push(client);
    }
    eventually("three jobs are stored", || job_queue.len() == 3);
    assert!(threads.is_empty(), "no handler has run");
    for (number, client) in clients.into_iter().enumerate() {
        let job = job_queue.take();
        let runner = thread::spawn(move || job.run());
        assert_eq!(read_all(client), format!("tag {number}"));
        assert_eq!(threads.recv_timeout(LONG), Ok(runner.thread().id()));
        runner.join().expect("a job never panics");
    }
    server.stop()?;
    assert_eq!(job_queue.0.lock().joined, 1);
    Ok(())
}

/// A server with this dispatcher, and a handler that sends a line.
fn job_queue_server(job_queue: &JobQueue) -> io::Result<Server<Tcp, JobQueue>> {
    let builder = Server::<Tcp, JobQueue>::builder().dispatch(job_queue.clone());
    builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))
}

#[test]
fn a_job_may_run_after_its_server_is_closed() -> io::Result<()> {
    let job_queue = JobQueue::default();
    let builder = Server::<Tcp, JobQueue>::builder().dispatch(job_queue.clone());
    // With `block_on_close`, closing would wait for the stored jobs.
    let builder = builder.block_on_close(false);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    eventually("a job is stored", || job_queue.len() == 1);
    server.stop()?;
    job_queue.take().run();
    assert_eq!(read_all(client), "hello");
    Ok(())
}

#[test]
fn a_dropped_job_closes_its_connection() -> io::Result<()> {
    let job_queue = JobQueue::default();
    let server = job_queue_server(&job_queue)?.serve_in_background()?;
    let client = connect(server.server_address());
    drop(job_queue.take());
    assert_eq!(read_all(client), "");
    server.stop()
}

/// Hooks that write the error to the client, and report it to the test.
struct AnswerErrors(Sender<(Stage, io::ErrorKind)>);

impl Hooks for AnswerErrors {
    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        let kind = error.io_kind().unwrap_or(io::ErrorKind::Other);
        let _ = self.0.send((error.stage(), kind));
        let _ = write!(request.wfile, "error:  {error}");
    }
}

/// A dispatcher that refuses all jobs.
struct RefuseJobs;

impl Dispatch for RefuseJobs {
    fn dispatch(&self, job: Job) {
        job.refuse(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "quota exceeded",
        ));
    }
}

#[test]
fn a_refused_job_calls_handle_error_and_closes_the_connection() -> io::Result<()> {
    let (report, reports) = unbounded();
    let server = TcpServer::builder()
        .dispatch(RefuseJobs)
        .hooks(AnswerErrors(report))
        .bind_fn(ANY, |_| panic!("the handler does not run"))?;
    let server = server.serve_in_background()?;
    for _ in 0..3 {
        let client = connect(server.server_address());
        assert_eq!(read_all(client), "error:  dispatch failed: quota exceeded");
        let report = reports.recv_timeout(LONG);
        assert_eq!(report, Ok((Stage::Dispatch, io::ErrorKind::QuotaExceeded)));
    }
    server.stop()
}

#[test]
fn no_client_is_accepted_while_the_dispatcher_has_no_capacity() -> io::Result<()> {
    let job_queue = JobQueue::limited(2);
    let server = job_queue_server(&job_queue)?.serve_in_background()?;
    let clients: Vec<_> = (0..6).map(|_| connect(server.server_address())).collect();
    for client in clients {
        // Wait for a job each time, so that an excess job would be noticed.
        eventually("a job is stored", || job_queue.len() > 0);
        assert!(job_queue.len() <= 2);
        job_queue.take().run();
        assert_eq!(read_all(client), "hello");
    }
    server.stop()
}

#[test]
fn shutdown_while_waiting_for_capacity() -> io::Result<()> {
    let job_queue = JobQueue::limited(0);
    let server = job_queue_server(&job_queue)?.serve_in_background()?;
    let _client = connect(server.server_address());
    let state = &job_queue.0;
    eventually("the server waits", || state.lock().asleep.is_some());
    server.stop()?;
    // A closed server ignores the waker.
    let waker = state.lock().asleep.take();
    waker.expect("a waker is registered").wake();
    Ok(())
}

/// A dispatcher that several servers share.
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
        let has_capacity = self.pool.has_capacity(waker);
        if !has_capacity {
            let _ = self.asleep.send(());
        }
        has_capacity
    }
}

#[test]
fn all_servers_of_a_shared_pool_are_woken_when_it_has_capacity() -> io::Result<()> {
    let (asleep, waits) = unbounded();
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
    waits.recv_timeout(LONG).expect("the first waits");
    let mut clients = [first.server_address(), second.server_address()].map(connect);
    waits.recv_timeout(LONG).expect("the second waits");
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

/// A pool that counts its jobs.
#[derive(Default)]
struct Counting {
    pool: ThreadPool,
    jobs: AtomicUsize,
}

impl Dispatch for Counting {
    fn dispatch(&self, job: Job) {
        self.jobs.fetch_add(1, Ordering::SeqCst);
        self.pool.dispatch(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        self.pool.has_capacity(waker)
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        self.pool.thread_gauge()
    }

    fn join(&self, server: &ServerHandle) {
        self.pool.join(server);
    }
}

#[test]
fn a_dispatcher_that_wraps_another_one_is_read_back_through_its_server() -> io::Result<()> {
    let counting = Arc::new(Counting::default());
    let builder = TcpServer::builder().dispatch(Arc::clone(&counting));
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?))?;
    for number in 1..=3 {
        let client = connect(server.server_address());
        server.handle_request()?;
        assert_eq!(read_all(client), "hello");
        assert_eq!(server.dispatch().jobs.load(Ordering::SeqCst), number);
    }
    assert!(server.handle().statistics().threads > 0);
    drop(server);
    assert!(counting.pool.threads() > 0, "the pool outlives its server");
    Ok(())
}

/// What a hook has put into the request.
#[derive(Clone, Debug, PartialEq)]
struct Verified(Address);

struct Verifies;

impl<R: Request> Hooks<R> for Verifies {
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        let verified = Verified(request.client_address().clone());
        request.extensions_mut().insert(verified);
        Ok(true)
    }
}

/// What a request or a job is about.
type About = (u64, Address, Address, Option<Verified>);

/// A dispatcher that reports what its jobs are about, and runs them.
struct Looks(Sender<About>);

impl Dispatch for Looks {
    fn dispatch(&self, job: Job) {
        let server = job.server().server_address().clone();
        let verified = job.extensions().get().cloned();
        let about = (job.id(), job.client_address().clone(), server, verified);
        self.0.send(about).expect("the test receives it");
        job.run();
    }
}

fn a_dispatcher_knows_what_a_job_is_about<L: Kind>() {
    let folder = socket_folder();
    let (look, jobs) = unbounded();
    let (handle, requests) = unbounded();
    let builder = Server::<L, Inline>::builder().dispatch(Looks(look));
    let server = builder.hooks(Verifies);
    let server = server.bind_fn(L::address(folder.path()), move |request| {
        let server = request.server().server_address().clone();
        let verified = request.extensions().get().cloned();
        handle.send((
            request.id(),
            request.client_address().clone(),
            server,
            verified,
        ))?;
        echo_message(request)
    });
    let server = in_background(server);
    for id in 1..=2 {
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange("hello"), "hello");
        let about: About = jobs.recv_timeout(LONG).expect("a job is dispatched");
        assert_eq!((about.0, &about.2), (id, server.server_address()));
        assert_eq!(about.3, Some(Verified(about.1.clone())));
        assert_eq!(requests.recv_timeout(LONG), Ok(about));
    }
}

for_all_kinds! { a_dispatcher_knows_what_a_job_is_about }
