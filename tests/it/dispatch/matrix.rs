//! Behaviour of all servers: each test runs with every kind of server and every dispatcher.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use socket2::SockRef;
use socketserver::request::Request;
use socketserver::{Address, BackgroundServer, Dispatch, HandlerError, HandlerResult, Hooks};
use socketserver::{RequestError, Server, ServerHandle, Stage};
use tempfile::TempDir;

use support::gate::Gate;
use support::kind::{Client, Kind, LineRequest};
use support::{eventually, for_all_servers, for_each, join_soon, next, socket_folder};

/// Hooks that report errors to the test, and refuse the first request if `refuse_one` is set.
struct TestHooks {
    errors: Sender<(Stage, String)>,
    refuse_one: AtomicBool,
}

impl<R: Request> Hooks<R> for TestHooks {
    fn verify_request(&self, _: &mut R) -> Result<bool, HandlerError> {
        Ok(!self.refuse_one.swap(false, Ordering::SeqCst))
    }

    fn handle_error(&self, _: &mut R, error: &RequestError) {
        let report = (error.stage(), error.error().to_string());
        self.errors.send(report).expect("the test receives it");
    }
}

struct Bound<L: Kind, D: Dispatch> {
    server: Server<L, D>,
    errors: Receiver<(Stage, String)>,
    folder: TempDir,
}

fn bind<L: Kind, D: Dispatch + Default>(
    refuse_one: bool,
    handle: impl Fn(&mut L::Request) -> HandlerResult + Send + Sync + 'static,
) -> Bound<L, D> {
    let folder = socket_folder();
    let (sender, errors) = channel();
    let watch = TestHooks {
        errors: sender,
        refuse_one: refuse_one.into(),
    };
    let server = Server::builder()
        // Without it, the port cannot be bound again for a while: closed connections are in
        // TIME_WAIT.
        .allow_reuse_address(true)
        .hooks(watch)
        .bind_fn(L::address(folder.path()), handle);
    let server = server.expect("the address is free");
    Bound {
        server,
        errors,
        folder,
    }
}

impl<L: Kind, D: Dispatch> Bound<L, D> {
    fn start(self) -> (BackgroundServer, Receiver<(Stage, String)>, TempDir) {
        let server = self.server.serve_in_background();
        (
            server.expect("a thread can be started"),
            self.errors,
            self.folder,
        )
    }
}

/// A handler that fails, panics or shuts down if the message says so, and sends back all other
/// messages.
fn respond<R: LineRequest>(request: &mut R) -> HandlerResult {
    let message = request.read_message()?;
    match message.as_str() {
        "fail" => Err("requested by the test".into()),
        "panic" => panic!("requested by the test"),
        "shut down" => {
            request.server().shutdown();
            Ok(request.write_message("bye")?)
        }
        _ => Ok(request.write_message(&message)?),
    }
}

fn three_successive_clients_are_answered<L: Kind, D: Dispatch + Default>() {
    let (server, errors, _folder) = bind::<L, D>(false, respond).start();
    for message in ["one", "two", "three"] {
        assert_eq!(
            L::connect(server.server_address()).exchange(message),
            message
        );
    }
    server.stop().expect("a shutdown is not an error");
    assert_eq!(errors.iter().next(), None);
}

fn server_address_is_the_address_of_the_socket<L: Kind, D: Dispatch + Default>() {
    let bound = bind::<L, D>(false, respond);
    let local = SockRef::from(&bound.server)
        .local_addr()
        .expect("the socket is bound");
    assert_eq!(*bound.server.server_address(), Address::from(local));
    assert_ne!(bound.server.server_address().port(), Some(0));
    assert_eq!(
        bound.server.handle().server_address(),
        bound.server.server_address()
    );
}

/// A request that fails with `message` is reported with this text, and the next request is served.
fn failure_is_reported<L: Kind, D: Dispatch + Default>(message: &str, text: &str) {
    let (server, errors, _folder) = bind::<L, D>(false, respond).start();
    let mut client = L::connect(server.server_address());
    client.send_line(message);
    let mut client = L::unanswered(client, server.server_address());
    assert_eq!(client.exchange("next"), "next");
    assert_eq!(next(&errors), (Stage::Handle, text.to_owned()));
    server.stop().expect("serving continues");
    assert_eq!(errors.iter().next(), None);
}

fn an_error_is_reported_and_the_next_request_is_served<L: Kind, D: Dispatch + Default>() {
    failure_is_reported::<L, D>("fail", "requested by the test");
}

fn a_panic_is_reported_and_the_next_request_is_served<L: Kind, D: Dispatch + Default>() {
    failure_is_reported::<L, D>("panic", "panicked: requested by the test");
}

fn a_refused_request_never_reaches_its_handler<L: Kind, D: Dispatch + Default>() {
    let (seen, handled) = channel();
    let (server, errors, _folder) = bind::<L, D>(true, move |request| {
        seen.send(request.read_message()?)?;
        Ok(request.write_message("served")?)
    })
    .start();
    let mut client = L::connect(server.server_address());
    client.begin();
    let mut client = L::unanswered(client, server.server_address());
    assert_eq!(client.exchange("second"), "served");
    server.stop().expect("a refusal does not end serving");
    assert_eq!(handled.iter().collect::<Vec<_>>(), ["second"]);
    assert_eq!(errors.iter().next(), None);
}

/// A server that is served on another thread.
fn serve<L: Kind, D: Dispatch + Default>() -> (ServerHandle, JoinHandle<io::Result<()>>, TempDir) {
    let Bound { server, folder, .. } = bind::<L, D>(false, respond);
    let handle = server.handle();
    (
        handle,
        thread::spawn(move || server.serve_forever()),
        folder,
    )
}

fn shutdown_from_another_thread_ends_serving<L: Kind, D: Dispatch + Default>() {
    let (handle, serving, _folder) = serve::<L, D>();
    assert_eq!(
        L::connect(handle.server_address()).exchange("there?"),
        "there?"
    );
    handle.shutdown();
    join_soon(serving).expect("a shutdown is not an error");
}

fn shutdown_from_a_handler_ends_serving_after_its_answer<L: Kind, D: Dispatch + Default>() {
    let (handle, serving, _folder) = serve::<L, D>();
    assert_eq!(
        L::connect(handle.server_address()).exchange("shut down"),
        "bye"
    );
    join_soon(serving).expect("a shutdown is not an error");
    assert!(handle.is_shutting_down());
}

fn serve_forever_after_a_shutdown_returns_at_once<L: Kind, D: Dispatch + Default>() {
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, respond);
    server.shutdown();
    let serving = thread::spawn(move || (server.serve_forever(), server.serve_forever()));
    let (first, second) = join_soon(serving);
    first.expect("a shutdown is not an error");
    second.expect("a repeated shutdown is not an error");
}

fn a_second_shutdown_has_no_effect<L: Kind, D: Dispatch + Default>() {
    let (handle, serving, _folder) = serve::<L, D>();
    assert_eq!(
        L::connect(handle.server_address()).exchange("there?"),
        "there?"
    );
    handle.shutdown();
    handle.shutdown();
    // The thread has closed the server as well, so the third shutdown comes after the close.
    join_soon(serving).expect("a shutdown is not an error");
    handle.shutdown();
    assert!(handle.is_shutting_down());
}

fn dropping_the_background_server_frees_the_address<L: Kind, D: Dispatch + Default>() {
    let (server, _errors, _folder) = bind::<L, D>(false, respond).start();
    let address = server.server_address().clone();
    assert_eq!(L::connect(&address).exchange("there?"), "there?");
    drop(server);
    eventually("the address is free", || L::is_free(&address));
}

fn a_background_server_is_finished_once_its_last_request_has_ended<
    L: Kind,
    D: Dispatch + Default,
>() {
    let gate = Gate::default();
    let (server, _errors, _folder) = bind::<L, D>(false, gate.handler()).start();
    let mut client = L::connect(server.server_address());
    client.send_line("there?");
    assert_eq!(gate.next(), "there?");
    server.handle().shutdown();
    assert!(!server.is_finished());
    gate.release(1);
    assert_eq!(client.receive_line(), "there?");
    eventually("the server has ended", || server.is_finished());
    server.join().expect("a shutdown is not an error");
}

/// For servers without threads.
fn inline_requests_run_on_the_serving_thread<L: Kind, D: Dispatch + Default>() {
    let (reporter, ran_on) = channel();
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, move |request| {
        reporter.send(thread::current().id())?;
        respond(request)
    });
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    let serving_thread = serving.thread().id();
    for message in ["one", "shut down"] {
        L::connect(handle.server_address()).exchange(message);
        assert_eq!(next(&ran_on), serving_thread);
    }
    join_soon(serving).expect("a shutdown is not an error");
}

/// For servers with threads.
fn requests_run_concurrently<L: Kind, D: Dispatch + Default>() {
    const CLIENTS: usize = 8;
    let arrived = AtomicUsize::new(0);
    let (server, _errors, _folder) = bind::<L, D>(false, move |request| {
        let message = request.read_message()?;
        arrived.fetch_add(1, Ordering::SeqCst);
        eventually("all requests run", || {
            arrived.load(Ordering::SeqCst) == CLIENTS
        });
        Ok(request.write_message(&message)?)
    })
    .start();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| L::connect(server.server_address()))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_line(&number.to_string());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive_line(), number.to_string());
    }
}

for_all_servers! {
    three_successive_clients_are_answered
    server_address_is_the_address_of_the_socket
    an_error_is_reported_and_the_next_request_is_served
    a_panic_is_reported_and_the_next_request_is_served
    a_refused_request_never_reaches_its_handler
    shutdown_from_another_thread_ends_serving
    shutdown_from_a_handler_ends_serving_after_its_answer
    serve_forever_after_a_shutdown_returns_at_once
    a_second_shutdown_has_no_effect
    dropping_the_background_server_frees_the_address
    a_background_server_is_finished_once_its_last_request_has_ended
}

for_each! { {inline_requests_run_on_the_serving_thread}
    tcp_inline: Tcp, Inline;
    unix_stream_inline: Unix, Inline;
    udp_inline: Udp, Inline;
    unix_datagram_inline: UnixDatagram, Inline;
}

for_each! { {requests_run_concurrently}
    tcp_pool: Tcp, ThreadPool;
    unix_stream_pool: Unix, ThreadPool;
    udp_pool: Udp, ThreadPool;
    unix_datagram_pool: UnixDatagram, ThreadPool;
}
