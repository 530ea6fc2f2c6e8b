use std::fmt;
use std::io::{self, Cursor, Read};

use httparse::{Response, Status};

/// The limit of a header, in bytes, with the interim responses before it.
const MAX_LENGTH: usize = 65_536;
/// The limit of header fields.
const MAX_FIELDS: usize = 256;

/// The status line and the header fields of a response.
pub struct Head {
    pub status: u16,
    reason: String,
    minor_version: u8,
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Reads up to the end of the final response's header and skips interim ones (1xx). Also returns
    /// what was received after it, which is the beginning of the body.
    pub fn read(source: &mut impl Read, peer: &str) -> io::Result<(Head, Cursor<Vec<u8>>)> {
        let (mut received, mut begin) = (Vec::new(), 0);
        loop {
            match parse(&received[begin..], peer)? {
                Some((head, length)) if head.status < 200 => begin += length,
                Some((head, length)) => {
                    let mut rest = Cursor::new(received);
                    rest.set_position((begin + length) as u64);
                    return Ok((head, rest));
                }
                None => receive(source, &mut received, peer)?,
            }
        }
    }

    /// The values of each field with this name, in their order. The name is in lower case.
    pub fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let named = self
            .fields
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    fn new(response: &Response<'_, '_>) -> Self {
        let fields = response.headers.iter();
        Head {
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            minor_version: response.version.unwrap_or_default(),
            fields: fields
                .map(|f| (f.name.to_owned(), f.value.to_vec()))
                .collect(),
        }
    }
}

/// As it was received, one line per field.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = printable(self.reason.as_bytes());
        writeln!(f, "HTTP/1.{} {} {reason}", self.minor_version, self.status)?;
        for (name, value) in &self.fields {
            writeln!(f, "{name}: {}", printable(value))?;
        }
        Ok(())
    }
}

/// Text from the network, without what steers a terminal, reverses the text or ends the line.
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(is_escaped, "\u{FFFD}")
}

fn is_escaped(c: char) -> bool {
    // Behind another character: only at the beginning a combining accent would be escaped.
    !c.is_ascii_graphic() && c != ' ' && format!("-{c}").escape_debug().count() > 2
}

fn parse(received: &[u8], peer: &str) -> io::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    use httparse::Error::{Status as BadStatus, Token, TooManyHeaders, Version};
    let message = match response.parse(received) {
        Ok(Status::Complete(length)) => return Ok(Some((Head::new(&response), length))),
        Ok(Status::Partial) => return Ok(None),
        Err(TooManyHeaders) => {
            format!("the header from {peer} has more than {MAX_FIELDS} fields")
        }
        Err(e @ (Version | BadStatus | Token)) => {
            format!("{peer} does not answer in HTTP: {e}")
        }
        Err(e) => format!("the header from {peer} is malformed: {e}"),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

fn receive(source: &mut impl Read, received: &mut Vec<u8>, peer: &str) -> io::Result<()> {
    if received.len() >= MAX_LENGTH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the header from {peer} does not end within {MAX_LENGTH} bytes"),
        ));
    }
    let left = (MAX_LENGTH - received.len()) as u64;
    let mut piece = [0; 4096];
    let length = source.take(left).read(&mut piece)?;
    received.extend_from_slice(&piece[..length]);
    let problem = match (length, received.len()) {
        (0, 0) => "without an answer",
        (0, _) => "in the middle of its header",
        _ => return Ok(()),
    };
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{peer} closed the connection {problem}"),
    ))
}
