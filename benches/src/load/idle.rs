use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{MESSAGE, connect_all};
use crate::figure::{Figure, Sample};
use crate::server::Server;

/// A server may still free memory after the last message.
const SETTLE: Duration = Duration::from_millis(300);

pub fn measure(server: &Server, clients: usize) -> Result<Sample> {
    let (sample, _) = open(server, clients)?;
    Ok(sample)
}

/// Returns the connections too, which are idle.
pub fn open(server: &Server, clients: usize) -> Result<(Sample, Vec<TcpStream>)> {
    let before = server.memory()?;
    let mut streams = connect_all(server.address(), clients)?;
    // After the answer, the server has set up all that it needs for the connection.
    echo(&mut streams)?;
    thread::sleep(SETTLE);
    let memory = server.memory()? - before;
    let sample = Sample::from([
        (Figure::Memory, memory / clients as f64),
        (Figure::Threads, server.threads()?),
    ]);
    Ok((sample, streams))
}

/// Sends a message on each connection, and waits for all answers.
pub fn echo(streams: &mut [TcpStream]) -> Result<()> {
    for stream in &mut *streams {
        stream.write_all(&MESSAGE)?;
    }
    for stream in streams {
        stream.read_exact(&mut [0; MESSAGE.len()])?;
    }
    Ok(())
}
