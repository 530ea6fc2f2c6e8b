//! `fail`: a hook or handler ends serving with an error.

use std::io;

use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{Dispatch, Server, Stage};
use tempfile::TempDir;

use support::kind::{Client, Kind, LineRequest};
use support::{for_all_servers, join_soon, socket_folder};

/// Fails in the step that the first message names.
struct FailIn(&'static str);

impl FailIn {
    fn fail(&self, step: &str, server: &ServerHandle) {
        if self.0 == step {
            server.fail(io::Error::new(io::ErrorKind::StorageFull, step));
        }
    }
}

impl<R: Request> Hooks<R> for FailIn {
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        self.fail("verify_request", request.server());
        Ok(self.0 != "refused")
    }

    fn handle_error(&self, request: &mut R, error: &RequestError) {
        assert_eq!(error.stage(), Stage::Handle);
        self.fail("handle_error", request.server());
    }

    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        self.fail("service_actions", server);
        Ok(())
    }

    fn handle_timeout(&self, server: &ServerHandle) {
        self.fail("handle_timeout", server);
    }
}

struct Handler(&'static str);

impl<R: LineRequest> RequestHandler<R> for Handler {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        FailIn(self.0).fail("setup", request.server());
        Ok(())
    }

    fn handle(&mut self, request: &mut R) -> HandlerResult {
        let message = request.read_message()?;
        request.write_message(&message)?;
        if self.0 == "handle_error" {
            return Err("requested by the test".into());
        }
        FailIn(self.0).fail("handle", request.server());
        Ok(())
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        FailIn(self.0).fail("finish", request.server());
        Ok(())
    }
}

fn bind<L: Kind, D: Dispatch + Default>(step: &'static str) -> (Server<L, D>, TempDir) {
    let folder = socket_folder();
    let builder = Server::builder().hooks(FailIn(step)).timeout(support::HOUR);
    let server = builder.bind(L::address(folder.path()), move || Handler(step));
    (server.expect("the address is free"), folder)
}

fn assert_failed(result: io::Result<()>, step: &str) {
    let error = result.expect_err("the step fails");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), step);
}

fn serving_ends_with_the_error_of_each_step<L: Kind, D: Dispatch + Default>() {
    for step in [
        "verify_request",
        "setup",
        "handle",
        "finish",
        "handle_error",
        "service_actions",
    ] {
        let (server, _folder) = bind::<L, D>(step);
        let address = server.server_address().clone();
        let handle = server.handle();
        let serving = std::thread::spawn(move || (server.serve_forever(), server));
        let mut client = L::connect(&address);
        client.begin();
        client.send_line("hello");
        let (served, server) = join_soon(serving);
        assert_failed(served, step);
        assert!(!handle.is_shutting_down(), "{step}");
        drop(server);
    }
}

fn the_first_error_counts_and_serving_can_begin_again<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>("none");
    let handle = server.handle();
    handle.stop_serving();
    handle.fail(io::Error::new(io::ErrorKind::StorageFull, "first"));
    handle.fail(io::Error::other("second"));
    handle.stop_serving();
    assert_failed(server.serve_forever(), "first");
    let address = server.server_address().clone();
    let serving = std::thread::spawn(move || server.serve_forever());
    assert_eq!(L::connect(&address).exchange("hello"), "hello");
    handle.shutdown();
    join_soon(serving).expect("a shutdown is not an error");
}

fn handle_request_returns_the_error<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>("verify_request");
    let mut client = L::connect(server.server_address());
    client.begin();
    client.send_line("hello");
    assert_failed(server.handle_request(), "verify_request");
}

for_all_servers! {
    serving_ends_with_the_error_of_each_step
    the_first_error_counts_and_serving_can_begin_again
    handle_request_returns_the_error
}

#[test]
fn handle_timeout_fails() -> io::Result<()> {
    let builder = TcpServer::builder().hooks(FailIn("handle_timeout"));
    let builder = builder.timeout(std::time::Duration::from_millis(1));
    let server = builder.bind_fn(support::ANY, |_| Ok(()))?;
    assert_failed(server.handle_request(), "handle_timeout");
    Ok(())
}

/// A failure is never lost: if it comes too late for one call, the next one returns it.
#[test]
fn a_failure_after_a_stop_is_returned() -> io::Result<()> {
    let server = TcpServer::bind_fn(support::ANY, |_| Ok(()))?;
    for round in 0..1000 {
        let handle = server.handle();
        let failing = std::thread::spawn(move || {
            handle.stop_serving();
            handle.fail(io::Error::new(io::ErrorKind::StorageFull, "late"));
        });
        let first = server.serve_forever();
        join_soon(failing);
        let failed = first.and_then(|()| server.serve_forever());
        assert_eq!(
            failed.map_err(|e| e.kind()),
            Err(io::ErrorKind::StorageFull),
            "{round}"
        );
    }
    Ok(())
}
