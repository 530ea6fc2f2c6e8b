//! A pool that several servers share.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::BackgroundServer;
use socketserver::dispatch::ThreadPool;
use socketserver::prelude::*;

use support::gate::Gate;
use support::{ANY, HOUR, LONG, connect, join_soon, read_all};

/// A server of the pool whose handler waits for the gate.
fn start(pool: &Arc<ThreadPool>, gate: &Gate, block: bool) -> io::Result<BackgroundServer> {
    let builder = ThreadingTcpServer::builder()
        .dispatch(Arc::clone(pool))
        .shutdown_timeout(HOUR)
        .block_on_close(block);
    builder.bind_fn(ANY, gate.handler())?.serve_in_background()
}

/// A client whose handler waits for the gate.
fn held(server: &BackgroundServer, gate: &Gate) -> io::Result<TcpStream> {
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n")?;
    assert_eq!(gate.next(), "hello");
    Ok(client)
}

/// Stops the server, and fails if that waits for the request of another server.
fn stop_soon(server: BackgroundServer) -> io::Result<()> {
    let (stopped, has_stopped) = bounded(1);
    thread::spawn(move || stopped.send(server.stop()));
    let waited = has_stopped.recv_timeout(LONG / 4);
    waited.expect("it does not wait for a request of another server")
}

#[test]
fn each_server_waits_for_its_own_requests_only() -> io::Result<()> {
    let (pool, gates) = (
        Arc::new(ThreadPool::new()),
        [(); 2].map(|()| Gate::default()),
    );
    let first = start(&pool, &gates[0], true)?;
    let second = start(&pool, &gates[1], true)?;
    let clients = [held(&first, &gates[0])?, held(&second, &gates[1])?];
    let handle = first.handle();
    handle.shutdown();
    handle.wait();
    let stopping = thread::spawn(move || first.stop());
    gates[1].release(1);
    let [first_client, second_client] = clients;
    assert_eq!(read_all(second_client), "hello\n");
    let second_client = held(&second, &gates[1])?;
    assert!(!stopping.is_finished(), "its own request still runs");
    gates[0].release(1);
    assert_eq!(read_all(first_client), "hello\n");
    join_soon(stopping)?;
    gates[1].release(1);
    assert_eq!(read_all(second_client), "hello\n");
    stop_soon(second)
}

#[test]
fn a_server_that_stops_does_not_wait_for_the_clients_of_another() -> io::Result<()> {
    let (pool, gate) = (Arc::new(ThreadPool::new()), Gate::default());
    let (first, second) = (start(&pool, &gate, true)?, start(&pool, &gate, true)?);
    let client = held(&second, &gate)?;
    stop_soon(first)?;
    // The other server still has the pool, for more clients than there are threads.
    let next = held(&second, &gate)?;
    gate.release(2);
    assert_eq!([read_all(client), read_all(next)], ["hello\n"; 2]);
    stop_soon(second)
}

#[test]
fn the_last_server_does_not_wait_for_requests_that_an_earlier_one_has_left() -> io::Result<()> {
    let (pool, gate) = (Arc::new(ThreadPool::new()), Gate::default());
    let (first, second) = (start(&pool, &gate, false)?, start(&pool, &gate, true)?);
    let client = held(&first, &gate)?;
    stop_soon(first)?;
    drop(pool);
    stop_soon(second)?;
    gate.release(1);
    assert_eq!(read_all(client), "hello\n");
    Ok(())
}

static ENDED: AtomicUsize = AtomicUsize::new(0);

/// It is dropped when its thread ends.
struct CountEnd;

impl Drop for CountEnd {
    fn drop(&mut self) {
        // Longer than the test takes if it does not wait for the thread.
        thread::sleep(Duration::from_millis(20));
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static END: RefCell<Option<CountEnd>> = const { RefCell::new(None) };
}

#[test]
fn the_last_owner_ends_the_threads_and_waits_for_them() -> io::Result<()> {
    let pool = Arc::new(ThreadPool::new().thread_keep_alive(HOUR));
    let gate = Gate::default();
    let bind = || {
        let gate = gate.clone();
        let builder = ThreadingTcpServer::builder().dispatch(Arc::clone(&pool));
        let server = builder.bind_fn(ANY, move |request| {
            END.set(Some(CountEnd));
            gate.handler()(request)
        });
        server?.serve_in_background()
    };
    let (first, second) = (bind()?, bind()?);
    let clients = [held(&first, &gate)?, held(&second, &gate)?];
    gate.release(2);
    assert_eq!(clients.map(read_all), ["hello\n"; 2]);
    first.stop()?;
    second.stop()?;
    assert_eq!((pool.threads(), ENDED.load(Ordering::SeqCst)), (2, 0));
    drop(pool);
    assert_eq!(ENDED.load(Ordering::SeqCst), 2);
    Ok(())
}
