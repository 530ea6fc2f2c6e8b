//! Many clients that connect at the same time, in a process of their own, because a process has a
//! limit of descriptors. Each sends a line and waits for the answer.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};

use crate::load;
use crate::poller::{Poller, TIMEOUT};

const LINE: &[u8] = b"hello\n";
/// A client without an answer gives up.
const LIMIT: Duration = Duration::from_secs(30);
/// So many connect before answers are looked for.
const BATCH: usize = 100;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Served,
    /// The server sent another line than the client's.
    Rejected,
    /// A reset, a timeout, or the end of the stream.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Served => "served",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
        })
    }
}

impl FromStr for Outcome {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "served" => Outcome::Served,
            "rejected" => Outcome::Rejected,
            "failed" => Outcome::Failed,
            _ => bail!("not an outcome: {text:?}"),
        })
    }
}

/// Connects at the first line of input. Then prints `OUTCOME MICROSECONDS` for each client, and `end`.
pub fn run(server: &str, source: &str, count: &str) -> Result<()> {
    let server: SocketAddr = server.parse()?;
    let source: IpAddr = source.parse()?;
    let clients = (0..count.parse()?).map(|_| bind(source));
    let mut clients = Clients {
        sockets: clients.collect::<Result<_>>()?,
        poller: Poller::new()?,
        start: Instant::now(),
        outcomes: Vec::new(),
    };
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    clients.start = Instant::now();
    clients.connect_all(server)?;
    clients.wait_for_all()?;
    let mut output = io::stdout().lock();
    for (outcome, time) in clients.outcomes {
        writeln!(output, "{outcome} {}", time.as_micros())?;
    }
    Ok(writeln!(output, "end")?)
}

struct Clients {
    /// `None` after the outcome.
    sockets: Vec<Option<Client>>,
    poller: Poller,
    start: Instant,
    outcomes: Vec<(Outcome, Duration)>,
}

struct Client {
    socket: Socket,
    is_connected: bool,
}

fn bind(source: IpAddr) -> Result<Option<Client>> {
    let address = SocketAddr::new(source, 0);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    socket
        .bind(&address.into())
        .with_context(|| format!("cannot bind {address}"))?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(Some(Client {
        socket,
        is_connected: false,
    }))
}

impl Clients {
    fn connect_all(&mut self, server: SocketAddr) -> Result<()> {
        for i in 0..self.sockets.len() {
            let client = self.sockets[i].as_ref().expect("it has not begun");
            load::begin_connect(&client.socket, server)?;
            self.poller.add_connecting(&client.socket, i)?;
            if i % BATCH == 0 {
                self.advance(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    fn wait_for_all(&mut self) -> Result<()> {
        while self.outcomes.len() < self.sockets.len() && self.start.elapsed() < LIMIT {
            self.advance(TIMEOUT)?;
        }
        let unanswered = self
            .sockets
            .iter()
            .flatten()
            .map(|_| (Outcome::Failed, LIMIT));
        self.outcomes.extend(unanswered);
        Ok(())
    }

    fn advance(&mut self, timeout: Duration) -> Result<()> {
        for i in self.poller.wait(timeout)? {
            let Some(client) = &mut self.sockets[i] else {
                continue;
            };
            if client.is_connected {
                let outcome = client.receive();
                self.outcomes.push((outcome, self.start.elapsed()));
                self.sockets[i] = None;
            } else if client.send().is_ok() {
                self.poller.connected(&client.socket, i)?;
            } else {
                self.outcomes.push((Outcome::Failed, self.start.elapsed()));
                self.sockets[i] = None;
            }
        }
        Ok(())
    }
}

impl Client {
    fn send(&mut self) -> io::Result<()> {
        self.socket.take_error()?.map_or(Ok(()), Err)?;
        self.is_connected = true;
        self.socket.write_all(LINE)
    }

    fn receive(&mut self) -> Outcome {
        let mut answer = [0; 64];
        match self.socket.read(&mut answer) {
            Err(error) => {
                eprintln!("{error}");
                Outcome::Failed
            }
            Ok(0) => Outcome::Failed,
            Ok(read) if &answer[..read] == LINE => Outcome::Served,
            Ok(_) => Outcome::Rejected,
        }
    }
}
