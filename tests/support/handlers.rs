//! Handlers that end, fail or block as their client requests, and hooks that report errors.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};

use socketserver::listener::Bind;
use socketserver::prelude::*;
use socketserver::{Address, Builder, Dispatch, DrainReport, Listener, RequestError, Stage, task};

use crate::{LONG, connect, exchange, in_background};

/// Sends one line back.
pub fn echo_line(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(1024)?;
    Ok(request.wfile.write_all(&line)?)
}

/// Answers each line in upper case, and is idle between lines.
pub fn upper_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line.to_ascii_uppercase())?;
    }
    Ok(())
}

/// Sends lines back. The line `fail` makes it fail, and the line `panic` makes it panic.
pub fn echo_or_fail(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        match &*line {
            "fail" => return Err("requested by the test".into()),
            "panic" => panic!("requested by the test"),
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
            task::sleep(LONG);
        },
        _ => {}
    }
    Ok(())
}

/// A client of `block` whose handler has begun. The client reads nothing after that.
pub fn begin(address: &Address, how: &str) -> std::net::TcpStream {
    let client = connect(address);
    assert_eq!(exchange(&client, &format!("{how}\n")), "begun\n");
    client
}

/// The counts of drained, forced and unfinished requests.
pub fn counts(report: DrainReport) -> (usize, usize, usize) {
    (report.drained, report.forced, report.unfinished)
}

/// An error that `handle_error` received.
#[derive(Debug, PartialEq)]
pub struct ReportedError {
    pub stage: Stage,
    pub kind: Option<ErrorKind>,
    pub is_disconnect: bool,
    pub text: String,
}

/// Hooks that report every error to the test.
pub struct ReportErrors(pub Sender<ReportedError>);

impl Hooks for ReportErrors {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let reported = ReportedError {
            stage: error.stage(),
            kind: error.io_kind(),
            is_disconnect: error.is_disconnect(),
            text: error.to_string(),
        };
        self.0.send(reported).expect("the test receives it");
    }
}

/// Waits for an error, and checks that it is a timeout with this text.
pub fn expect_timeout(errors: &Receiver<ReportedError>, stage: Stage, text: &str) {
    let error = errors.recv_timeout(LONG).expect("an error is reported");
    assert_eq!(error.stage, stage);
    assert_eq!(error.kind, Some(ErrorKind::TimedOut));
    assert!(!error.is_disconnect);
    assert!(error.text.contains(text), "{}", error.text);
}

/// A server whose errors are reported to the test.
pub fn with_error_reports<'a, L, D: Dispatch>(
    builder: Builder<L, D>,
    address: &'a str,
    handle: fn(&mut StreamRequest) -> HandlerResult,
) -> (BackgroundServer, Receiver<ReportedError>)
where
    L: Listener<Request = StreamRequest> + Bind<&'a str>,
{
    let (errors, reported) = channel();
    let server = builder.hooks(ReportErrors(errors)).bind_fn(address, handle);
    (in_background(server), reported)
}
