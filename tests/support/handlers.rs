//! Handlers that end, fail or block as their client says, and hooks that report errors.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socketserver::listener::Bind;
use socketserver::prelude::*;
use socketserver::{Address, Builder, Dispatch, DrainReport, Listener, RequestError, Stage};

use crate::{connect, exchange, in_background};

/// Answers lines, and fails or panics if one says so.
pub fn echo_or_fail(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        match &*line {
            "fail" => return Err("as asked".into()),
            "panic" => panic!("as asked"),
            line => writeln!(request.wfile, "{line}")?,
        }
    }
    Ok(())
}

/// Answers `begun`, and blocks in the way that the client's first line names.
pub fn block(request: &mut StreamRequest) -> HandlerResult {
    let how = request.rfile.readline(100)?;
    request.wfile.write_all(b"begun\n")?;
    match &how[..] {
        b"read\n" => while !request.rfile.readline(100)?.is_empty() {},
        b"write\n" => loop {
            request.wfile.write_all(&[b'.'; 65_536])?;
        },
        b"loop\n" => loop {
            thread::park();
        },
        _ => {}
    }
    Ok(())
}

/// A client of `block` whose handler has begun. It reads no further.
pub fn begin(address: &Address, how: &str) -> std::net::TcpStream {
    let client = connect(address);
    assert_eq!(exchange(&client, &format!("{how}\n")), "begun\n");
    client
}

/// Drained, forced, unfinished.
pub fn counts(report: DrainReport) -> (usize, usize, usize) {
    (report.drained, report.forced, report.unfinished)
}

/// What `handle_error` saw.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub stage: Stage,
    pub kind: Option<ErrorKind>,
    pub is_disconnect: bool,
    pub text: String,
}

/// Hooks that report every error to the test.
pub struct Watch(pub Sender<Seen>);

impl Hooks for Watch {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let seen = Seen {
            stage: error.stage(),
            kind: error.io_kind(),
            is_disconnect: error.is_disconnect(),
            text: error.to_string(),
        };
        self.0.send(seen).expect("the test waits for it");
    }
}

/// A server with such hooks, and what they report.
pub fn watched<'a, L, D: Dispatch>(
    builder: Builder<L, D>,
    address: &'a str,
    handle: fn(&mut StreamRequest) -> HandlerResult,
) -> (BackgroundServer, Receiver<Seen>)
where
    L: Listener<Request = StreamRequest> + Bind<&'a str>,
{
    let (errors, seen) = channel();
    let server = builder.hooks(Watch(errors)).bind_fn(address, handle);
    (in_background(server), seen)
}
