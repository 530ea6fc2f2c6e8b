use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::connect_all;
use crate::figure::{Figure, Sample};
use crate::recorder::per_cpu;
use crate::server::Server;

const WRITE: usize = 64 << 10;
const READ: usize = 256 << 10;

pub fn measure(server: &Server, clients: usize, duration: Duration) -> Result<Sample> {
    let streams = connect_all(server.address(), clients)?;
    let cpu_before = server.cpu_time()?;
    let start = Instant::now();
    let bytes = thread::scope(|scope| {
        let threads: Vec<_> = streams
            .iter()
            .flat_map(|stream| {
                let sender = scope.spawn(move || send(stream, start + duration).map(|()| 0));
                [sender, scope.spawn(move || receive(stream))]
            })
            .collect();
        let joined = threads
            .into_iter()
            .map(|it| it.join().expect("it does not panic"));
        joined.sum::<Result<usize>>()
    })?;
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let cpu = server.cpu_time()? - cpu_before;
    Ok(Sample::from([
        (Figure::Mebibytes, mebibytes / start.elapsed().as_secs_f64()),
        (Figure::PerCpuSecond, per_cpu(mebibytes, cpu)),
    ]))
}

fn send(mut stream: &TcpStream, end: Instant) -> Result<()> {
    let data = vec![b'x'; WRITE];
    while Instant::now() < end {
        stream.write_all(&data)?;
    }
    Ok(stream.shutdown(Shutdown::Write)?)
}

/// Returns how many bytes have come back.
fn receive(mut stream: &TcpStream) -> Result<usize> {
    let mut buffer = vec![0; READ];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
