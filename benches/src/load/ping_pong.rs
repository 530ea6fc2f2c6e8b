use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{MESSAGE, connect_all};
use crate::figure::{Figure, Sample};
use crate::poller::{Poller, TIMEOUT};
use crate::recorder::Recorder;
use crate::server::Server;

struct Client {
    stream: TcpStream,
    asked: Instant,
    /// How many bytes of the answer have arrived.
    received: usize,
}

pub fn measure(server: &Server, clients: usize, duration: Duration) -> Result<Sample> {
    let mut poller = Poller::new()?;
    let mut clients = connect_all(server.address(), clients)?
        .into_iter()
        .enumerate()
        .map(|(i, stream)| Client::start(stream, &poller, i).map(Some))
        .collect::<Result<Vec<_>>>()?;
    let mut recorder = Recorder::start(server, duration);
    while recorder.goes_on()? {
        for i in poller.wait(TIMEOUT)? {
            let Some(client) = &mut clients[i] else {
                continue;
            };
            if client.receive(&mut recorder).is_err() {
                recorder.failed();
                clients[i] = None;
            }
        }
    }
    recorder.finish(Figure::Messages)
}

impl Client {
    fn start(mut stream: TcpStream, poller: &Poller, index: usize) -> Result<Self> {
        poller.add(&stream, index)?;
        stream.set_nonblocking(true)?;
        stream.write_all(&MESSAGE)?;
        Ok(Self {
            stream,
            asked: Instant::now(),
            received: 0,
        })
    }

    fn receive(&mut self, recorder: &mut Recorder) -> std::io::Result<()> {
        match self.stream.read(&mut [0; MESSAGE.len()]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.received += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.received >= MESSAGE.len() {
            self.received = 0;
            self.asked = recorder.answered(self.asked);
            // It always fits: the server has read what was sent before.
            self.stream.write_all(&MESSAGE)?;
        }
        Ok(())
    }
}
