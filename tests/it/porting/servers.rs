//! Idioms 1 to 3, 8, 9 and 11 of the porting guide: servers.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{HandlerError, RequestError};

use support::child::in_child;
use support::concurrent::ConcurrentTcpServer;
use support::logs::Logs;
use support::{ANY, connect, eventually, exchange, read_all};

fn upper(request: &mut StreamRequest) -> HandlerResult {
    let mut line = String::new();
    while request.rfile.read_line(&mut line)? > 0 {
        request.wfile.write_all(line.to_uppercase().as_bytes())?;
        line.clear();
    }
    Ok(())
}

// 1. `self.server.words`, locked; `self.server.greeting`, set after bind.
#[test]
fn server_state_is_shared_by_handlers() -> HandlerResult {
    let words = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let greeting = Arc::new(OnceLock::new());
    let (counts, hello) = (words.clone(), greeting.clone());
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        writeln!(request.wfile, "{}", hello.get().ok_or("no greeting")?)?;
        for word in request.rfile.readline(1000)?.split(u8::is_ascii_whitespace) {
            let word = String::from_utf8(word.to_vec())?;
            *counts.lock().unwrap().entry(word).or_default() += 1;
        }
        Ok(())
    })?;
    let expected = format!("welcome to {}\n", server.server_address());
    greeting.set(expected.trim_end().to_owned())?;
    let server = server.serve_in_background()?;
    for _ in 0..3 {
        assert_eq!(
            exchange(connect(server.server_address()), "so so la\n"),
            expected
        );
    }
    server.stop()?;
    let words = words.lock().unwrap();
    assert_eq!((words["so"], words["la"]), (6, 3));
    Ok(())
}

// 2. The class attributes of a Python server, and of its handler.
#[test]
fn server_options_are_declared_in_one_place() -> io::Result<()> {
    let builder = || {
        ThreadingTcpServer::builder()
            .allow_reuse_port(true)
            .request_queue_size(5)
            .timeout(Duration::from_millis(1))
            .daemon_threads(true)
            .block_on_close(false)
            .max_threads(100)
    };
    let server = builder().bind_fn(ANY, upper)?;
    let same_port = server.server_address();
    let other = builder().bind_fn(same_port.clone(), upper)?;
    assert_eq!(other.server_address(), same_port);
    // The read timeout ends the connection.
    other.handle_request()
}

/// Whether the option was set before the socket was bound.
struct ReuseAddress(Arc<OnceLock<bool>>);

impl Hooks for ReuseAddress {
    fn server_bind(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let set = SockRef::from(&socket).reuse_address()?;
        self.0.set(set).map_err(|_| io::Error::other("bound twice"))
    }
}

#[test]
fn server_option_allow_reuse_address_is_set_before_bind() -> io::Result<()> {
    for allow in [true, false] {
        let set = Arc::new(OnceLock::new());
        let builder = TcpServer::builder().hooks(ReuseAddress(set.clone()));
        builder.allow_reuse_address(allow).bind_fn(ANY, upper)?;
        assert_eq!(set.get(), Some(&allow));
    }
    Ok(())
}

// 3. `serve_forever` in a thread; `shutdown`, `server_close`, `join`; and a guard that does all of it.
#[test]
fn serve_in_background_on_a_free_port() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, upper)?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| server.serve_forever());
        let client = connect(server.server_address());
        assert_eq!(exchange(client, "one\n"), "ONE\n");
        server.shutdown();
        thread.join().expect("no panic")
    })?;
    server.server_close();

    // Another test may bind the same port of the usual address once this server is closed.
    let server = ConcurrentTcpServer::bind_fn("127.0.0.2:0", upper)?.serve_in_background()?;
    assert_ne!(server.server_address().port(), Some(0));
    let client = connect(server.server_address());
    assert_eq!(exchange(client, "two\n"), "TWO\n");
    let handle = server.handle();
    drop(server);
    // A process that another test has just started may still have a copy of the socket.
    eventually("clients are refused", || {
        let connected = TcpStream::connect(handle.server_address());
        connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    Ok(())
}

// 8. `handle_error` that ignores some errors, and calls `super().handle_error(...)` for the others.
struct NoTimeouts(Arc<AtomicUsize>);

impl Hooks for NoTimeouts {
    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        match error.io_kind() {
            Some(ErrorKind::TimedOut) => drop(self.0.fetch_add(1, Ordering::SeqCst)),
            _ => error.log(request),
        }
    }
}

#[test]
fn handle_error_filters_some_errors_and_logs_the_others() -> io::Result<()> {
    let logs = Logs::from_here();
    let timeouts = Arc::new(AtomicUsize::new(0));
    let server = ConcurrentTcpServer::builder()
        .hooks(NoTimeouts(timeouts.clone()))
        .bind_fn(ANY, |request| {
            if request.id() == 1 {
                request.set_timeout(Some(Duration::from_millis(10)))?;
            }
            request.rfile.readline(100)?;
            Err("an error that is logged".into())
        })?;
    let server = server.serve_in_background()?;
    let silent = connect(server.server_address());
    assert_eq!(read_all(&silent), "");
    assert_eq!(timeouts.load(Ordering::SeqCst), 1);
    let client = connect(server.server_address());
    (&client).write_all(b"line\n")?;
    assert_eq!(read_all(&client), "");
    let logged = logs.with("an error that is logged");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, log::Level::Error);
    let address = silent.local_addr()?;
    assert_eq!(logs.with(&format!("from {address}: handle failed")), []);
    Ok(())
}

// 9. A limit of clients, with an answer for rejected clients.
struct Cap {
    inside: Arc<AtomicUsize>,
    most: usize,
}

/// A guard in the request's extensions. It decrements the count when the request ends.
struct CountGuard(Arc<AtomicUsize>);

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hooks for Cap {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        let seat = CountGuard(self.inside.clone());
        if self.inside.fetch_add(1, Ordering::SeqCst) >= self.most {
            request.wfile.write_all(b"server busy\n")?;
            return Ok(false);
        }
        request.extensions.insert(seat);
        Ok(true)
    }
}

#[test]
fn clients_beyond_a_limit_get_an_answer_and_are_rejected() -> io::Result<()> {
    let inside = Arc::new(AtomicUsize::new(0));
    let cap = Cap {
        inside: inside.clone(),
        most: 2,
    };
    let server = ConcurrentTcpServer::builder()
        .hooks(cap)
        .bind_fn(ANY, upper);
    let server = server?.serve_in_background()?;
    let (first, second) = [(), ()].map(|()| connect(server.server_address())).into();
    assert_eq!(exchange(&first, "in\n"), "IN\n");
    assert_eq!(exchange(&second, "in\n"), "IN\n");
    let third = connect(server.server_address());
    assert_eq!(read_all(third), "server busy\n");
    drop(second);
    eventually("one client has ended", || {
        inside.load(Ordering::SeqCst) == 1
    });
    let fourth = connect(server.server_address());
    assert_eq!(exchange(fourth, "in\n"), "IN\n");
    Ok(())
}

// 11. Shutdown from a handler, on a signal, after a time.
#[test]
fn shutdown_by_a_handler() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, |request| {
        if request.rfile.readline(100)? == b"shutdown\n" {
            request.server.shutdown();
            request.wfile.write_all(b"bye\n")?;
        }
        Ok(())
    })?;
    let client = connect(server.server_address());
    let asking = thread::spawn(move || exchange(client, "shutdown\n"));
    server.serve_forever()?;
    assert_eq!(asking.join().expect("no panic"), "bye\n");
    Ok(())
}

#[test]
fn shutdown_by_a_signal() -> io::Result<()> {
    in_child(|| {
        let server = ConcurrentTcpServer::bind_fn(ANY, upper)?;
        server.shutdown_on_ctrlc()?;
        nix::sys::signal::raise(nix::sys::signal::SIGTERM)?;
        server.serve_forever()
    })
}

#[test]
fn shutdown_by_a_timer() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, upper)?;
    let handle = server.handle();
    let timer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        handle.shutdown();
    });
    server.serve_forever()?;
    timer.join().expect("no panic");
    Ok(())
}
