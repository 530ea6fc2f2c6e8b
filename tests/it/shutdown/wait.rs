//! `wait` returns when serving has ended, and at once on the serving thread. A server can only be
//! served if it is bound, active and not already being served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use socketserver::ServerHandle;
use socketserver::prelude::*;

use support::concurrent::ConcurrentTcpServer;
use support::gate::Gate;
use support::handlers::echo_line;
use support::{ANY, LONG, connect, exchange, in_background, join_soon, next, read_all};

/// A time in which a `wait` that does not block would return.
const A_MOMENT: Duration = Duration::from_millis(50);

#[test]
fn wait_returns_when_serving_has_ended() {
    let (reporter, inside) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let server = TcpServer::bind_fn(ANY, move |request| {
        request.rfile.readline(10)?;
        reporter.send(())?;
        request.rfile.readline(10)?;
        end.store(true, Ordering::SeqCst);
        Ok(())
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"begun\n").expect("the server reads");
    next(&inside);

    server.handle().shutdown();
    let (handle, (reporter, waited)) = (server.handle(), channel());
    let waiting = thread::spawn(move || {
        handle.wait();
        reporter
            .send(ended.load(Ordering::SeqCst))
            .expect("the test receives it");
    });
    assert_eq!(
        waited.recv_timeout(A_MOMENT),
        Err(RecvTimeoutError::Timeout)
    );
    client.write_all(b"ended\n").expect("the server reads");
    assert!(next(&waited), "the serving thread was still in a handler");
    join_soon(waiting);
}

#[test]
fn wait_without_a_shutdown_does_not_return() {
    let server = in_background(TcpServer::bind_fn(ANY, echo_line));
    let (handle, (reporter, waited)) = (server.handle(), channel());
    let waiting = thread::spawn(move || {
        handle.wait();
        reporter
            .send(handle.is_shutting_down())
            .expect("the test receives it");
    });
    assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
    assert_eq!(
        waited.recv_timeout(A_MOMENT),
        Err(RecvTimeoutError::Timeout)
    );
    server.handle().shutdown();
    assert!(next(&waited));
    join_soon(waiting);
}

#[test]
fn wait_does_not_wait_for_requests_on_other_threads() {
    let (reporter, inside) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.rfile.readline(10)?;
        reporter.send(())?;
        echo_line(request)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"begun\n").expect("the server reads");
    next(&inside);
    server.handle().shutdown();
    let handle = server.handle();
    join_soon(thread::spawn(move || handle.wait()));
    assert_eq!(exchange(&client, "still here\n"), "still here\n");
}

#[test]
fn wait_returns_at_once_after_a_shutdown_before_serving() {
    let server = TcpServer::bind_fn(ANY, echo_line).expect("a port is free");
    server.shutdown();
    let handle = server.handle();
    join_soon(thread::spawn(move || handle.wait()));
}

#[test]
fn wait_returns_when_an_unserved_server_is_closed() {
    let server = TcpServer::bind_fn(ANY, echo_line).expect("a port is free");
    let handle = server.handle();
    let waiting = thread::spawn(move || handle.wait());
    server.server_close();
    join_soon(waiting);
}

/// Hooks that wait for their own server.
struct WaitInHook;

impl Hooks for WaitInHook {
    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        server.wait();
        server.shutdown();
        server.wait();
        Ok(())
    }
}

#[test]
fn wait_on_the_serving_thread_returns_at_once() {
    let builder = TcpServer::builder().hooks(WaitInHook);
    let server = builder.bind_fn(ANY, |request| {
        request.server.wait();
        Ok(request.wfile.write_all(b"waited")?)
    });
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    let serving = thread::spawn(move || server.serve_forever());
    assert_eq!(read_all(client), "waited");
    join_soon(serving).expect("a shutdown is not an error");
}

#[test]
fn wait_on_a_pool_thread_returns_when_serving_has_ended() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, |request| {
        request.server.shutdown();
        request.server.wait();
        Ok(request.wfile.write_all(b"serving has ended")?)
    })?;
    let client = connect(server.server_address());
    server.serve_forever()?;
    assert_eq!(read_all(client), "serving has ended");
    Ok(())
}

#[test]
fn wait_in_a_handler_of_handle_request_returns_at_once() {
    let (reporter, waited) = channel();
    let server = TcpServer::bind_fn(ANY, move |request| {
        request.server.wait();
        Ok(reporter.send(())?)
    });
    let server = server.expect("a port is free");
    let handle = server.handle();
    let _client = connect(handle.server_address());
    let serving = thread::spawn(move || server.handle_request());
    let in_time = waited.recv_timeout(LONG);
    // Ends serving if the handler waits for itself.
    handle.shutdown();
    join_soon(serving).expect("one request was served");
    assert_eq!(in_time, Ok(()));
}

/// Hooks that block the second call of `handle_timeout`.
struct BlockSecond(Gate, AtomicUsize);

impl Hooks for BlockSecond {
    fn handle_timeout(&self, _: &ServerHandle) {
        if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            self.0.hold("second").expect("the test releases it");
        }
    }
}

#[test]
fn wait_waits_for_a_thread_that_begins_to_serve_while_another_stops() {
    for _ in 0..200 {
        let gate = Gate::default();
        let hooks = BlockSecond(gate.clone(), AtomicUsize::new(0));
        let builder = TcpServer::builder().timeout(Duration::ZERO).hooks(hooks);
        let server = Arc::new(builder.bind_fn(ANY, echo_line).expect("a port is free"));
        let serve_once = |server: Arc<TcpServer>| {
            let is_busy = |e: io::Error| e.kind() == io::ErrorKind::ResourceBusy;
            move || while server.handle_request().is_err_and(is_busy) {}
        };
        let serving = [(); 2].map(|()| thread::spawn(serve_once(Arc::clone(&server))));
        gate.next();
        server.shutdown();
        let (handle, (reporter, waited)) = (server.handle(), channel());
        let waiting = thread::spawn(move || {
            handle.wait();
            reporter.send(()).expect("the test receives it");
        });
        let too_early = waited.recv_timeout(Duration::from_millis(2));
        gate.release(1);
        serving.into_iter().for_each(join_soon);
        join_soon(waiting);
        assert_eq!(too_early, Err(RecvTimeoutError::Timeout));
    }
}

#[test]
fn a_server_cannot_be_served_twice_at_once() {
    let server = Arc::new(TcpServer::bind_fn(ANY, echo_line).expect("a port is free"));
    let first = Arc::clone(&server);
    let serving = thread::spawn(move || first.serve_forever());
    assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
    for error in [server.serve_forever(), server.handle_request()] {
        let error = error.expect_err("another thread serves");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(
            error
                .to_string()
                .contains(&server.server_address().to_string()),
            "{error}"
        );
    }
    assert_eq!(
        exchange(connect(server.server_address()), "unharmed\n"),
        "unharmed\n"
    );
    server.shutdown();
    join_soon(serving).expect("a shutdown is not an error");
}

#[test]
fn a_server_must_be_bound_and_active_to_be_served() {
    let mut server = TcpServer::builder()
        .unbound(ANY, || echo_line)
        .expect("the text is an address");
    assert_eq!(server.server_address().port(), Some(0));
    let not_yet = |server: &TcpServer| {
        let errors = [server.serve_forever(), server.handle_request()];
        errors
            .into_iter()
            .all(|e| e.is_err_and(|e| e.kind() == io::ErrorKind::NotConnected))
    };
    assert!(not_yet(&server));
    server.server_bind().expect("a port is free");
    assert_ne!(server.server_address().port(), Some(0));
    assert!(not_yet(&server));
    server.server_activate().expect("the socket is bound");
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
}
