//! Counterparts of the tests of Python's `socketserver`, with the same names, and the same over green
//! tasks. The tests of forking servers are in `tests/fork_alone`.
#![allow(non_snake_case)]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::dispatch::ThreadPool;
use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{Address, Dispatch, HandlerError, RequestError, Server};

use support::concurrent::ConcurrentTcpServer;
use support::kind::{Client, Kind, LineRequest};
use support::{ANY, connect, eventually, join_soon, read_all, socket_folder};

/// Hooks that report every error to the test, and refuse all requests if `refuse` is set.
struct Reporter {
    errors: Sender<String>,
    refuse: bool,
}

impl<R: Request> Hooks<R> for Reporter {
    fn verify_request(&self, _: &mut R) -> Result<bool, HandlerError> {
        Ok(!self.refuse)
    }

    fn handle_error(&self, _: &mut R, error: &RequestError) {
        self.errors
            .send(error.to_string())
            .expect("the test receives it");
    }
}

fn reporter() -> (Reporter, Receiver<String>) {
    let (errors, receiver) = channel();
    (
        Reporter {
            errors,
            refuse: false,
        },
        receiver,
    )
}

struct Handler;

impl<R: LineRequest> RequestHandler<R> for Handler {
    fn handle(&mut self, request: &mut R) -> HandlerResult {
        let line = request.read_message()?;
        Ok(request.write_message(&line)?)
    }
}

fn run_server<L: Kind, D: Dispatch + Default>() {
    let (folder, (reporter, errors)) = (socket_folder(), reporter());
    // Without it, the port cannot be bound again for a while: closed connections are in TIME_WAIT.
    let builder = Server::<L, D>::builder().allow_reuse_address(true);
    let builder = builder.hooks(reporter);
    let server = builder
        .bind(L::address(folder.path()), || Handler)
        .expect("the address is free");
    let address = server.server_address().clone();
    let local = SockRef::from(&server)
        .local_addr()
        .expect("the socket is bound");
    assert_eq!(address, Address::from(local));
    let handle = server.handle();
    let thread = thread::spawn(move || {
        let served = server.serve_forever();
        (server, served)
    });
    for _ in 0..3 {
        assert_eq!(L::connect(&address).exchange("hello world"), "hello world");
    }
    handle.shutdown();
    let (server, served) = join_soon(thread);
    served.expect("a shutdown is not an error");
    server.server_close();
    eventually("the address is free", || L::is_free(&address));
    assert_eq!(errors.iter().next(), None);
}

/// Uses the names of the server types.
macro_rules! run_servers {
    ($($test:ident: $server:ident;)*) => {
        $(#[test]
        fn $test() {
            trait Run {
                fn run();
            }
            impl<L: Kind, D: Dispatch + Default> Run for Server<L, D> {
                fn run() {
                    run_server::<L, D>();
                }
            }
            $server::run();
        })*
    };
}

run_servers! {
    test_TCPServer: TcpServer;
    test_ThreadingTCPServer: ThreadingTcpServer;
    test_UnixStreamServer: UnixStreamServer;
    test_ThreadingUnixStreamServer: ThreadingUnixStreamServer;
    test_UDPServer: UdpServer;
    test_ThreadingUDPServer: ThreadingUdpServer;
    test_UnixDatagramServer: UnixDatagramServer;
    test_ThreadingUnixDatagramServer: ThreadingUnixDatagramServer;
}

#[cfg(feature = "green")]
run_servers! {
    test_GreenTCPServer: GreenTcpServer;
    test_GreenUnixStreamServer: GreenUnixStreamServer;
    test_GreenUDPServer: GreenUdpServer;
    test_GreenUnixDatagramServer: GreenUnixDatagramServer;
}

#[test]
fn test_shutdown() {
    let servers = (0..20).map(|_| TcpServer::bind(ANY, || Handler).expect("a port is free"));
    let started: Vec<_> = servers
        .map(|server| {
            let handle = server.handle();
            let thread = thread::spawn(move || server.serve_forever());
            handle.shutdown();
            thread
        })
        .collect();
    for thread in started {
        join_soon(thread).expect("a shutdown is not an error");
    }
}

#[test]
fn test_close_immediately() {
    let server = ConcurrentTcpServer::bind(ANY, || Handler).expect("a port is free");
    let address = server.server_address().clone();
    server.server_close();
    eventually("clients are refused", || is_refused(&address));
}

#[test]
fn test_context_manager() {
    let address = {
        let server = TcpServer::bind(ANY, || Handler).expect("a port is free");
        server.server_address().clone()
    };
    eventually("clients are refused", || is_refused(&address));
}

fn is_refused(address: &Address) -> bool {
    TcpStream::connect(address).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

#[test]
fn test_sync_handled() {
    assert_eq!(
        errors_of_a_bad_handler::<TcpServer>(),
        ["handle failed: Test error"]
    );
}

#[test]
fn test_threading_handled() {
    assert_eq!(
        errors_of_a_bad_handler::<ThreadingTcpServer>(),
        ["handle failed: Test error"]
    );
}

#[cfg(feature = "green")]
#[test]
fn test_green_handled() {
    assert_eq!(
        errors_of_a_bad_handler::<GreenTcpServer>(),
        ["handle failed: Test error"]
    );
}

fn errors_of_a_bad_handler<S: ServeOne>() -> Vec<String> {
    S::serve_one(|| Err("Test error".into()))
}

/// Serves one request with this handler and closes the server. Returns the errors that
/// `handle_error` received.
trait ServeOne {
    fn serve_one(handle: fn() -> HandlerResult) -> Vec<String>;
}

impl<D: Dispatch + Default> ServeOne for Server<socketserver::listener::Tcp, D> {
    fn serve_one(handle: fn() -> HandlerResult) -> Vec<String> {
        let (reporter, errors) = reporter();
        let builder = Self::builder().hooks(reporter);
        let server = builder
            .bind_fn(ANY, move |_| handle())
            .expect("a port is free");
        drop(connect(server.server_address()));
        server.handle_request().expect("one request is served");
        server.server_close();
        errors.iter().collect()
    }
}

#[test]
fn test_basics() {
    let (sender, reports) = channel();
    let server = TcpServer::bind_fn(ANY, move |request| {
        let wfile: &mut dyn Write = &mut request.wfile;
        wfile.flush()?;
        let writer = request.wfile.as_fd().as_raw_fd();
        Ok(sender.send((writer, request.as_fd().as_raw_fd()))?)
    });
    let server = server.expect("a port is free");
    drop(connect(server.server_address()));
    server.handle_request().expect("one request is served");
    let (writer, request) = reports.try_recv().expect("the handler ran");
    assert_eq!(writer, request);
}

#[test]
fn test_shutdown_request_called_if_verify_request_false() {
    let (mut reporter, errors) = reporter();
    reporter.refuse = true;
    let server = TcpServer::builder().hooks(reporter).bind(ANY, || Handler);
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    // The server still exists, so the request was shut down and not the server.
    assert_eq!(read_all(client), "");
    server.server_close();
    assert_eq!(errors.iter().next(), None);
}

#[test]
fn test_threads_reaped() {
    let pool = Arc::new(ThreadPool::new().thread_keep_alive(Duration::from_millis(1)));
    let builder = ThreadingTcpServer::builder().dispatch(Arc::clone(&pool));
    let (sender, served) = channel();
    let server = builder
        .bind_fn(ANY, move |_| Ok(sender.send(())?))
        .expect("a port is free");
    for _ in 0..10 {
        let _client = connect(server.server_address());
        server.handle_request().expect("one request is served");
    }
    eventually("every thread has ended", || pool.threads() == 0);
    assert_eq!(served.try_iter().count(), 10);
}
