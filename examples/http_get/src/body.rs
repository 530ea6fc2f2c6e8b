//! Where the body ends: RFC 9112, section 6.3.

use std::io::{self, BufRead, Read};

use crate::chunks::Chunks;
use crate::head::{Head, printable};

/// The body of the response, read up to its end; `None` if a response of this status has none.
/// Reading fails with `UnexpectedEof` if the connection ends before the body does.
pub fn decode<'a>(
    head: &Head,
    source: impl BufRead + 'a,
    peer: &'a str,
) -> io::Result<Option<Box<dyn Read + 'a>>> {
    if matches!(head.status, 204 | 304) {
        return Ok(None);
    }
    let coding = list(head, "transfer-encoding");
    if coding.is_empty() {
        return Ok(Some(match content_length(head, peer)? {
            Some(length) => Box::new(Sized::new(source, length, peer)),
            None => Box::new(source),
        }));
    }
    // It takes precedence over Content-Length.
    if coding.len() == 1 && coding[0].eq_ignore_ascii_case("chunked") {
        return Ok(Some(Box::new(Chunks::new(source, peer))));
    }
    let coding = coding.join(", ");
    Err(invalid(format!(
        "{peer} sends the body in a transfer coding not known here: {coding}"
    )))
}

/// The elements of a list field, which may be sent in several lines.
fn list(head: &Head, name: &'static str) -> Vec<String> {
    let lines: Vec<_> = head.values(name).map(printable).collect();
    let elements = lines.iter().flat_map(|line| line.split(','));
    elements.map(|element| element.trim().to_owned()).collect()
}

/// Several fields with the same value count as one. Digits only: Rust's parser accepts a sign too.
fn content_length(head: &Head, peer: &str) -> io::Result<Option<u64>> {
    let values = list(head, "content-length");
    let Some(first) = values.first() else {
        return Ok(None);
    };
    let digits = first.bytes().all(|byte| byte.is_ascii_digit());
    let agreed = digits && values.iter().all(|value| value == first);
    let length = if agreed { first.parse().ok() } else { None };
    let wrong = || {
        invalid(format!(
            "{peer} sent an invalid Content-Length: {}",
            values.join(", ")
        ))
    };
    length.map(Some).ok_or_else(wrong)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A body whose length is known in advance.
struct Sized<'a, R> {
    source: io::Take<R>,
    length: u64,
    peer: &'a str,
}

impl<'a, R: Read> Sized<'a, R> {
    fn new(source: R, length: u64, peer: &'a str) -> Self {
        Sized {
            source: source.take(length),
            length,
            peer,
        }
    }
}

impl<R: Read> Read for Sized<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let received = or_end(self.source.read(out))?;
        let missing = self.source.limit();
        if received == 0 && missing > 0 && !out.is_empty() {
            let (peer, length) = (self.peer, self.length);
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "the body from {peer} ended after {} of {length} bytes",
                    length - missing
                ),
            ));
        }
        Ok(received)
    }
}

/// Without TLS's `close_notify` the end is an error. A caller that knows how much is missing treats it
/// as any other end, and reports what is missing.
pub fn or_end(received: io::Result<usize>) -> io::Result<usize> {
    match received {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    }
}
