//! Closing a server whose threads are busy: which handlers it waits for.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, ServerHandle};

use support::{ANY, LONG, connect, eventually, read_all};

/// More than fits into the sockets' buffers.
const REPLY: usize = 5_000_000;

/// What happened, in order.
type Diary = Arc<Mutex<Vec<&'static str>>>;

/// One handler that is busy until the test releases it.
struct Busy {
    server: BackgroundServer,
    client: TcpStream,
    release: Sender<()>,
    diary: Diary,
}

fn busy(builder: Builder<Tcp, ThreadPool>) -> io::Result<Busy> {
    let diary = Diary::default();
    let (started, has_started) = bounded(1);
    let (release, released): (_, Receiver<()>) = bounded(1);
    let notes = diary.clone();
    let server = builder.bind_fn(ANY, move |request| {
        started.send(())?;
        released.recv_timeout(LONG)?;
        request.wfile.write_all(&vec![b'x'; REPLY])?;
        notes.lock().unwrap().push("the handler ended");
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    has_started.recv_timeout(LONG).expect("the handler starts");
    Ok(Busy {
        server,
        client,
        release,
        diary,
    })
}

#[test]
fn closing_waits_for_handlers() -> io::Result<()> {
    let Busy {
        server,
        client,
        release,
        diary,
    } = busy(ThreadingTcpServer::builder())?;
    let (address, notes) = (server.server_address().clone(), diary.clone());
    // From here on no client is accepted, so the attempts to connect below are no clients.
    server.handle().shutdown();
    server.handle().wait();
    let closing = thread::spawn(move || {
        let stopped = server.stop();
        notes.lock().unwrap().push("the server closed");
        stopped
    });
    eventually("the port is closed", || {
        TcpStream::connect(&address).is_err()
    });
    assert_eq!(*diary.lock().unwrap(), [""; 0]);
    release.send(()).expect("the handler waits");
    assert_eq!(read_all(client).len(), REPLY);
    closing.join().expect("no panic")?;
    let expected = ["the handler ended", "the server closed"];
    assert_eq!(*diary.lock().unwrap(), expected);
    Ok(())
}

/// Closes the server over a busy handler, which nevertheless goes on to its end.
fn closing_does_not_wait(builder: Builder<Tcp, ThreadPool>) -> io::Result<()> {
    let Busy {
        server,
        client,
        release,
        diary,
    } = busy(builder)?;
    server.stop()?;
    assert_eq!(*diary.lock().unwrap(), [""; 0]);
    release.send(()).expect("the handler waits");
    assert_eq!(read_all(client).len(), REPLY);
    eventually("the handler ends", || diary.lock().unwrap().len() == 1);
    Ok(())
}

#[test]
fn closing_does_not_wait_without_block_on_close() -> io::Result<()> {
    closing_does_not_wait(ThreadingTcpServer::builder().block_on_close(false))
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
    is_closed.recv_timeout(LONG).expect("it closes")
}

#[test]
fn a_handler_may_drop_its_own_server() -> io::Result<()> {
    let place = Arc::new(Mutex::new(None::<ThreadingTcpServer>));
    let (here, (closed, is_closed)) = (place.clone(), unbounded());
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        let server = here.lock().unwrap().take();
        drop(server);
        closed.send(request.server.clone())?;
        request.wfile.write_all(b"closed")?;
        Ok(())
    })?;
    let client = connect(server.server_address());
    let mut held = place.lock().unwrap();
    // The handler waits for the lock until serving is over.
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

/// Dropping the guard stops the server, and waits for all handlers but this one.
fn a_handler_may_drop_the_guard<D: socketserver::Dispatch + Default>() -> io::Result<()> {
    let place = Arc::new(Mutex::new(None::<BackgroundServer>));
    let here = place.clone();
    let server = socketserver::Server::<Tcp, D>::bind_fn(ANY, move |request| {
        request.rfile.readline(10)?;
        let guard = here.lock().unwrap().take();
        drop(guard.expect("it is there"));
        Ok(request.wfile.write_all(b"dropped")?)
    })?;
    let server = server.serve_in_background()?;
    let handle = server.handle();
    let mut client = connect(server.server_address());
    *place.lock().unwrap() = Some(server);
    client.write_all(b"\n")?;
    assert_eq!(read_all(client), "dropped");
    handle.wait();
    Ok(())
}

#[test]
fn a_handler_may_drop_the_guard_of_its_own_server() -> io::Result<()> {
    a_handler_may_drop_the_guard::<Inline>()?;
    a_handler_may_drop_the_guard::<ThreadPool>()
}
