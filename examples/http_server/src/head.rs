//! A request's header: received within limits, then parsed.

use std::io::{self, BufRead, ErrorKind};
use std::time::{Duration, Instant};

use httparse::Status::{Complete, Partial};
use socketserver::StreamRequest;

use super::request::{InvalidLength, Request};
use super::status::Status;

/// How long a header may take, from its first byte.
const TIME: Duration = Duration::from_secs(10);
/// The limit of a header, in bytes.
const MAX_LENGTH: usize = 65_536;
/// The limit of header fields.
const MAX_FIELDS: usize = 100;

/// Why there is no request.
pub enum Refusal {
    /// The client gets a response with this status, and the connection ends.
    With(Status),
    /// The connection has failed, so there is no response.
    Disconnected(io::Error),
}

/// Reads a request's header, and does not consume what follows it: a body, or the next request. A header
/// that arrives in one piece, as most do, needs one read. A refused header is not consumed.
pub fn read(request: &mut StreamRequest) -> Result<Request, Refusal> {
    let deadline = Instant::now() + TIME;
    let mut seen = 0;
    let length = loop {
        let received = request.rfile.buffer();
        if let Some(length) = length(received, seen)? {
            break length;
        }
        seen = received.len();
        receive(request, deadline)?;
    };
    let parsed = parse(&request.rfile.buffer()[..length])?;
    request.rfile.consume(length);
    Ok(parsed)
}

/// The first line of what has arrived of a header, without its end.
pub fn first_line(received: &[u8]) -> &[u8] {
    let received = received.trim_ascii_start();
    let line = received.split(|byte| *byte == b'\n').next();
    line.unwrap_or_default().trim_ascii_end()
}

/// The header's length, if it is complete. What is before `seen` was searched already.
fn length(received: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    let end = end(received, seen);
    if end.unwrap_or(received.len() + 1) > MAX_LENGTH {
        return Err(Refusal::With(too_long(received)));
    }
    Ok(end)
}

fn receive(request: &mut StreamRequest, deadline: Instant) -> Result<(), Refusal> {
    // A fixed timeout would start again with each byte. It does not apply between two requests.
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Refusal::With(Status::REQUEST_TIMEOUT));
    }
    request.set_read_timeout(Some(left))?;
    match request.rfile.fill_more()? {
        0 => Err(Refusal::Disconnected(ErrorKind::ConnectionAborted.into())),
        _ => Ok(()),
    }
}

/// Where the first empty line ends.
fn end(head: &[u8], seen: usize) -> Option<usize> {
    let mut from = seen.saturating_sub(2);
    while let Some(at) = head[from..].iter().position(|byte| *byte == b'\n') {
        from += at + 1;
        match head[from..] {
            [b'\n', ..] => return Some(from + 1),
            [b'\r', b'\n', ..] => return Some(from + 2),
            _ => {}
        }
    }
    None
}

fn too_long(head: &[u8]) -> Status {
    if head[..MAX_LENGTH].contains(&b'\n') {
        Status::FIELDS_TOO_LARGE
    } else {
        Status::URI_TOO_LONG
    }
}

fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let status = match request.parse(head) {
        Ok(Complete(_)) => match Request::new(&request) {
            Ok(request) => return Ok(request),
            Err(InvalidLength) => Status::BAD_REQUEST,
        },
        Ok(Partial) => Status::BAD_REQUEST,
        Err(httparse::Error::TooManyHeaders) => Status::FIELDS_TOO_LARGE,
        Err(httparse::Error::Version) => unknown_version(head),
        Err(_) => Status::BAD_REQUEST,
    };
    Err(Refusal::With(status))
}

/// Distinguishes another version of HTTP from a line that is not a request.
fn unknown_version(head: &[u8]) -> Status {
    let mut words = first_line(head).split(|byte| *byte == b' ');
    match words.nth(2) {
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => {
            Status::VERSION_NOT_SUPPORTED
        }
        _ => Status::BAD_REQUEST,
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut => Refusal::With(Status::REQUEST_TIMEOUT),
            _ => Refusal::Disconnected(error),
        }
    }
}
