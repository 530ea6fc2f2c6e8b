//! Closing a server with busy threads: the handlers that it waits for.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use socketserver::dispatch::Inline;
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, ServerHandle, task};

use support::child::in_child;
use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::event_log::EventLog;
use support::process::descriptors;
use support::{ANY, LONG, connect, eventually, in_background, read_all};

/// A size that is larger than the buffers of both sockets.
const REPLY: usize = 5_000_000;

/// A server with one handler that is busy until the test releases it.
struct Busy {
    server: BackgroundServer,
    client: TcpStream,
    release: task::Sender<()>,
    events: EventLog,
}

fn busy(builder: Builder<Tcp, impl Dispatch>) -> io::Result<Busy> {
    let events = EventLog::default();
    let (started, has_started) = bounded(1);
    let (release, released) = task::bounded(1);
    let in_handler = events.clone();
    let server = builder.bind_fn(ANY, move |request| {
        started.send(())?;
        released.recv_timeout(LONG)?;
        request.wfile.write_all(&vec![b'x'; REPLY])?;
        in_handler.record("the handler ended");
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    has_started.recv_timeout(LONG).expect("the handler starts");
    Ok(Busy {
        server,
        client,
        release,
        events,
    })
}

#[test]
fn closing_waits_for_handlers() -> io::Result<()> {
    let Busy {
        server,
        client,
        release,
        events,
    } = busy(ConcurrentTcpServer::builder())?;
    let (address, in_thread) = (server.server_address().clone(), events.clone());
    // After this no connection is accepted, so the connections below are not served.
    server.handle().shutdown();
    server.handle().wait();
    let closing = thread::spawn(move || {
        let stopped = server.stop();
        in_thread.record("the server closed");
        stopped
    });
    eventually("the port is closed", || {
        TcpStream::connect(&address).is_err()
    });
    assert_eq!(events.entries(), [""; 0]);
    release.send(()).expect("the handler waits");
    assert_eq!(read_all(client).len(), REPLY);
    closing.join().expect("no panic")?;
    let expected = ["the handler ended", "the server closed"];
    assert_eq!(events.entries(), expected);
    Ok(())
}

/// Closes the server while a handler is busy, and checks that the handler still runs to its end.
fn closing_does_not_wait(builder: Builder<Tcp, impl Dispatch>) -> io::Result<()> {
    let Busy {
        server,
        client,
        release,
        events,
    } = busy(builder)?;
    server.stop()?;
    assert_eq!(events.entries(), [""; 0]);
    release.send(()).expect("the handler waits");
    assert_eq!(read_all(client).len(), REPLY);
    events.wait_for("the handler ended");
    Ok(())
}

#[test]
fn closing_does_not_wait_without_block_on_close() -> io::Result<()> {
    closing_does_not_wait(ConcurrentTcpServer::builder().block_on_close(false))
}

#[test]
fn closing_does_not_wait_for_daemon_threads() -> io::Result<()> {
    closing_does_not_wait(ThreadingTcpServer::builder().daemon_threads(true))
}

#[test]
fn closing_does_not_wait_for_thread_keep_alive() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().thread_keep_alive(LONG * 100);
    let server = builder.bind_fn(ANY, |_| Ok(()))?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "");
    let (closed, is_closed) = bounded(1);
    thread::spawn(move || closed.send(server.stop()));
    is_closed.recv_timeout(LONG).expect("the server is closed")
}

#[test]
fn a_handle_of_a_closed_server_holds_no_descriptor() {
    in_child(|| {
        let bind = || ConcurrentTcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        let before = descriptors(std::process::id());
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let server = in_background(Ok(bind()));
                assert_eq!(read_all(connect(server.server_address())), "");
                let (handle, is_closed) = (server.handle(), AtomicBool::new(false));
                thread::scope(|scope| {
                    // It wakes the accept loop again and again, also while the server is closed.
                    scope.spawn(|| {
                        while !is_closed.load(Ordering::SeqCst) {
                            handle.set_max_connections(1);
                        }
                    });
                    server.stop().expect("a shutdown is not an error");
                    is_closed.store(true, Ordering::SeqCst);
                });
                handle
            })
            .collect();
        eventually("the workers of the dispatcher have ended", || {
            descriptors(std::process::id()) == before
        });
        for handle in handles {
            handle.pause();
            handle.resume();
            handle.shutdown();
            handle.wait();
            let report = handle.shutdown_within(Duration::ZERO);
            assert_eq!((report.forced, report.unfinished), (0, 0));
            assert_eq!(handle.statistics().finished, 1);
        }
        assert_eq!(descriptors(std::process::id()), before);
    });
}

#[test]
fn a_handler_may_drop_its_own_server() -> io::Result<()> {
    let slot = Arc::new(Mutex::new(None::<ConcurrentTcpServer>));
    let (here, (closed, is_closed)) = (slot.clone(), unbounded());
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let server = here.lock().unwrap().take();
        drop(server);
        closed.send(request.server.clone())?;
        request.wfile.write_all(b"closed")?;
        Ok(())
    })?;
    let client = connect(server.server_address());
    let mut held = slot.lock().unwrap();
    // The handler waits for the lock until `handle_request` returns.
    held.insert(server).handle_request()?;
    drop(held);
    let handle: ServerHandle = is_closed.recv_timeout(LONG).expect("no deadlock");
    handle.wait();
    assert_eq!(read_all(client), "closed");
    eventually("the port is closed", || {
        TcpStream::connect(handle.server_address()).is_err()
    });
    Ok(())
}

/// Dropping the guard stops the server, and waits for all other handlers.
fn a_handler_may_drop_the_guard<D: socketserver::Dispatch + Default>() -> io::Result<()> {
    let slot = Arc::new(Mutex::new(None::<BackgroundServer>));
    let here = slot.clone();
    let server = socketserver::Server::<Tcp, D>::bind_fn(ANY, move |request| {
        request.rfile.readline(10)?;
        let guard = here.lock().unwrap().take();
        drop(guard.expect("the slot has the guard"));
        Ok(request.wfile.write_all(b"dropped")?)
    })?;
    let server = server.serve_in_background()?;
    let handle = server.handle();
    let mut client = connect(server.server_address());
    *slot.lock().unwrap() = Some(server);
    client.write_all(b"\n")?;
    assert_eq!(read_all(client), "dropped");
    handle.wait();
    Ok(())
}

#[test]
fn a_handler_may_drop_the_guard_of_its_own_server() -> io::Result<()> {
    a_handler_may_drop_the_guard::<Inline>()?;
    a_handler_may_drop_the_guard::<Concurrent>()
}
