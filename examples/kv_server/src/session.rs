//! One client: reads commands and writes replies.

use std::io::{self, Write};
use std::sync::Arc;

use socketserver::prelude::*;

use super::client::Client;
use super::instance::Instance;
use super::memory::Memory;
use super::output::Output;
use super::reply::{Protocol, Reply};
use super::{command, parser};

pub struct Session {
    instance: Arc<Instance>,
    protocol: Protocol,
    /// A short reply, or the pieces of a long one that are not written yet.
    pieces: Vec<u8>,
}

impl Session {
    pub fn new(instance: &Arc<Instance>) -> Self {
        Session {
            instance: Arc::clone(instance),
            protocol: Protocol::Resp2,
            pieces: Vec::new(),
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
            let mut out = Output::new(&mut request.wfile, &memory, &mut self.pieces);
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
