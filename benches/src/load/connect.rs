use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::{Domain, Socket, Type};

use super::{MESSAGE, begin_connect, reset_at_close};
use crate::figure::{Figure, Sample};
use crate::poller::{Poller, TIMEOUT};
use crate::recorder::Recorder;
use crate::server::Server;

struct Client {
    stream: TcpStream,
    started: Instant,
    is_connected: bool,
    /// How many bytes of the answer have arrived.
    received: usize,
}

pub fn measure(server: &Server, clients: usize, duration: Duration) -> Result<Sample> {
    let mut poller = Poller::new()?;
    let address = server.address();
    let mut clients = (0..clients)
        .map(|i| Client::start(address, &poller, i))
        .collect::<Result<Vec<_>>>()?;
    let mut recorder = Recorder::start(server, duration);
    while recorder.goes_on()? {
        for i in poller.wait(TIMEOUT)? {
            match clients[i].advance(&poller, i) {
                Ok(false) => continue,
                Ok(true) => {
                    recorder.answered(clients[i].started);
                }
                Err(_) => recorder.failed(),
            }
            clients[i] = Client::start(address, &poller, i)?;
        }
    }
    recorder.finish(Figure::Connections)
}

impl Client {
    fn start(address: SocketAddr, poller: &Poller, index: usize) -> Result<Self> {
        let started = Instant::now();
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        begin_connect(&socket, address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        reset_at_close(&stream)?;
        poller.add_connecting(&stream, index)?;
        Ok(Self {
            stream,
            started,
            is_connected: false,
            received: 0,
        })
    }

    /// Does the next step, and returns whether the answer has arrived.
    fn advance(&mut self, poller: &Poller, index: usize) -> Result<bool> {
        if !self.is_connected {
            self.stream.take_error()?.map_or(Ok(()), Err)?;
            self.stream.write_all(&MESSAGE)?;
            poller.connected(&self.stream, index)?;
            self.is_connected = true;
            return Ok(false);
        }
        match self.stream.read(&mut [0; MESSAGE.len()]) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(read) => self.received += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.received >= MESSAGE.len())
    }
}
