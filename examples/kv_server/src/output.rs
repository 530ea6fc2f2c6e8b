//! Where the pieces of a reply go.

use std::io::{self, Write};

use socketserver::request::Writer;

use super::memory::Memory;

/// A reply that is not longer, in bytes, is one write.
const SHORT: usize = 256;

/// How much of a reply is sent in one write, in bytes, so that it is known whether the client reads.
const MOST: usize = 64 << 10;

/// Collects short pieces. Call `flush` at the end of a reply.
pub struct Output<'a> {
    wfile: &'a mut Writer,
    memory: &'a Memory<'a>,
    pieces: &'a mut Vec<u8>,
}

impl<'a> Output<'a> {
    /// The session keeps `pieces`, so that their memory is allocated once.
    pub fn new(wfile: &'a mut Writer, memory: &'a Memory<'a>, pieces: &'a mut Vec<u8>) -> Self {
        Output {
            wfile,
            memory,
            pieces,
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.pieces.len() + data.len() > SHORT {
            self.flush()?;
        }
        if data.len() <= SHORT {
            self.pieces.extend_from_slice(data);
            return Ok(data.len());
        }
        let sent = self.wfile.write(&data[..data.len().min(MOST)])?;
        self.memory.moved(sent);
        Ok(sent)
    }

    /// Passes the pieces to `wfile`, which is flushed before the next command is waited for.
    fn flush(&mut self) -> io::Result<()> {
        self.wfile.write_all(self.pieces)?;
        self.memory.moved(self.pieces.len());
        self.pieces.clear();
        Ok(())
    }
}
