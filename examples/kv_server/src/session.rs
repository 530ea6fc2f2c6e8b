//! One client: reads commands and writes replies.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use socketserver::prelude::*;
use socketserver::request::Writer;

use super::client::Client;
use super::instance::Instance;
use super::memory::Memory;
use super::reply::{Protocol, Reply};
use super::{command, parser};

pub struct Session {
    instance: Arc<Instance>,
    protocol: Protocol,
}

impl Session {
    pub fn new(instance: &Arc<Instance>) -> Self {
        Session {
            instance: Arc::clone(instance),
            protocol: Protocol::Resp2,
        }
    }
}

impl RequestHandler for Session {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let connection = request.connection()?;
        while request.wait_for_data()? {
            let memory = Memory::new(&self.instance, &connection);
            let reply = match parser::next_command(&mut request.rfile, &memory) {
                Ok(words) if words.is_empty() => continue,
                Ok(words) => {
                    let client = Client {
                        instance: &self.instance,
                        memory: &memory,
                        request,
                    };
                    command::run(&client, &words)
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    log::info!("{}: {error}", request.client_address);
                    Reply::Final(format!("-{error}").into())
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            };
            let out = InPieces(&mut request.wfile, &memory);
            let mut out = BufWriter::with_capacity(SHORT, out);
            reply.write(self.protocol, &mut out)?;
            out.flush()?;
            match reply {
                Reply::Hello(protocol) => self.protocol = protocol,
                Reply::Final(_) => break,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A reply that is not longer, in bytes, is one write.
const SHORT: usize = 256;

/// How much of a reply is sent in one write, in bytes.
const PIECE: usize = 64 << 10;

/// Sends a large reply in pieces, so that it is known whether the client reads.
struct InPieces<'a>(&'a mut Writer, &'a Memory<'a>);

impl Write for InPieces<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.write(&data[..data.len().min(PIECE)])?;
        self.1.moved(sent);
        Ok(sent)
    }

    /// `wfile` is flushed before the next command is waited for.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
