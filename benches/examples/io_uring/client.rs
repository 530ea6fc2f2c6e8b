//! The client: two threads, each with its own epoll over half of the connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::sockopt::set_socket_linger;
use rustix::time::Timespec;

use crate::server::Server;
use crate::{MESSAGE, Result};

/// The client fails when no answer arrives for so long.
const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Load {
    pub name: &'static str,
    pub connections: usize,
    /// A new connection for each message.
    pub reconnect: bool,
}

pub struct Sample {
    /// Messages per second.
    pub rate: f64,
    /// Messages per second of the server's processor time.
    pub per_cpu: f64,
    /// Time from sending a message, or from `connect`, to its answer: the 99th percentile in µs.
    pub p99: f64,
}

impl Load {
    pub fn measure(&self, driver: &str, workers: usize, duration: Duration) -> Result<Sample> {
        let mut server = Server::start(driver, workers)?;
        let address = server.address()?;
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let mut stream = connect(address)?;
            // After the answer, a worker has the connection.
            stream.write_all(&MESSAGE)?;
            stream.read_exact(&mut [0; MESSAGE.len()])?;
            streams.push(stream);
        }
        let half = streams.split_off(self.connections / 2);

        let cpu = server.cpu_time()?;
        let start = Instant::now();
        let mut times = thread::scope(|scope| {
            let end = start + duration;
            let thread = scope.spawn(move || self.exchange(half, address, end));
            let times = self.exchange(streams, address, end)?;
            let others = thread.join().expect("the client does not panic")?;
            Result::Ok([times, others].concat())
        })?;
        let elapsed = start.elapsed();
        let cpu = server.cpu_time()? - cpu;

        times.sort_unstable();
        Ok(Sample {
            rate: times.len() as f64 / elapsed.as_secs_f64(),
            per_cpu: times.len() as f64 / cpu.as_secs_f64(),
            p99: times[times.len() * 99 / 100].as_secs_f64() * 1e6,
        })
    }

    /// Sends a message on each connection, and the next after its answer, until `end`. Returns when
    /// all answers have arrived, with the time that each took.
    fn exchange(
        &self,
        mut streams: Vec<TcpStream>,
        address: SocketAddr,
        end: Instant,
    ) -> Result<Vec<Duration>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut sent = vec![Instant::now(); streams.len()];
        for (i, stream) in streams.iter_mut().enumerate() {
            epoll::add(
                &epoll,
                &*stream,
                EventData::new_u64(i as u64),
                EventFlags::IN,
            )?;
            stream.write_all(&MESSAGE)?;
        }
        let mut unanswered = streams.len();
        let mut times = Vec::new();
        let mut events = Vec::<Event>::with_capacity(256);
        let timeout = Timespec::try_from(TIMEOUT)?;
        while unanswered > 0 {
            events.clear();
            if epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout))? == 0 {
                return Err("the server does not answer".into());
            }
            for event in &events {
                let i = event.data.u64() as usize;
                streams[i].read_exact(&mut [0; MESSAGE.len()])?;
                let now = Instant::now();
                times.push(now - sent[i]);
                if now >= end {
                    unanswered -= 1;
                    continue;
                }
                sent[i] = now;
                if self.reconnect {
                    // Closes the old connection, which removes it from the epoll.
                    streams[i] = connect(address)?;
                    epoll::add(&epoll, &streams[i], event.data, EventFlags::IN)?;
                }
                streams[i].write_all(&MESSAGE)?;
            }
        }
        Ok(times)
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Resets at close: connections in TIME_WAIT would use up the ports.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}
