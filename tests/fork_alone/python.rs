//! Counterparts of Python's tests of forking servers, with the same names. Python's tests serve on
//! a second thread, and these serve on the only one.
#![allow(non_snake_case)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};

use socketserver::dispatch::Fork;
use socketserver::prelude::*;
use socketserver::{RequestError, Server};

use crate::harness::{Trial, trial};

use support::kind::{Client, Kind, LineRequest};
use support::{ANY, connect, socket_folder};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(test_ForkingTCPServer),
        trial!(test_ForkingUDPServer),
        trial!(test_ForkingUnixStreamServer),
        trial!(test_ForkingUnixDatagramServer),
        trial!(test_forking_handled),
        trial!(test_forking_not_handled),
    ]
}

struct Handler;

impl<R: LineRequest> RequestHandler<R> for Handler {
    fn handle(&mut self, request: &mut R) -> HandlerResult {
        let line = request.read_message()?;
        Ok(request.write_message(&line)?)
    }
}

/// A child process that does not belong to the server. The server must not reap it.
fn simple_subprocess() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "exit 72"]);
    command.spawn().expect("sh is installed")
}

fn run_server<L: Kind>() {
    let mut own = simple_subprocess();
    let folder = socket_folder();
    let builder = Server::<L, Fork>::builder().allow_reuse_address(true);
    let server = builder
        .bind(L::address(folder.path()), || Handler)
        .expect("the address is free");
    let address = server.server_address().clone();
    for _ in 0..3 {
        let mut client = L::connect(&address);
        client.send_line("hello world");
        server.handle_request().expect("the request is served");
        assert_eq!(client.receive_line(), "hello world");
    }
    let handle = server.handle();
    server.server_close();
    assert!(L::is_free(&address));
    assert_eq!(handle.statistics().finished, 3);
    let status = own.wait().expect("the child was not reaped by the server");
    assert_eq!(status.code(), Some(72));
}

/// Uses the names of the server types.
trait Run {
    fn run();
}

impl<L: Kind> Run for Server<L, Fork> {
    fn run() {
        run_server::<L>();
    }
}

fn test_ForkingTCPServer() {
    ForkingTcpServer::run();
}

fn test_ForkingUDPServer() {
    ForkingUdpServer::run();
}

fn test_ForkingUnixStreamServer() {
    ForkingUnixStreamServer::run();
}

fn test_ForkingUnixDatagramServer() {
    ForkingUnixDatagramServer::run();
}

/// Appends a line to a file, because a child's memory is lost when it ends.
fn record(file: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(file, "{line}")
}

struct Reporter(PathBuf);

impl Hooks for Reporter {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        record(&self.0, &format!("Error handled: {error}"))
            .expect("the temporary folder is writable");
    }
}

/// Serves one request with this handler. Returns the recorded lines, and the counts of failed and
/// of all requests.
fn serve_one(handle: fn() -> HandlerResult) -> (String, u64, u64) {
    let folder = socket_folder();
    let file = folder.path().join("log");
    let (reporter, log) = (Reporter(file.clone()), file.clone());
    let builder = ForkingTcpServer::builder().hooks(reporter);
    let server = builder.bind_fn(ANY, move |_| {
        record(&log, "Handler called")?;
        handle()
    });
    let server = server.expect("a port is free");
    let server_handle = server.handle();
    drop(connect(server.server_address()));
    server.handle_request().expect("one request is served");
    server.server_close();
    let statistics = server_handle.statistics();
    let lines = fs::read_to_string(file).expect("the file exists");
    (lines, statistics.failed, statistics.accepted)
}

fn test_forking_handled() {
    let (lines, failed, accepted) = serve_one(|| Err("Test error".into()));
    assert_eq!(
        lines,
        "Handler called\nError handled: handle failed: Test error\n"
    );
    assert_eq!((failed, accepted), (1, 1));
}

/// The counterpart of Python's `SystemExit` in a handler is `std::process::exit`. It ends the child
/// only.
fn test_forking_not_handled() {
    let (lines, failed, accepted) = serve_one(|| process::exit(72));
    assert_eq!(lines, "Handler called\n");
    assert_eq!((failed, accepted), (1, 1));
}
