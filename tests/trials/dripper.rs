//! Clients that send a byte a second.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::connect_from;
use crate::figures::Delays;

/// Connections that send a byte a second each for as long as they are let.
pub struct Drippers {
    server: SocketAddr,
    connections: Vec<Option<Dripper>>,
    /// From the first sign of being served to the end.
    pub lives: Delays,
}

struct Dripper {
    stream: TcpStream,
    /// When the server first answered; a server does not know those who still wait in the kernel.
    served: Option<Instant>,
}

impl Drippers {
    /// So often all of them are looked at; each sends its byte in one of these steps of a second.
    const STEP: Duration = Duration::from_millis(50);
    const STEPS: usize = 20;

    pub fn connect(count: usize, server: SocketAddr) -> Self {
        let connections = (0..count).map(|_| Some(Dripper::connect(server))).collect();
        Drippers {
            server,
            connections,
            lives: Delays::default(),
        }
    }

    /// Sends until all have ended, or for so long; those that ended connect again if `again` is set.
    pub fn drip(&mut self, duration: Duration, again: bool) {
        let started = Instant::now();
        for step in 0.. {
            let next = started + Self::STEP * step;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.left() == 0 || started.elapsed() > duration {
                break;
            }
            self.look(step as usize % Self::STEPS, again);
        }
    }

    /// How many have not ended.
    pub fn left(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    fn look(&mut self, step: usize, again: bool) {
        for (number, place) in self.connections.iter_mut().enumerate() {
            let Some(dripper) = place else { continue };
            if number % Self::STEPS == step {
                // Fails once the server has ended the connection, which reading will show.
                let _ = dripper.stream.write(b".");
            }
            if dripper.has_ended() {
                if let Some(served) = dripper.served {
                    self.lives.add(served.elapsed());
                }
                *place = again.then(|| Dripper::connect(self.server));
            }
        }
    }
}

impl Dripper {
    fn connect(server: SocketAddr) -> Self {
        let mut stream = connect_from(Ipv4Addr::LOCALHOST, server).expect("it is queued");
        stream.write_all(b".").expect("the kernel keeps it");
        stream.set_nonblocking(true).expect("it can be set");
        Dripper {
            stream,
            served: None,
        }
    }

    fn has_ended(&mut self) -> bool {
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => true,
            Ok(_) => {
                self.served.get_or_insert_with(Instant::now);
                false
            }
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}
