//! Handlers that get stuck where their client wants them to, and what is told of them.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socketserver::listener::Bind;
use socketserver::prelude::*;
use socketserver::{Address, Builder, Dispatch, DrainReport, Listener, RequestError, Stage};

use crate::{connect, exchange, in_background};

/// Says `begun`, and gets stuck as the client's first line says.
pub fn obey(request: &mut StreamRequest) -> HandlerResult {
    let order = request.rfile.readline(100)?;
    request.wfile.write_all(b"begun\n")?;
    match &order[..] {
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

/// A client of `obey` whose handler has begun. It reads no further.
pub fn begin(address: &Address, order: &str) -> std::net::TcpStream {
    let client = connect(address);
    assert_eq!(exchange(&client, &format!("{order}\n")), "begun\n");
    client
}

/// Drained, forced, left behind.
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

/// Hooks that tell the test of every error.
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

/// A server with such hooks, and what they tell.
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
