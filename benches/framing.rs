//! Compares `framing` with code that uses `read_exact` and `write_all`, over a TCP connection on
//! loopback.
//!
//! ```text
//! cargo bench --manifest-path benches/Cargo.toml
//! ```
//!
//! The two variants alternate, so that other load on the machine affects both. The output is the
//! number of messages per second and the difference of `framing`, each as the median of all rounds.
//! At the other end, a thread sends or receives bytes in bulk.

use std::env;
use std::hint::black_box;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;
use socketserver::request::Reader;

const FRAMING: Framing = Framing::new(Prefix::U32);

fn main() -> io::Result<()> {
    // Without `--bench` this is a test run, which only checks that the code works.
    let benching = env::args().any(|argument| argument == "--bench");
    let rounds = if benching { 21 } else { 1 };
    println!("{:34}{:>12}{:>12}", "", "by hand", "framing");
    for size in [64, 65_536] {
        let load = Load {
            size,
            count: count(size),
            rounds,
        };
        load.compare(
            "read",
            || load.read(read_by_hand),
            || load.read(read_framing),
        )?;
        load.compare(
            "read from rfile",
            || load.read_in_handler(read_by_hand),
            || load.read_in_handler(read_framing),
        )?;
        load.compare(
            "write",
            || load.write(write_by_hand),
            || load.write(write_framing),
        )?;
    }
    Ok(())
}

/// The number of messages that take a fraction of a second.
fn count(size: usize) -> usize {
    if size < 1024 { 500_000 } else { 10_000 }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Load {
    size: usize,
    count: usize,
    rounds: usize,
}

type Receive<R> = fn(&mut R, usize) -> io::Result<()>;
type Send = fn(&mut TcpStream, &[u8], usize) -> io::Result<()>;

impl Load {
    fn compare(
        &self,
        what: &str,
        by_hand: impl Fn() -> io::Result<f64>,
        framing: impl Fn() -> io::Result<f64>,
    ) -> io::Result<()> {
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push((by_hand()?, framing()?));
        }
        println!(
            "{:34}{:>10.0}/s{:>10.0}/s{:>+8.1} %",
            format!("{what}, {} bytes", self.size),
            median(rounds.iter().map(|(by_hand, _)| *by_hand)),
            median(rounds.iter().map(|(_, framing)| *framing)),
            median(
                rounds
                    .iter()
                    .map(|(by_hand, framing)| 100.0 * (framing / by_hand - 1.0))
            ),
        );
        Ok(())
    }

    /// Messages a second.
    fn rate(&self, start: Instant) -> f64 {
        self.count as f64 / start.elapsed().as_secs_f64()
    }

    fn read(&self, receive: Receive<TcpStream>) -> io::Result<f64> {
        let (mut stream, mut peer) = connection()?;
        thread::scope(|scope| {
            let sending = scope.spawn(|| self.send_bulk(&mut peer));
            let start = Instant::now();
            receive(&mut stream, self.count)?;
            let rate = self.rate(start);
            sending.join().expect("sending does not panic")?;
            Ok(rate)
        })
    }

    fn read_in_handler(&self, receive: Receive<Reader>) -> io::Result<f64> {
        let count = self.count;
        let (report, reported) = mpsc::channel();
        let server = TcpServer::bind_fn("127.0.0.1:0", move |request| {
            let start = Instant::now();
            receive(&mut request.rfile, count)?;
            report.send(start)?;
            Ok(())
        })?;
        let server = server.serve_in_background()?;
        self.send_bulk(&mut TcpStream::connect(server.server_address())?)?;
        let start = reported.recv().map_err(io::Error::other)?;
        Ok(self.rate(start))
    }

    fn write(&self, send: Send) -> io::Result<f64> {
        let (mut stream, mut peer) = connection()?;
        let payload = vec![7; self.size];
        thread::scope(|scope| {
            let receiving = scope.spawn(|| receive_bulk(&mut peer));
            let start = Instant::now();
            send(&mut stream, &payload, self.count)?;
            drop(stream);
            receiving.join().expect("receiving does not panic")?;
            Ok(self.rate(start))
        })
    }

    fn send_bulk(&self, stream: &mut TcpStream) -> io::Result<()> {
        let at_once = (1 << 20) / self.size;
        let mut message = Vec::new();
        FRAMING.write(&mut message, &vec![7; self.size])?;
        let bulk = message.repeat(at_once);
        let mut left = self.count;
        while left > 0 {
            let n = left.min(at_once);
            stream.write_all(&bulk[..n * message.len()])?;
            left -= n;
        }
        Ok(())
    }
}

fn receive_bulk(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn read_by_hand<R: Read>(reader: &mut R, count: usize) -> io::Result<()> {
    let mut message = Vec::new();
    for _ in 0..count {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        message.resize(u32::from_be_bytes(length) as usize, 0);
        reader.read_exact(&mut message)?;
        black_box(&message);
    }
    Ok(())
}

fn read_framing<R: Read>(reader: &mut R, count: usize) -> io::Result<()> {
    let mut message = Vec::new();
    for _ in 0..count {
        assert!(FRAMING.read_into(reader, &mut message)?);
        black_box(&message);
    }
    Ok(())
}

fn write_by_hand(stream: &mut TcpStream, payload: &[u8], count: usize) -> io::Result<()> {
    let mut message = Vec::new();
    for _ in 0..count {
        message.clear();
        message.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        message.extend_from_slice(payload);
        stream.write_all(&message)?;
    }
    Ok(())
}

fn write_framing(stream: &mut TcpStream, payload: &[u8], count: usize) -> io::Result<()> {
    for _ in 0..count {
        FRAMING.write(stream, payload)?;
    }
    Ok(())
}

fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    Ok((stream, listener.accept()?.0))
}
