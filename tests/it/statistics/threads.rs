//! The thread counts of a server, and their peak.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socketserver::dispatch::{Job, ThreadGauge, ThreadPool};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch};

use support::counts::settled;
use support::{ANY, LONG, connect, eventually, exchange, read_all};

/// A handler that sends a line, and waits until the client closes.
fn stay(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    request.rfile.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn start<D: Dispatch>(builder: Builder<Tcp, D>) -> io::Result<BackgroundServer> {
    builder.bind_fn(ANY, stay)?.serve_in_background()
}

/// A client whose handler runs.
fn served(server: &ServerHandle) -> TcpStream {
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, ""), "hello\n");
    client
}

fn threads(server: &ServerHandle) -> (usize, usize) {
    let statistics = server.statistics();
    (statistics.threads, statistics.peak_threads)
}

#[test]
fn idle_threads_count_until_they_end() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().thread_keep_alive(Duration::from_millis(200));
    let server = start(builder)?;
    assert_eq!(threads(&server.handle()), (0, 0));
    let clients: Vec<_> = (0..3).map(|_| served(&server.handle())).collect();
    assert_eq!(threads(&server.handle()), (3, 3));
    drop(clients);
    assert_eq!(settled(&server.handle(), 3).peak_active, 3);
    eventually("the threads end", || threads(&server.handle()) == (0, 3));
    Ok(())
}

#[test]
fn max_threads_can_be_lowered_while_threads_are_busy() -> io::Result<()> {
    let server = start(
        ThreadingTcpServer::builder()
            .max_threads(4)
            .thread_keep_alive(LONG),
    )?;
    let mut clients: Vec<_> = (0..4).map(|_| served(&server.handle())).collect();
    server.handle().set_max_threads(2);
    assert_eq!(threads(&server.handle()), (4, 4));
    clients.truncate(2);
    eventually("two threads have ended", || {
        threads(&server.handle()) == (2, 4)
    });
    // No thread may serve a third client, so it waits.
    let waiting = connect(server.server_address());
    clients.pop();
    assert_eq!(exchange(&waiting, ""), "hello\n");
    assert_eq!(threads(&server.handle()), (2, 4));
    server.handle().set_max_threads(3);
    clients.push(served(&server.handle()));
    assert_eq!(threads(&server.handle()), (3, 4));
    drop((clients, waiting));
    let statistics = settled(&server.handle(), 6);
    assert_eq!((statistics.finished, statistics.peak_active), (6, 4));
    let handle = server.handle();
    server.stop()?;
    assert_eq!(threads(&handle), (0, 4));
    Ok(())
}

#[test]
fn unfinished_threads_still_count() -> io::Result<()> {
    let server = start(ThreadingTcpServer::builder().daemon_threads(true))?;
    let handle = server.handle();
    let mut client = served(&handle);
    // The client is in a request, so the connection is not idle.
    client.write_all(b"half line")?;
    eventually("the bytes are read", || handle.statistics().bytes_in == 9);
    server.stop()?;
    let statistics = handle.statistics();
    assert_eq!((statistics.active, statistics.threads), (1, 1));
    drop(client);
    settled(&handle, 1);
    eventually("the thread has ended", || threads(&handle) == (0, 1));
    Ok(())
}

#[test]
fn each_server_of_a_shared_pool_counts_its_threads() -> io::Result<()> {
    let pool = Arc::new(ThreadPool::new());
    let bind = || start(ThreadingTcpServer::builder().dispatch(Arc::clone(&pool)));
    let (first, second) = (bind()?, bind()?);
    let clients = [
        served(&first.handle()),
        served(&second.handle()),
        served(&second.handle()),
    ];
    let active = [&first, &second].map(|server| server.handle().statistics().active);
    assert_eq!(active, [1, 2]);
    assert_eq!(
        [threads(&first.handle()), threads(&second.handle())],
        [(3, 3), (3, 3)]
    );
    drop(clients);
    settled(&first.handle(), 1);
    settled(&second.handle(), 2);
    Ok(())
}

/// A dispatcher with a thread for each request, and a gauge.
struct ThreadEach(ThreadGauge);

impl Dispatch for ThreadEach {
    fn dispatch(&self, job: Job) {
        let gauge = self.0.clone();
        gauge.set_threads(gauge.threads() + 1);
        thread::spawn(move || {
            job.run();
            // The test has one client only.
            gauge.set_threads(0);
        });
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        Some(self.0.clone())
    }
}

#[test]
fn a_custom_dispatcher_reports_its_threads() -> io::Result<()> {
    let gauge = ThreadGauge::new(7);
    let server = start(TcpServer::builder().dispatch(ThreadEach(gauge.clone())))?;
    let client = served(&server.handle());
    assert_eq!(threads(&server.handle()), (1, 1));
    server.handle().set_max_threads(5);
    assert_eq!(gauge.limit(), 5);
    drop(client);
    settled(&server.handle(), 1);
    eventually("the thread has ended", || {
        threads(&server.handle()) == (0, 1)
    });
    Ok(())
}

#[test]
fn an_inline_server_counts_no_threads() -> io::Result<()> {
    let server = start(TcpServer::builder())?;
    server.handle().set_max_threads(5);
    let client = served(&server.handle());
    assert_eq!(threads(&server.handle()), (0, 0));
    client.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(read_all(client), "");
    settled(&server.handle(), 1);
    Ok(())
}
