//! `rfile`, tied to `wfile`: what is to be sent is sent before a read that may block.

use std::io::{self, BufRead, Read};

use socketserver::prelude::*;
use socketserver::request::{Reader, Writer};

/// A client may send half of a command and wait for the reply to the one before.
pub struct Tied<'a> {
    rfile: &'a mut Reader,
    wfile: &'a mut Writer,
}

impl<'a> Tied<'a> {
    pub fn new(request: &'a mut StreamRequest) -> Self {
        let (rfile, wfile) = request.split();
        Tied { rfile, wfile }
    }
}

impl Read for Tied<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Tied<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rfile.buffer().is_empty() {
            self.wfile.flush()?;
        }
        self.rfile.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.rfile.consume(amount);
    }
}
