//! `shutdown_within` called from handlers, hooks and several threads, before serving and after
//! closing.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{BackgroundServer, DrainReport, RequestError, ServerHandle};

use support::concurrent::ConcurrentTcpServer;
use support::gate::Gate;
use support::handlers::{begin, block, counts};
use support::{ANY, LONG, connect, eventually, exchange, in_background, read_all};

const SHORT: Duration = Duration::from_millis(200);
/// The time that a forced shutdown may take beyond its limit: half a second for handlers that do
/// not end, and more on a busy machine.
const BEYOND: Duration = Duration::from_secs(5);

/// Like `block`, but the line `stop` shuts the server down and answers with the report.
fn block_or_stop(request: &mut StreamRequest) -> HandlerResult {
    request.wait_for_data()?;
    if request.rfile.buffer() != b"stop\n" {
        return block(request);
    }
    let report = request.server.shutdown_within(LONG);
    Ok(writeln!(request.wfile, "{:?}", counts(report))?)
}

fn serve() -> BackgroundServer {
    in_background(ConcurrentTcpServer::bind_fn(ANY, block_or_stop))
}

#[test]
fn a_handler_does_not_wait_for_itself() {
    let server = serve();
    let running = begin(server.server_address(), "read");
    let mut stopper = connect(server.server_address());
    stopper.write_all(b"stop\n").expect("the server reads");
    eventually("the shutdown begins", || server.handle().is_shutting_down());
    drop(running);
    assert_eq!(read_all(stopper), "(1, 0, 0)\n");
    server.stop().expect("serving ends without an error");
}

#[test]
fn a_handler_does_not_count_itself_as_forced() {
    let (reports, reported) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.wait_for_data()?;
        if request.rfile.buffer() != b"stop\n" {
            return block(request);
        }
        let report = request.server.shutdown_within(SHORT);
        Ok(reports.send(report)?)
    });
    let server = in_background(server);
    let _blocked = ["read", "loop"].map(|how| begin(server.server_address(), how));
    let mut stopper = connect(server.server_address());
    stopper.write_all(b"stop\n").expect("the server reads");
    let report = reported.recv_timeout(LONG).expect("the call returns");
    assert_eq!(counts(report), (0, 1, 1));
}

#[test]
fn an_inline_handler_does_not_wait() {
    let server = in_background(TcpServer::bind_fn(ANY, block_or_stop));
    let stopper = connect(server.server_address());
    assert_eq!(exchange(&stopper, "stop\n"), "(0, 0, 0)\n");
    server.join().expect("a shutdown is not an error");
}

/// Hooks that shut the server down from the serving thread when they receive a message.
struct StopFromHook {
    when: Mutex<Receiver<()>>,
    reports: Sender<DrainReport>,
}

impl Hooks for StopFromHook {
    fn service_actions(&self, server: &ServerHandle) -> std::io::Result<()> {
        let when = self.when.lock().expect("no hook panics");
        if when.try_recv().is_ok() {
            let report = server.shutdown_within(SHORT);
            self.reports.send(report).expect("the test receives it");
        }
        Ok(())
    }
}

#[test]
fn a_hook_on_the_serving_thread_waits_for_requests() {
    let (stop, when) = channel();
    let (reports, reported) = channel();
    let hooks = StopFromHook {
        when: Mutex::new(when),
        reports,
    };
    let server = in_background(
        ConcurrentTcpServer::builder()
            .hooks(hooks)
            .poll_interval(Duration::from_millis(10))
            .bind_fn(ANY, block),
    );
    let _blocked = begin(server.server_address(), "read");
    stop.send(()).expect("the hook waits for it");
    let report = reported.recv_timeout(LONG).expect("the call returns");
    assert_eq!(counts(report), (0, 1, 0));
    server.join().expect("a shutdown is not an error");
}

/// Hooks that shut the server down because of an error.
struct StopOnError(Sender<DrainReport>);

impl Hooks for StopOnError {
    fn handle_error(&self, request: &mut StreamRequest, _: &RequestError) {
        let report = request.server.shutdown_within(LONG);
        self.0.send(report).expect("the test receives it");
    }
}

#[test]
fn handle_error_does_not_wait_for_its_own_request() {
    let (reports, reported) = channel();
    let server = in_background(
        ConcurrentTcpServer::builder()
            .hooks(StopOnError(reports))
            .bind_fn(ANY, |_| Err("on purpose".into())),
    );
    let _client = connect(server.server_address());
    let report = reported.recv_timeout(LONG / 2).expect("the call returns");
    assert_eq!(counts(report), (0, 0, 0));
}

#[test]
fn a_second_call_reports_requests_that_are_still_unfinished() {
    let server = serve();
    let _blocked = ["read", "loop"].map(|how| begin(server.server_address(), how));
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 1, 1));
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (0, 0, 1));
    assert!(started.elapsed() < BEYOND);
}

#[test]
fn the_shorter_of_two_concurrent_limits_applies() {
    // Several rounds, because the calls race. Neither may replace the other's limit with a longer
    // one.
    for _ in 0..5 {
        let server = serve();
        let _blocked = ["read", "loop"].map(|how| begin(server.server_address(), how));
        let started = Instant::now();
        thread::scope(|scope| {
            let patient = scope.spawn(|| server.handle().shutdown_within(LONG));
            let hasty = scope.spawn(|| server.handle().shutdown_within(SHORT));
            scope.spawn(|| server.handle().shutdown());
            for caller in [patient, hasty] {
                let report = caller.join().expect("the call returns");
                assert_eq!(counts(report), (0, 1, 1));
            }
        });
        let took = started.elapsed();
        assert!(took < SHORT + BEYOND, "{took:?}");
    }
}

#[test]
fn shutdown_within_can_shorten_the_limit_of_shutdown() {
    let server = serve();
    let _blocked = begin(server.server_address(), "read");
    server.handle().shutdown();
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 1, 0));
    assert!(started.elapsed() < SHORT + BEYOND);
}

#[test]
fn before_serving_it_returns_at_once_and_no_client_is_served() {
    let server = ConcurrentTcpServer::bind_fn(ANY, block).expect("a port is free");
    let report = server.handle().shutdown_within(LONG);
    assert_eq!(counts(report), (0, 0, 0));
    server.serve_forever().expect("a shutdown is not an error");
}

#[test]
fn after_closing_it_returns_at_once() {
    let handle = TcpServer::bind_fn(ANY, block)
        .expect("a port is free")
        .handle();
    assert_eq!(counts(handle.shutdown_within(LONG)), (0, 0, 0));
}

#[test]
fn the_maximum_duration_waits_for_all_requests() {
    let server = serve();
    let reading = begin(server.server_address(), "read");
    let report = thread::scope(|scope| {
        let report = scope.spawn(|| server.handle().shutdown_within(Duration::MAX));
        eventually("the shutdown begins", || server.handle().is_shutting_down());
        drop(reading);
        report.join().expect("the call returns")
    });
    assert_eq!(counts(report), (1, 0, 0));
}

#[test]
fn a_limit_of_zero_forces_connections_to_close_at_once() {
    let server = serve();
    let mut blocked = begin(server.server_address(), "read");
    let started = Instant::now();
    assert_eq!(
        counts(server.handle().shutdown_within(Duration::ZERO)),
        (0, 1, 0)
    );
    assert!(started.elapsed() < BEYOND);
    eventually("the connection is reset", || {
        blocked.write_all(b"more\n").is_err()
    });
}

/// Hooks that shut the server down when they are dropped.
struct StopOnDrop {
    server: Arc<OnceLock<ServerHandle>>,
    reports: Sender<DrainReport>,
}

impl Hooks for StopOnDrop {}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let server = self.server.get().expect("the test has set it");
        let _ = self.reports.send(server.shutdown_within(LONG));
    }
}

#[test]
fn hooks_dropped_with_the_last_request_do_not_wait() {
    let (reports, reported) = channel();
    let (gate, handle) = (Gate::default(), Arc::default());
    let server = Arc::clone(&handle);
    let hooks = StopOnDrop { server, reports };
    let builder = ConcurrentTcpServer::builder().hooks(hooks);
    let builder = builder.block_on_close(false);
    let server = builder.bind_fn(ANY, gate.handler());
    let server = server.expect("a port is free");
    handle.set(server.handle()).expect("the handle is set once");
    let mut client = connect(server.server_address());
    client.write_all(b"hold\n").expect("the server reads");
    server.handle_request().expect("one request is served");
    gate.next();
    drop(server);
    gate.release(1);
    let report = reported.recv_timeout(LONG).expect("the hooks are dropped");
    assert_eq!(counts(report), (0, 0, 0));
}
