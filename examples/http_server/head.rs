//! A request's header: received within bounds, then parsed.

use std::io::{self, BufRead, ErrorKind};
use std::time::{Duration, Instant};

use httparse::Status::{Complete, Partial};
use socketserver::StreamRequest;
use socketserver::request::Reader;

use super::request::Request;
use super::status::Status;

/// How long a header may take, from its first byte.
const TIME: Duration = Duration::from_secs(10);
/// The longest header that is taken, in bytes.
const MAX_LENGTH: usize = 65_536;
/// The most fields that are taken.
const MAX_FIELDS: usize = 100;

/// Why there is no request.
pub enum Refusal {
    /// The client is told so, and the connection ends.
    With(Status),
    /// There is nobody to tell.
    Gone(io::Error),
}

/// Reads a request's header and leaves what is behind it: a body, or the next request. What arrives
/// in one piece, as it mostly does, costs no more than one read.
pub fn read(request: &mut StreamRequest) -> Result<Request, Refusal> {
    let deadline = Instant::now() + TIME;
    let mut head = Vec::new();
    let mut is_slow = false;
    while !receive(&mut request.rfile, &mut head)? {
        // A fixed timeout would begin anew with each byte.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refusal::With(Status::REQUEST_TIMEOUT));
        }
        request.set_read_timeout(Some(left))?;
        is_slow = true;
    }
    if is_slow {
        request.set_read_timeout(None)?;
    }
    parse(&head)
}

/// Takes what has arrived, up to the header's end. Returns whether that is there.
fn receive(rfile: &mut Reader, head: &mut Vec<u8>) -> Result<bool, Refusal> {
    let received = rfile.fill_buf()?;
    if received.is_empty() {
        return Err(Refusal::Gone(ErrorKind::ConnectionAborted.into()));
    }
    let before = head.len();
    head.extend_from_slice(received);
    let end = end(head, before);
    head.truncate(end.unwrap_or(head.len()));
    rfile.consume(head.len() - before);
    if head.len() > MAX_LENGTH {
        return Err(Refusal::With(too_long(head)));
    }
    Ok(end.is_some())
}

/// Where the first empty line ends. What is before `seen` was looked at already.
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
        Ok(Complete(_)) => return Ok(Request::new(&request)),
        Ok(Partial) => Status::BAD_REQUEST,
        Err(httparse::Error::TooManyHeaders) => Status::FIELDS_TOO_LARGE,
        Err(httparse::Error::Version) => unknown_version(head),
        Err(_) => Status::BAD_REQUEST,
    };
    Err(Refusal::With(status))
}

/// Another version of HTTP, or a line that is no request at all.
fn unknown_version(head: &[u8]) -> Status {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\n').next();
    let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
    match words.nth(2).map(<[u8]>::trim_ascii_end) {
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
            _ => Refusal::Gone(error),
        }
    }
}
