use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::MESSAGE;
use crate::figure::{Figure, Sample};
use crate::poller::{Poller, TIMEOUT};
use crate::recorder::Recorder;
use crate::server::Server;

/// After this time an answer is lost, and the client sends again.
const LOST: Duration = Duration::from_millis(200);
/// How often lost answers are looked for.
const INTERVAL: Duration = Duration::from_millis(100);

struct Client {
    socket: UdpSocket,
    asked: Instant,
}

pub fn measure(server: &Server, clients: usize, duration: Duration) -> Result<Sample> {
    let mut poller = Poller::new()?;
    let mut clients = (0..clients)
        .map(|i| Client::start(server, &poller, i))
        .collect::<Result<Vec<_>>>()?;
    let mut recorder = Recorder::start(server, duration);
    let mut looked = Instant::now();
    while recorder.goes_on()? {
        for i in poller.wait(TIMEOUT)? {
            let client = &mut clients[i];
            if client.socket.recv(&mut [0; MESSAGE.len()]).is_ok() {
                recorder.answered(client.asked);
                client.send()?;
            }
        }
        if looked.elapsed() > INTERVAL {
            looked = Instant::now();
            for client in clients.iter_mut().filter(|it| it.asked.elapsed() > LOST) {
                recorder.failed();
                client.send()?;
            }
        }
    }
    recorder.finish(Figure::Messages)
}

impl Client {
    fn start(server: &Server, poller: &Poller, index: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = server.address();
        socket
            .connect(address)
            .with_context(|| format!("cannot connect to {address}"))?;
        socket.set_nonblocking(true)?;
        poller.add(&socket, index)?;
        let mut client = Self {
            socket,
            asked: Instant::now(),
        };
        client.send()?;
        Ok(client)
    }

    fn send(&mut self) -> Result<()> {
        self.asked = Instant::now();
        self.socket.send(&MESSAGE)?;
        Ok(())
    }
}
