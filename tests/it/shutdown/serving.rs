//! Shutting down: from anywhere, at any time, at once; and what becomes of running requests.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use socketserver::dispatch::Inline;
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::{Address, Server, ServerHandle};

use support::{ANY, LONG, connect, eventually, exchange, read_all};

fn silent(_: &mut StreamRequest) -> HandlerResult {
    Ok(())
}

/// Hooks make a server wake up now and then: this one so seldom that only a real wake-up helps.
struct Sleepy;

impl Hooks for Sleepy {}

#[test]
fn another_thread_ends_serving_at_once() -> io::Result<()> {
    let builder = TcpServer::builder().hooks(Sleepy).poll_interval(LONG * 10);
    let server = builder.bind_fn(ANY, silent)?;
    let (ended, took) = thread::scope(|scope| {
        let serving = scope.spawn(|| (server.serve_forever(), Instant::now()));
        // Served once, so that it is asleep, or nearly so.
        assert_eq!(read_all(connect(server.server_address())), "");
        let told = Instant::now();
        server.shutdown();
        let (ended, at) = serving.join().expect("no panic");
        (ended, at - told)
    });
    ended?;
    println!("shutdown took {took:?}");
    assert!(took < Duration::from_secs(1), "shutdown took {took:?}");
    Ok(())
}

#[test]
fn a_handler_ends_serving_on_its_own_thread() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, |request| {
        request.server.shutdown();
        // Would never return if it waited for this very handler.
        request.server.wait();
        Ok(request.wfile.write_all(b"shutting down")?)
    })?;
    let client = connect(server.server_address());
    server.serve_forever()?;
    assert_eq!(read_all(client), "shutting down");
    Ok(())
}

#[test]
fn a_handler_ends_serving_from_a_pool() -> io::Result<()> {
    let server = ThreadingTcpServer::bind_fn(ANY, |request| {
        request.server.shutdown();
        request.server.wait();
        Ok(request.wfile.write_all(b"nobody serves any more")?)
    })?;
    let client = connect(server.server_address());
    server.serve_forever()?;
    assert_eq!(read_all(client), "nobody serves any more");
    Ok(())
}

#[test]
fn a_shutdown_before_serving_ends_it_before_it_begins() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, |_| panic!("nobody is to be served"))?;
    let client = connect(server.server_address());
    server.shutdown();
    server.serve_forever()?;
    server.handle_request()?;
    server.server_close();
    // Closed by the kernel, for the server has never accepted it.
    let error = (&client).read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    Ok(())
}

#[test]
fn a_second_shutdown_changes_nothing() -> io::Result<()> {
    let server = ThreadingTcpServer::bind_fn(ANY, silent)?.serve_in_background()?;
    let handle = server.handle();
    assert!(!handle.is_shutting_down());
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                handle.shutdown();
                handle.wait();
                handle.shutdown();
            });
        }
    });
    assert!(handle.is_shutting_down());
    server.stop()
}

struct StopAtThree(AtomicUsize);

impl Hooks for StopAtThree {
    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 2 {
            server.shutdown();
            server.wait();
        }
        Ok(())
    }
}

#[test]
fn service_actions_ends_serving() -> io::Result<()> {
    let server = TcpServer::builder()
        .hooks(StopAtThree(0.into()))
        .poll_interval(Duration::from_millis(1))
        .bind_fn(ANY, silent)?;
    server.serve_forever()
}

#[test]
fn the_port_is_closed_while_a_running_request_goes_on_to_its_end() -> io::Result<()> {
    let (started, has_started) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        let size = request.rfile.readline(100)?.len();
        started.send(())?;
        released.recv_timeout(LONG)?;
        request.wfile.write_all(&vec![b'x'; size * 1_000_000])?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let address = server.server_address().clone();
    let mut client = connect(&address);
    client.write_all(b"five\n")?;
    has_started.recv_timeout(LONG).expect("the handler starts");
    // From here on nobody is accepted, so the looks at the port below are no clients.
    server.handle().shutdown();
    server.handle().wait();
    let stopping = thread::spawn(move || server.stop());
    eventually("the port is closed", || {
        TcpStream::connect(&address).is_err()
    });
    release.send(()).expect("the handler waits");
    assert_eq!(read_all(client).len(), 5_000_000);
    stopping.join().expect("no panic")
}

#[test]
fn one_of_several_servers_can_be_shut_down() -> io::Result<()> {
    let upper = |request: &mut StreamRequest| -> HandlerResult {
        while request.wait_for_data()? {
            let line = request.rfile.readline(100)?;
            request.wfile.write_all(&line.to_ascii_uppercase())?;
        }
        Ok(())
    };
    let servers: Vec<_> = (0..3)
        .map(|_| ThreadingTcpServer::bind_fn(ANY, upper)?.serve_in_background())
        .collect::<io::Result<_>>()?;
    let clients: Vec<_> = servers
        .iter()
        .map(|s| connect(s.server_address()))
        .collect();
    for client in &clients {
        assert_eq!(exchange(client, "before\n"), "BEFORE\n");
    }
    let mut servers = servers.into_iter();
    servers.next().expect("there are three").stop()?;
    assert_eq!(read_all(&clients[0]), "");
    for client in &clients[1..] {
        assert_eq!(exchange(client, "after\n"), "AFTER\n");
    }
    servers.try_for_each(|server| server.stop())
}

#[test]
fn a_handle_outlives_its_server() -> io::Result<()> {
    let server = ThreadingTcpServer::bind_fn(ANY, silent)?;
    let (handle, address) = (server.handle(), server.server_address().clone());
    drop(server);
    assert!(handle.is_shutting_down());
    handle.wait();
    handle.shutdown();
    handle.wait();
    assert_eq!(*handle.server_address(), address);
    Ok(())
}

#[test]
fn waiting_lasts_until_serving_has_ended() -> io::Result<()> {
    let (started, has_started) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let server = TcpServer::bind_fn(ANY, move |_| {
        started.send(())?;
        Ok(released.recv_timeout(LONG)?)
    })?;
    let server = server.serve_in_background()?;
    let _client = connect(server.server_address());
    has_started.recv_timeout(LONG).expect("the handler starts");
    let handle = server.handle();
    handle.shutdown();
    let (over, is_over) = unbounded();
    let waiter = thread::spawn(move || {
        handle.wait();
        over.send(())
    });
    assert!(is_over.recv_timeout(Duration::from_millis(20)).is_err());
    release.send(()).expect("the handler waits");
    is_over.recv_timeout(LONG).expect("it ends");
    waiter.join().expect("no panic").expect("the test waits");
    server.stop()
}

#[test]
fn a_server_that_is_being_served_cannot_be_served_again() -> io::Result<()> {
    let server = Arc::new(TcpServer::bind_fn(ANY, silent)?);
    let serving = server.clone();
    let thread = thread::spawn(move || serving.serve_forever());
    assert_eq!(read_all(connect(server.server_address())), "");
    for refused in [server.serve_forever(), server.handle_request()] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
    server.shutdown();
    thread.join().expect("no panic")
}

/// Shuts its server down in the moment between the look at the flag and the accept.
struct Unlucky(Tcp);

impl Listener for Unlucky {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.server_activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        server.shutdown();
        self.0.accept(server)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_address()
    }
}

impl AsFd for Unlucky {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_silent_client_accepted_in_the_moment_of_the_shutdown_does_not_hold_it_up() -> io::Result<()> {
    let socket = std::net::TcpListener::bind(ANY)?;
    let (ended, has_ended) = bounded(1);
    let server = Server::<Unlucky, Inline>::builder().adopt(Unlucky(socket.into()), move || {
        let ended = ended.clone();
        move |request: &mut StreamRequest| Ok(ended.send(request.rfile.readline(100)?)?)
    })?;
    let client = connect(server.server_address());
    let server = server.serve_in_background()?;
    let line = has_ended.recv_timeout(LONG);
    drop(client);
    assert_eq!(line, Ok(vec![]));
    server.stop()
}
