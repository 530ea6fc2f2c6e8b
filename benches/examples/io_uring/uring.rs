//! A worker on io_uring.

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};
use rustix::event::PollFlags;
use rustix::net::SendFlags;

use crate::Result;
use crate::server::Inbox;

/// The data of the inbox's completions. A receive's is the connection's file descriptor.
const INBOX: u64 = u64::MAX;
/// A send's data is this plus the number of its buffer.
const SEND: u64 = 1 << 32;

/// Enough for the largest load, and allowed by the usual limit of open files.
const FILES: u32 = 1024;
/// One for each message in flight.
const BUFFERS: u16 = 1024;
const BUFFER_SIZE: u32 = 4096;
const BUFFER_GROUP: u16 = 0;

pub fn work(inbox: Inbox) -> Result<()> {
    Uring::new(false)?.run(&inbox)
}

pub fn work_multishot(inbox: Inbox) -> Result<()> {
    Uring::new(true)?.run(&inbox)
}

pub fn new_ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder.setup_cqsize(8192).build(2048)
}

struct Uring {
    ring: IoUring,
    buffers: Buffers,
    /// The index is the file descriptor.
    connections: Vec<Option<TcpStream>>,
    multishot: bool,
}

impl Uring {
    fn new(multishot: bool) -> Result<Self> {
        let ring = new_ring()?;
        if multishot {
            ring.submitter().register_files_sparse(FILES)?;
        }
        Ok(Self {
            buffers: Buffers::register(&ring)?,
            ring,
            connections: Vec::new(),
            multishot,
        })
    }

    fn run(mut self, inbox: &Inbox) -> Result<()> {
        self.poll(inbox)?;
        let mut completions = Vec::new();
        loop {
            self.ring.submit_and_wait(1)?;
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                match completion.user_data() {
                    INBOX => self.add_connections(inbox, &completion)?,
                    SEND.. => self.on_sent(&completion),
                    _ => self.on_received(&completion)?,
                }
            }
        }
    }

    fn poll(&mut self, inbox: &Inbox) -> Result<()> {
        let fd = Fd(inbox.notified.as_raw_fd());
        let poll = opcode::PollAdd::new(fd, PollFlags::IN.bits().into()).multi(true);
        self.push(poll.build().user_data(INBOX))
    }

    fn add_connections(&mut self, inbox: &Inbox, polled: &cqueue::Entry) -> Result<()> {
        if !cqueue::more(polled.flags()) {
            self.poll(inbox)?;
        }
        for stream in inbox.streams.try_iter() {
            let fd = stream.as_raw_fd();
            let len = self.connections.len().max(fd as usize + 1);
            self.connections.resize_with(len, || None);
            self.connections[fd as usize] = Some(stream);
            self.register_file(fd, fd)?;
            self.receive(fd)?;
        }
        Ok(())
    }

    fn receive(&mut self, fd: RawFd) -> Result<()> {
        let receive = if self.multishot {
            opcode::RecvMulti::new(Fd(fd), BUFFER_GROUP).build()
        } else {
            let receive = opcode::Recv::new(Fd(fd), ptr::null_mut(), BUFFER_SIZE);
            let receive = receive.buf_group(BUFFER_GROUP).build();
            receive.flags(Flags::BUFFER_SELECT)
        };
        self.push_on_connection(receive.user_data(fd as u64))
    }

    fn on_received(&mut self, received: &cqueue::Entry) -> Result<()> {
        let fd = received.user_data() as RawFd;
        let Some(buffer) = cqueue::buffer_select(received.flags()) else {
            // The end of the stream, or an error.
            self.register_file(fd, -1)?;
            self.connections[fd as usize] = None;
            return Ok(());
        };
        let bytes = self.buffers.address(buffer);
        let send = opcode::Send::new(Fd(fd), bytes, received.result() as u32)
            .flags(SendFlags::NOSIGNAL.bits() as i32)
            .build();
        self.push_on_connection(send.user_data(SEND + u64::from(buffer)))?;
        if !cqueue::more(received.flags()) {
            self.receive(fd)?;
        }
        Ok(())
    }

    /// Ignores a failure: the connection's receive fails too.
    fn on_sent(&mut self, sent: &cqueue::Entry) {
        self.buffers.give_back(sent.user_data() as u16);
    }

    /// Registered files have their file descriptor as index.
    fn register_file(&self, index: RawFd, fd: RawFd) -> Result<()> {
        if self.multishot {
            let submitter = self.ring.submitter();
            submitter.register_files_update(index as u32, &[fd])?;
        }
        Ok(())
    }

    fn push_on_connection(&mut self, entry: Entry) -> Result<()> {
        if self.multishot {
            self.push(entry.flags(Flags::FIXED_FILE))
        } else {
            self.push(entry)
        }
    }

    fn push(&mut self, entry: Entry) -> Result<()> {
        // SAFETY: entries point to `Buffers` only, which are never freed.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }
}

/// A ring of buffers, of which the kernel takes one when a receive has bytes. They are never freed:
/// the kernel uses them until the end of the process.
struct Buffers {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    tail: u16,
}

impl Buffers {
    fn register(ring: &IoUring) -> Result<Self> {
        let mut buffers = Self {
            entries: pages(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast(),
            bytes: pages(usize::from(BUFFERS) * BUFFER_SIZE as usize),
            tail: 0,
        };
        let (submitter, address) = (ring.submitter(), buffers.entries as u64);
        // SAFETY: at the address are `BUFFERS` entries, which are never freed.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, BUFFER_GROUP, 0)? };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        let offset = usize::from(buffer) * BUFFER_SIZE as usize;
        self.bytes.wrapping_add(offset)
    }

    fn give_back(&mut self, buffer: u16) {
        let index = usize::from(self.tail % BUFFERS);
        // SAFETY: the index is in bounds, and the kernel does not read an entry after the tail.
        let entry = unsafe { &mut *self.entries.add(index) };
        entry.set_addr(self.address(buffer) as u64);
        entry.set_len(BUFFER_SIZE);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is an aligned field of the first entry that the kernel reads atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory, aligned to a page.
fn pages(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 4096).expect("the size is small");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    assert!(!memory.is_null(), "out of memory");
    memory
}
