//! What every server does, kind by kind and dispatch by dispatch.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socket2::SockRef;
use socketserver::request::Request;
use socketserver::{Address, BackgroundServer, Dispatch, HandlerError, HandlerResult, Hooks};
use socketserver::{RequestError, Server, Stage};
use tempfile::TempDir;

use support::kind::{Client, Kind, Talk};
use support::{eventually, for_all_servers, for_each, join_soon, next, socket_folder};

/// Reports errors to the test, and refuses the first request if `refuse_one` is set.
struct Watch {
    errors: Sender<(Stage, String)>,
    refuse_one: AtomicBool,
}

impl<R: Request> Hooks<R> for Watch {
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
    let watch = Watch {
        errors: sender,
        refuse_one: refuse_one.into(),
    };
    let server = Server::builder()
        // Its port could not be taken again at once otherwise: what the server closes lingers on.
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

/// Fails if the client says so, and echoes everything else.
fn respond<R: Talk>(request: &mut R) -> HandlerResult {
    let question = request.question()?;
    match question.as_str() {
        "fail" => Err("as asked".into()),
        "panic" => panic!("as asked"),
        "shut down" => {
            request.server().shutdown();
            Ok(request.answer("bye")?)
        }
        _ => Ok(request.answer(&question)?),
    }
}

fn three_clients_one_after_the_other_are_answered<L: Kind, D: Dispatch + Default>() {
    let (server, errors, _folder) = bind::<L, D>(false, respond).start();
    for question in ["one", "two", "three"] {
        assert_eq!(L::connect(server.server_address()).ask(question), question);
    }
    server.stop().expect("nothing ended it but the shutdown");
    assert_eq!(errors.iter().next(), None);
}

fn the_server_address_is_the_sockets_own<L: Kind, D: Dispatch + Default>() {
    let bound = bind::<L, D>(false, respond);
    let local = SockRef::from(&bound.server)
        .local_addr()
        .expect("it is bound");
    assert_eq!(*bound.server.server_address(), Address::from(local));
    assert_ne!(bound.server.server_address().port(), Some(0));
    assert_eq!(
        bound.server.handle().server_address(),
        bound.server.server_address()
    );
}

fn an_error_is_reported_and_the_next_request_served<L: Kind, D: Dispatch + Default>() {
    let (server, errors, _folder) = bind::<L, D>(false, respond).start();
    let mut client = L::connect(server.server_address());
    client.send_line("fail");
    let mut client = L::unanswered(client, server.server_address());
    assert_eq!(client.ask("next"), "next");
    assert_eq!(next(&errors), (Stage::Handle, "as asked".to_owned()));
    server
        .stop()
        .expect("an error in a request is not the server's");
    assert_eq!(errors.iter().next(), None);
}

fn a_panic_is_reported_and_the_next_request_served<L: Kind, D: Dispatch + Default>() {
    let (server, errors, _folder) = bind::<L, D>(false, respond).start();
    let mut client = L::connect(server.server_address());
    client.send_line("panic");
    let mut client = L::unanswered(client, server.server_address());
    assert_eq!(client.ask("next"), "next");
    assert_eq!(
        next(&errors),
        (Stage::Handle, "panicked: as asked".to_owned())
    );
    server
        .stop()
        .expect("a panic in a request is not the server's");
    assert_eq!(errors.iter().next(), None);
}

fn a_refused_request_never_reaches_its_handler<L: Kind, D: Dispatch + Default>() {
    let (seen, handled) = channel();
    let (server, errors, _folder) = bind::<L, D>(true, move |request| {
        seen.send(request.question()?)?;
        Ok(request.answer("served")?)
    })
    .start();
    let mut client = L::connect(server.server_address());
    client.begin();
    let mut client = L::unanswered(client, server.server_address());
    assert_eq!(client.ask("second"), "served");
    server.stop().expect("a refusal is not the end");
    assert_eq!(handled.iter().collect::<Vec<_>>(), ["second"]);
    assert_eq!(errors.iter().next(), None);
}

fn shutdown_from_another_thread_ends_serving<L: Kind, D: Dispatch + Default>() {
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, respond);
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    assert_eq!(L::connect(handle.server_address()).ask("there?"), "there?");
    handle.shutdown();
    join_soon(serving).expect("a shutdown is no error");
}

fn shutdown_from_a_handler_ends_serving_and_the_answer_arrives<L: Kind, D: Dispatch + Default>() {
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, respond);
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    assert_eq!(L::connect(handle.server_address()).ask("shut down"), "bye");
    join_soon(serving).expect("a shutdown is no error");
    assert!(handle.is_shutting_down());
}

fn after_a_shutdown_serving_ends_at_once<L: Kind, D: Dispatch + Default>() {
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, respond);
    server.shutdown();
    let serving = thread::spawn(move || (server.serve_forever(), server.serve_forever()));
    let (first, second) = join_soon(serving);
    first.expect("a shutdown is no error");
    second.expect("nor is one that lasts");
}

fn shutting_down_twice_changes_nothing<L: Kind, D: Dispatch + Default>() {
    let Bound {
        server,
        folder: _folder,
        ..
    } = bind::<L, D>(false, respond);
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    assert_eq!(L::connect(handle.server_address()).ask("there?"), "there?");
    handle.shutdown();
    handle.shutdown();
    // The thread has closed the server, too: a third one comes after its end.
    join_soon(serving).expect("a shutdown is no error");
    handle.shutdown();
    assert!(handle.is_shutting_down());
}

fn a_dropped_guard_leaves_the_address_free<L: Kind, D: Dispatch + Default>() {
    let (server, _errors, _folder) = bind::<L, D>(false, respond).start();
    let address = server.server_address().clone();
    assert_eq!(L::connect(&address).ask("there?"), "there?");
    drop(server);
    eventually("the address is free", || L::is_free(&address));
}

/// Of servers without threads.
fn requests_run_on_the_serving_thread<L: Kind, D: Dispatch + Default>() {
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
    for question in ["one", "shut down"] {
        L::connect(handle.server_address()).ask(question);
        assert_eq!(next(&ran_on), serving_thread);
    }
    join_soon(serving).expect("a shutdown is no error");
}

/// Of servers with threads.
fn many_requests_run_side_by_side<L: Kind, D: Dispatch + Default>() {
    const CLIENTS: usize = 8;
    let arrived = AtomicUsize::new(0);
    let (server, _errors, _folder) = bind::<L, D>(false, move |request| {
        let question = request.question()?;
        arrived.fetch_add(1, Ordering::SeqCst);
        eventually("all are here", || arrived.load(Ordering::SeqCst) == CLIENTS);
        Ok(request.answer(&question)?)
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
    three_clients_one_after_the_other_are_answered
    the_server_address_is_the_sockets_own
    an_error_is_reported_and_the_next_request_served
    a_panic_is_reported_and_the_next_request_served
    a_refused_request_never_reaches_its_handler
    shutdown_from_another_thread_ends_serving
    shutdown_from_a_handler_ends_serving_and_the_answer_arrives
    after_a_shutdown_serving_ends_at_once
    shutting_down_twice_changes_nothing
    a_dropped_guard_leaves_the_address_free
}

for_each! { {requests_run_on_the_serving_thread}
    tcp_inline: Tcp, Inline;
    unix_stream_inline: Unix, Inline;
    udp_inline: Udp, Inline;
    unix_datagram_inline: UnixDatagram, Inline;
}

for_each! { {many_requests_run_side_by_side}
    tcp_pool: Tcp, ThreadPool;
    unix_stream_pool: Unix, ThreadPool;
    udp_pool: Udp, ThreadPool;
    unix_datagram_pool: UnixDatagram, ThreadPool;
}
