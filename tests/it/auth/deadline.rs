//! A handshake of `auth` ends at its deadline whatever the peer does, and restores the timeouts of
//! the socket.
#![cfg(feature = "auth")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::Server;
use socketserver::auth::{AuthError, Multiprocessing, Plain};

use support::concurrent::ConcurrentTcpServer;
use support::logs::Logs;
use support::{ANY, LONG, connect, eventually};

const SOON: Duration = Duration::from_millis(200);

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let address = listener.local_addr().expect("the socket is bound");
    let client = TcpStream::connect(address).expect("the server listens");
    (client, listener.accept().expect("a client has connected").0)
}

/// Sends `first`, and then a byte every 20 ms. Each read of the other side succeeds long before any
/// timeout.
fn send_slowly(mut stream: impl Write, first: &[u8]) {
    let mut data = first;
    while stream.write_all(data).is_ok() {
        data = b"\0";
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_late<T>(outcome: Result<T, AuthError>) -> bool {
    matches!(outcome, Err(AuthError::TimedOut(limit)) if limit == SOON)
}

#[test]
fn a_silent_peer_exceeds_the_deadline() {
    let (mut ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
    let plain = Plain::new("sesame").handshake_timeout(SOON);
    assert!(is_late(plain.challenge(&mut ours)));
    assert!(is_late(plain.answer(&mut ours)));
    let both = Multiprocessing::new("sesame").handshake_timeout(SOON);
    assert!(is_late(both.accept(&mut ours)));
    assert!(is_late(both.connect(&mut ours)));
}

type Handshake<'a> = &'a dyn Fn(&mut TcpStream) -> bool;

#[test]
fn a_slow_peer_does_not_extend_the_deadline() {
    let plain = Plain::new("sesame")
        .challenge_len(1000)
        .handshake_timeout(SOON);
    let both = Multiprocessing::new("sesame").handshake_timeout(SOON);
    // The peer needs 20 s for 1,000 bytes, and 4 s for a message of 200 bytes.
    let handshakes: [(&[u8], Handshake); 3] = [
        (b"\0", &|stream| is_late(plain.answer(stream))),
        (b"\0\0\0\xc8", &|stream| is_late(both.accept(stream))),
        (b"\0\0\0\xc8", &|stream| is_late(both.connect(stream))),
    ];
    for (first, handshake) in handshakes {
        let (mut ours, theirs) = tcp_pair();
        let sending = thread::spawn(move || send_slowly(theirs, first));
        assert!(handshake(&mut ours));
        drop(ours);
        sending.join().expect("the thread ends with the connection");
    }
}

/// The second half of the handshake has only the rest of the time.
#[test]
fn the_deadline_includes_both_challenges() {
    let (ours, mut theirs) = tcp_pair();
    let peer = thread::spawn(move || {
        let mut challenge = [0; 4 + 11 + 8 + 40];
        theirs.read_exact(&mut challenge).expect("a challenge");
        let answer = [
            b"{sha256}",
            &*super::digests::hmac_sha256(b"sesame", &challenge[15..]),
        ]
        .concat();
        theirs
            .write_all(&[&[0, 0, 0, 40], &*answer].concat())
            .expect("the data is read");
        let mut welcome = [0; 4 + 9];
        theirs.read_exact(&mut welcome).expect("a verdict");
        assert_eq!(&welcome[4..], b"#WELCOME#");
        send_slowly(theirs, b"\0\0\0\xc8");
    });
    // The peer needs 4 s for a message of 200 bytes.
    let limit = Duration::from_secs(1);
    let outcome = Multiprocessing::new("sesame")
        .handshake_timeout(limit)
        .accept(ours);
    assert!(matches!(outcome, Err(AuthError::TimedOut(late)) if late == limit));
    peer.join().expect("the peer receives a welcome");
}

#[test]
fn a_handler_closes_a_client_that_sends_too_slowly() {
    let logs = Logs::from_here();
    let auth = Plain::new("sesame").handshake_timeout(SOON);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| Ok(auth.challenge(request)?))
        .and_then(Server::serve_in_background)
        .expect("the server can be started");
    let mut client = connect(server.server_address());
    let address = client
        .local_addr()
        .expect("the socket is connected")
        .to_string();
    let mut challenge = [0; 32];
    client.read_exact(&mut challenge).expect("a challenge");
    let sending = client.try_clone().expect("a socket can be cloned");
    let sending = thread::spawn(move || {
        for _ in 0..31 {
            let _ = (&sending).write_all(b"\0");
            thread::sleep(Duration::from_millis(20));
        }
    });
    // A reset or the end of the stream: the connection is closed without an answer.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    sending.join().expect("writing does not panic");
    eventually("the log names the client", || {
        let lines = logs.with(&format!("from {address}:"));
        lines
            .iter()
            .any(|(_, line)| line.ends_with("the handshake did not finish within 200ms"))
    });
}

#[test]
fn timeouts_are_restored() {
    let (mut ours, mut theirs) = tcp_pair();
    let before = (Some(Duration::from_secs(7)), Some(Duration::from_secs(8)));
    ours.set_read_timeout(before.0).expect("the option is set");
    ours.set_write_timeout(before.1).expect("the option is set");
    let timeouts = |socket: &TcpStream| {
        (
            socket.read_timeout().unwrap(),
            socket.write_timeout().unwrap(),
        )
    };
    let plain = Plain::new("sesame").handshake_timeout(SOON);
    assert!(is_late(plain.answer(&mut ours)));
    assert_eq!(timeouts(&ours), before);
    theirs.write_all(&[0; 32]).expect("the kernel buffers it");
    Plain::new("sesame")
        .answer(&mut ours)
        .expect("a challenge arrives");
    assert_eq!(timeouts(&ours), before);
}

#[test]
fn timeouts_of_a_request_are_restored() {
    let (found, timeouts) = mpsc::channel();
    let auth = Plain::new("sesame");
    let server = ConcurrentTcpServer::builder()
        .read_timeout(Duration::from_secs(7))
        .bind_fn(ANY, move |request| {
            auth.challenge(request)?;
            let socket = SockRef::from(&*request);
            Ok(found.send((socket.read_timeout()?, socket.write_timeout()?))?)
        })
        .and_then(Server::serve_in_background)
        .expect("the server can be started");
    let mut client = connect(server.server_address());
    Plain::new("sesame")
        .answer(&mut client)
        .expect("a challenge arrives");
    let after = timeouts.recv_timeout(LONG).expect("the handler continues");
    assert_eq!(after, (Some(Duration::from_secs(7)), None));
}

#[test]
fn a_deadline_of_zero_and_the_maximum_duration() {
    let plain = Plain::new("sesame");
    let outcome = plain
        .clone()
        .handshake_timeout(Duration::ZERO)
        .answer(&mut (&[0; 32][..], io::sink()));
    assert!(matches!(outcome, Err(AuthError::TimedOut(Duration::ZERO))));
    let (mut ours, mut theirs) = tcp_pair();
    theirs.write_all(&[0; 32]).expect("the kernel buffers it");
    plain
        .handshake_timeout(Duration::MAX)
        .answer(&mut ours)
        .expect("a challenge arrives");
}

/// A stream may have timeout errors of its own. They are not errors of the deadline.
#[test]
fn a_timeout_of_the_stream_itself_is_an_error_of_the_stream() {
    struct TimedOutStream;
    impl Read for TimedOutStream {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(ErrorKind::TimedOut, "error of the stream"))
        }
    }
    let outcome = Plain::new("sesame").answer(&mut (TimedOutStream, io::sink()));
    assert!(
        matches!(outcome, Err(AuthError::Io(error)) if error.to_string() == "error of the stream")
    );
}
