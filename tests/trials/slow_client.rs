//! Clients that send one byte a second (slowloris).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::connect_from;
use crate::figures::Delays;

/// Connections that each send one byte a second until the server closes them.
pub struct SlowClients {
    server: SocketAddr,
    connections: Vec<Option<SlowClient>>,
    /// The time of each connection from the server's first answer to the end.
    pub lifetimes: Delays,
}

struct SlowClient {
    stream: TcpStream,
    /// The time of the server's first answer. Before it, the connection may still wait in the
    /// kernel.
    served: Option<Instant>,
}

impl SlowClients {
    /// The interval in which all connections are polled. Each connection sends its byte in one of
    /// the `STEPS` intervals of a second.
    const STEP: Duration = Duration::from_millis(50);
    const STEPS: usize = 20;

    pub fn connect(count: usize, server: SocketAddr) -> Self {
        let connections = (0..count)
            .map(|_| Some(SlowClient::connect(server)))
            .collect();
        SlowClients {
            server,
            connections,
            lifetimes: Delays::default(),
        }
    }

    /// Sends until all connections have ended, or for `duration`. If `reconnect` is set, a client
    /// whose connection has ended connects again.
    pub fn send_slowly(&mut self, duration: Duration, reconnect: bool) {
        let started = Instant::now();
        for step in 0.. {
            let next = started + Self::STEP * step;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.open_connections() == 0 || started.elapsed() > duration {
                break;
            }
            self.poll(step as usize % Self::STEPS, reconnect);
        }
    }

    /// The number of connections that have not ended.
    pub fn open_connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    fn poll(&mut self, step: usize, reconnect: bool) {
        for (number, slot) in self.connections.iter_mut().enumerate() {
            let Some(client) = slot else { continue };
            if number % Self::STEPS == step {
                // The write fails after the server has closed the connection. The read below shows
                // that.
                let _ = client.stream.write(b".");
            }
            if client.has_ended() {
                if let Some(served) = client.served {
                    self.lifetimes.add(served.elapsed());
                }
                *slot = reconnect.then(|| SlowClient::connect(self.server));
            }
        }
    }
}

impl SlowClient {
    fn connect(server: SocketAddr) -> Self {
        let mut stream =
            connect_from(Ipv4Addr::LOCALHOST, server).expect("the kernel queues the connection");
        stream.write_all(b".").expect("the kernel buffers it");
        stream.set_nonblocking(true).expect("the option is set");
        SlowClient {
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
