//! Receives a message: all up to a line with a dot only.

use std::io::{self, BufRead};

use super::reply::Reply;

/// Where in a line the next byte is.
#[derive(Clone, Copy)]
enum Place {
    Start,
    /// After a dot at the start, which is removed.
    Dot,
    /// After that dot and CR.
    DotCr,
    Inside,
    Cr,
    /// After the last line.
    End,
}

struct Message {
    text: Vec<u8>,
    max_size: usize,
    place: Place,
    is_too_large: bool,
    has_bare: bool,
}

/// Reads a message to its end, also if the reply is an error: otherwise the rest would count as commands.
///
/// Only CR and LF together end a line. A server that accepted a LF or CR alone, and passed it on as it is or as the
/// end of a line, would see other ends of messages than the sender's server: so a message can be hidden in
/// another one, with a sender who has not sent it (SMTP smuggling, CVE-2023-51764, CVE-2023-51766).
pub fn receive(rfile: &mut impl BufRead, max_size: usize) -> io::Result<Result<Vec<u8>, Reply>> {
    let mut message = Message {
        text: Vec::new(),
        max_size,
        place: Place::Start,
        is_too_large: false,
        has_bare: false,
    };
    while !matches!(message.place, Place::End) {
        let data = rfile.fill_buf()?;
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let used = message.add(data);
        rfile.consume(used);
    }
    Ok(message.result())
}

impl Message {
    /// Returns how many bytes belong to the message.
    fn add(&mut self, data: &[u8]) -> usize {
        for (index, byte) in data.iter().enumerate() {
            self.place = self.step(*byte);
            if matches!(self.place, Place::End) {
                return index + 1;
            }
        }
        data.len()
    }

    fn step(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::DotCr, b'\n') => return Place::End,
            (Place::Start, b'.') => return Place::Dot,
            (Place::Dot, b'\r') => return Place::DotCr,
            (Place::Cr, b'\n') => {
                self.push(byte);
                return Place::Start;
            }
            (Place::Cr | Place::DotCr, _) | (_, b'\n') => self.has_bare = true,
            _ => {}
        }
        self.push(byte);
        match byte {
            b'\r' => Place::Cr,
            _ => Place::Inside,
        }
    }

    /// Once it is too large, or has a bare CR or LF, nothing of it is kept.
    fn push(&mut self, byte: u8) {
        self.is_too_large |= self.text.len() >= self.max_size;
        if self.is_too_large || self.has_bare {
            self.text = Vec::new();
        } else {
            self.text.push(byte);
        }
    }

    fn result(self) -> Result<Vec<u8>, Reply> {
        if self.has_bare {
            return Err(Reply::new(550, "it has a CR or LF alone"));
        }
        if self.is_too_large {
            return Err(Reply::new(552, "the message is too large"));
        }
        Ok(self.text)
    }
}
