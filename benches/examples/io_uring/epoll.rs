//! A worker on epoll.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::Result;
use crate::server::Inbox;

/// The data of the inbox's events. A connection's is its file descriptor.
const INBOX: u64 = u64::MAX;

pub fn work(inbox: Inbox) -> Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let edges = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(&epoll, &inbox.notified, EventData::new_u64(INBOX), edges)?;
    let mut connections = Vec::new();
    let mut events = Vec::<Event>::with_capacity(256);
    let mut buffer = [0; 4096];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == INBOX {
                for stream in inbox.streams.try_iter() {
                    let fd = stream.as_raw_fd() as usize;
                    epoll::add(&epoll, &stream, EventData::new_u64(fd as u64), edges)?;
                    connections.resize_with(connections.len().max(fd + 1), || None);
                    connections[fd] = Some(stream);
                }
                continue;
            }
            let connection = &mut connections[event.data.u64() as usize];
            let stream = connection.as_ref().expect("it is open: it has events");
            let flags = event.flags;
            if echo(stream, flags != EventFlags::IN, &mut buffer).is_err() {
                *connection = None;
            }
        }
    }
}

/// Echoes what has arrived. It always fits into the socket's send buffer, because the client has one
/// message in flight.
fn echo(stream: &TcpStream, ending: bool, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let n = match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((n, _)) => n,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        send(
            stream,
            &buffer[..n],
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )?;
        // More bytes are a new edge. The end of the stream may have been part of this one.
        if n < buffer.len() && !ending {
            return Ok(());
        }
    }
}
