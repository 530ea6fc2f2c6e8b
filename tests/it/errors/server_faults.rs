//! An error or a panic in a hook of the server, outside of a request.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use socketserver::dispatch::{Job, Waker};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Dispatch, Server};

use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::logs::Logs;
use support::{ANY, connect, eventually, exchange, join_soon, read_all, socket_path};

use super::fault::{Fault, FaultyHooks};

#[test]
fn an_error_in_service_actions_ends_serving_and_releases_everything() -> io::Result<()> {
    struct Fails;
    impl Hooks for Fails {
        fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
            match server.statistics().accepted {
                0 => Ok(()),
                _ => Err(io::Error::other("enough")),
            }
        }
    }

    let builder = ConcurrentTcpServer::builder().hooks(Fails);
    let server = builder
        .poll_interval(Duration::from_millis(10))
        .bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served\n")?))?;
    let server = server.serve_in_background()?;
    let handle = server.handle();
    assert_eq!(exchange(connect(server.server_address()), ""), "served\n");
    assert_eq!(settled(&handle, 1).finished, 1);
    let error = server.stop().expect_err("serving ended");
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::Other, "enough")
    );
    eventually("the server's threads have ended", || {
        handle.statistics().threads == 0
    });
    Ok(())
}

/// Hooks that panic in one place.
fn panicking_in(place: &'static str) -> (Fault, FaultyHooks) {
    let fault = Fault::panic(place);
    (fault.clone(), FaultyHooks(fault, channel().0))
}

#[test]
fn a_panic_in_handle_timeout() {
    let (fault, hooks) = panicking_in("handle_timeout");
    let builder = TcpServer::builder().hooks(hooks).timeout(Duration::ZERO);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served")?));
    let server = server.expect("a port is free");
    server.handle_request().expect("a timeout is not an error");
    assert!(fault.happened());
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(read_all(client), "served");
}

#[test]
fn a_panic_in_server_close_leaves_the_server_closed() {
    let (fault, hooks) = panicking_in("server_close");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let server = builder
        .bind_fn(&path, |_| Ok(()))
        .expect("the path is free");
    let handle = server.handle();
    join_soon(thread::spawn(move || server.server_close()));
    assert!(fault.happened());
    assert!(!path.exists());
    join_soon(thread::spawn(move || handle.wait()));
}

#[test]
fn a_panic_in_server_activate_reaches_the_caller_and_releases_everything() {
    let (fault, hooks) = panicking_in("server_activate");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let bound = catch_unwind(AssertUnwindSafe(|| {
        builder.bind_fn(&path, |_| Ok(())).map(drop)
    }));
    assert!(bound.is_err());
    assert!(fault.happened());
    assert!(!path.exists());
}

/// A dispatcher that cannot tell whether it has capacity, nor wait for its requests.
#[derive(Default)]
struct Clueless;

impl Dispatch for Clueless {
    fn dispatch(&self, job: Job) {
        job.run();
    }

    fn has_capacity(&self, _: &Waker) -> bool {
        panic!("in has_capacity of this test")
    }

    fn join(&self, _: &ServerHandle) {
        panic!("in join of this test")
    }
}

/// The log lines are limited, because each client causes some.
#[test]
fn a_dispatcher_whose_other_methods_always_panic_serves_its_clients() -> io::Result<()> {
    let logs = Logs::from_here();
    let server =
        Server::<Tcp, Clueless>::bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served")?))?;
    let server = server.serve_in_background()?;
    for _ in 0..200 {
        assert_eq!(read_all(connect(server.server_address())), "served");
    }
    assert_eq!(settled(&server.handle(), 200).finished, 200);
    server.stop()?;
    assert!(logs.with("in has_capacity of this test").len() < 200);
    assert_eq!(logs.with("join panicked: in join of this test").len(), 1);
    Ok(())
}
