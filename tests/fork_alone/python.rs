//! Counterparts, name by name, of those of Python's tests that fork. Where those serve on a thread of
//! their own, these serve on the only one.
#![allow(non_snake_case)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};

use socketserver::dispatch::Fork;
use socketserver::prelude::*;
use socketserver::{RequestError, Server};

use crate::harness::{Trial, trial};

use support::kind::{Client, Kind, Talk};
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

impl<R: Talk> RequestHandler<R> for Handler {
    fn handle(&mut self, request: &mut R) -> HandlerResult {
        let line = request.question()?;
        Ok(request.answer(&line)?)
    }
}

/// A child of the program's own, with a status that the program wants to see.
fn simple_subprocess() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "exit 72"]);
    command.spawn().expect("there is a shell")
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
        server.handle_request().expect("it serves");
        assert_eq!(client.receive_line(), "hello world");
    }
    let handle = server.handle();
    server.server_close();
    assert!(L::is_free(&address));
    assert_eq!(handle.statistics().finished, 3);
    let status = own.wait().expect("it was not waited for elsewhere");
    assert_eq!(status.code(), Some(72));
}

/// So that the names of the servers themselves are used.
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

/// Writes to a file, for the child's memory ends with it.
fn note(file: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(file, "{line}")
}

struct Reporter(PathBuf);

impl Hooks for Reporter {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        note(&self.0, &format!("Error handled: {error}")).expect("the folder is ours");
    }
}

/// What is noted when one request is handled like this, with the counts of failed and of all.
fn serve_one(handle: fn() -> HandlerResult) -> (String, u64, u64) {
    let folder = socket_folder();
    let file = folder.path().join("notes");
    let (reporter, notes) = (Reporter(file.clone()), file.clone());
    let builder = ForkingTcpServer::builder().hooks(reporter);
    let server = builder.bind_fn(ANY, move |_| {
        note(&notes, "Handler called")?;
        handle()
    });
    let server = server.expect("a port is free");
    let server_handle = server.handle();
    drop(connect(server.server_address()));
    server.handle_request().expect("there is one");
    server.server_close();
    let statistics = server_handle.statistics();
    let notes = fs::read_to_string(file).expect("it was written");
    (notes, statistics.failed, statistics.accepted)
}

fn test_forking_handled() {
    let (notes, failed, accepted) = serve_one(|| Err("Test error".into()));
    assert_eq!(
        notes,
        "Handler called\nError handled: handle failed: Test error\n"
    );
    assert_eq!((failed, accepted), (1, 1));
}

/// What Python's `SystemExit` is to a handler, `std::process::exit` is here. It ends the child alone.
fn test_forking_not_handled() {
    let (notes, failed, accepted) = serve_one(|| process::exit(72));
    assert_eq!(notes, "Handler called\n");
    assert_eq!((failed, accepted), (1, 1));
}
