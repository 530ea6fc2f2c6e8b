//! Messages to all members of a chat, of whom some never read: the others receive all of them in time, and
//! the memory is limited.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};
use socket2::{Domain, Socket, Type};

use crate::clients::{connect_from, host};
use crate::figures::{Delays, mebibytes};
use crate::lingering::POLL_DESCRIPTORS;
use crate::server::Server;
use crate::{exclusive, shared};

use support::process::{cpu_ticks, descriptors, peak_resident, threads};
use support::{LONG, eventually};

/// More messages of this length than the system's buffers and an outbox hold.
const MESSAGES: usize = 1200;
const LENGTH: usize = 4000;
/// The end of each message. The lines of the server itself do not have it.
const MARK: u8 = b'~';
/// How many of the readers measure the delay of each message.
const MEASURING: usize = 10;

#[test]
#[ignore = "full size"]
fn a_broadcast_to_a_thousand_members() {
    let _exclusive = exclusive();
    let delays = broadcast(1000, 100, Duration::from_millis(10));
    assert!(delays.quantile(0.99) < Duration::from_secs(5));
}

#[test]
fn a_broadcast_to_a_few_members() {
    let _shared = shared();
    broadcast(30, 3, Duration::from_millis(3));
}

/// `members` clients of `chat_server`, of whom `deaf` never read, while another one sends with these
/// pauses.
fn broadcast(members: usize, deaf: usize, pause: Duration) -> Delays {
    let server = Server::example("chat_server", "--max-connections 2000");
    let own = descriptors(server.pid()) + POLL_DESCRIPTORS;
    let deaf: Vec<_> = (0..deaf).map(|_| deaf_client(server.address)).collect();
    let readers: Vec<_> = (deaf.len()..members)
        .map(|number| member(number, server.address))
        .collect();
    let sender = member(members, server.address);
    let (delays, peak_threads) = thread::scope(|scope| {
        let begin = Instant::now();
        let (measured, counted) = readers.split_at(MEASURING);
        let counting = scope.spawn(move || receive_all(counted));
        let measure = |reader| scope.spawn(move || measure(reader, begin));
        let measuring: Vec<_> = measured.iter().map(measure).collect();
        send(&sender, pause, begin);
        let peak_threads = threads(server.pid());
        counting.join().expect("all messages arrive");
        let delays = measuring.into_iter().map(|thread| thread.join());
        let mut all = Delays::default();
        for delay in delays.flat_map(|delays| delays.expect("all messages arrive")) {
            all.add(delay);
        }
        (all, peak_threads)
    });
    eventually("all that never read are disconnected", || {
        descriptors(server.pid()) <= own + readers.len() + 1
    });
    let peak = peak_resident(server.pid());
    println!(
        "{MESSAGES} messages of {LENGTH} bytes to {members} members, of whom {} never read: {}; peak of {} of memory, {peak_threads} threads, {} s of processor time; {} were dropped with a full outbox",
        deaf.len(),
        delays.describe(),
        mebibytes(peak),
        cpu_ticks(server.pid()) as f64 / 100.0,
        server
            .log()
            .matches("does not read, and is dropped")
            .count()
    );
    assert!(peak < 100 << 10, "{peak} KiB");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    delays
}

/// A client that never reads. Its receive buffer is small.
fn deaf_client(server: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    let small = socket.set_recv_buffer_size(4096);
    small.expect("the option is set");
    socket.connect(&server.into()).expect("the server accepts");
    socket
}

/// A client that has received its welcome.
fn member(number: usize, server: SocketAddr) -> TcpStream {
    let mut client = connect_from(host(number), server).expect("the server accepts");
    let timeout = client.set_read_timeout(Some(LONG));
    timeout.expect("the timeout is not zero");
    client.read_exact(&mut [0]).expect("the server sends");
    client
}

/// Sends messages that begin with their time in microseconds.
fn send(mut sender: &TcpStream, pause: Duration, begin: Instant) {
    for number in 0..MESSAGES {
        let at = begin + pause * u32::try_from(number).expect("the number fits");
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let mut line = format!("{} ", begin.elapsed().as_micros()).into_bytes();
        line.resize(LENGTH - 2, b'.');
        line.extend([MARK, b'\n']);
        sender.write_all(&line).expect("the server reads");
    }
}

/// The delay of each message.
fn measure(reader: &TcpStream, begin: Instant) -> Vec<Duration> {
    let lines = BufReader::new(reader).lines();
    let lines = lines.map(|line| line.expect("the member is not dropped"));
    let sent = lines.filter(|line| line.ends_with(char::from(MARK)));
    let delay = |line: String| {
        let time = line.split(' ').nth(1).and_then(|time| time.parse().ok());
        begin.elapsed() - Duration::from_micros(time.expect("a time"))
    };
    sent.map(delay).take(MESSAGES).collect()
}

/// Receives on all sockets until each of them has received all messages.
fn receive_all(readers: &[TcpStream]) {
    let poller = Poller::new().expect("a descriptor is free");
    let mut missing = HashMap::new();
    for (key, reader) in readers.iter().enumerate() {
        reader.set_nonblocking(true).expect("the option is set");
        // SAFETY: the sockets live longer than the poller.
        #[allow(unsafe_code)]
        let added = unsafe { poller.add_with_mode(reader, Event::readable(key), PollMode::Level) };
        added.expect("the socket can be polled");
        missing.insert(key, MESSAGES);
    }
    let (mut events, mut buffer) = (Events::new(), vec![0; 65_536]);
    while !missing.is_empty() {
        events.clear();
        let ready = poller.wait(&mut events, Some(LONG)).expect("it can wait");
        assert!(ready > 0, "messages are missing");
        for event in events.iter() {
            let received = match (&readers[event.key]).read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                received => received.expect("the member is not dropped"),
            };
            assert!(received > 0, "a member that reads is dropped");
            let marks = buffer[..received].iter().filter(|byte| **byte == MARK);
            let marks = marks.count();
            let Some(left) = missing.get_mut(&event.key) else {
                continue;
            };
            *left -= marks;
            if *left == 0 {
                missing.remove(&event.key);
            }
        }
    }
}
