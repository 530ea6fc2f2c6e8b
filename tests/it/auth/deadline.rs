//! A handshake of `auth` ends at its deadline, whatever the peer does, and leaves no trace on the
//! socket.
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
use socketserver::prelude::ThreadingTcpServer;

use support::logs::Logs;
use support::{ANY, LONG, connect, eventually};

const SOON: Duration = Duration::from_millis(200);

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("it listens");
    (client, listener.accept().expect("a client is there").0)
}

/// Sends `first`, and then a byte every 20 ms: each read of the other side succeeds long before any
/// timeout.
fn drip(mut stream: impl Write, first: &[u8]) {
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
fn a_silent_peer() {
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
fn a_peer_that_sends_slowly_has_no_more_time() {
    let plain = Plain::new("sesame")
        .challenge_len(1000)
        .handshake_timeout(SOON);
    let both = Multiprocessing::new("sesame").handshake_timeout(SOON);
    // 1,000 bytes would take it 20 s; a message of 200 bytes 4 s.
    let handshakes: [(&[u8], Handshake); 3] = [
        (b"\0", &|stream| is_late(plain.answer(stream))),
        (b"\0\0\0\xc8", &|stream| is_late(both.accept(stream))),
        (b"\0\0\0\xc8", &|stream| is_late(both.connect(stream))),
    ];
    for (first, handshake) in handshakes {
        let (mut ours, theirs) = tcp_pair();
        let dripping = thread::spawn(move || drip(theirs, first));
        assert!(handshake(&mut ours));
        drop(ours);
        dripping.join().expect("it ends with the connection");
    }
}

/// The second half of the handshake has only what the first has left.
#[test]
fn the_deadline_is_for_both_challenges() {
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
            .expect("it is read");
        let mut welcome = [0; 4 + 9];
        theirs.read_exact(&mut welcome).expect("a verdict");
        assert_eq!(&welcome[4..], b"#WELCOME#");
        drip(theirs, b"\0\0\0\xc8");
    });
    // A message of 200 bytes takes it 4 s.
    let limit = Duration::from_secs(1);
    let outcome = Multiprocessing::new("sesame")
        .handshake_timeout(limit)
        .accept(ours);
    assert!(matches!(outcome, Err(AuthError::TimedOut(late)) if late == limit));
    peer.join().expect("it saw a welcome");
}

#[test]
fn a_handler_closes_a_client_that_sends_too_slowly() {
    let logs = Logs::from_here();
    let auth = Plain::new("sesame").handshake_timeout(SOON);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| Ok(auth.challenge(request)?))
        .and_then(Server::serve_in_background)
        .expect("it starts");
    let mut client = connect(server.server_address());
    let address = client.local_addr().expect("it is connected").to_string();
    let mut challenge = [0; 32];
    client.read_exact(&mut challenge).expect("a challenge");
    let dripping = client.try_clone().expect("a socket can be cloned");
    let dripping = thread::spawn(move || {
        for _ in 0..31 {
            let _ = (&dripping).write_all(b"\0");
            thread::sleep(Duration::from_millis(20));
        }
    });
    // Reset or ended: closed, and without an answer.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    dripping.join().expect("writing does not panic");
    eventually("the log names the client", || {
        let lines = logs.with(&format!("from {address}:"));
        lines
            .iter()
            .any(|(_, line)| line.ends_with("the handshake did not finish within 200ms"))
    });
}

#[test]
fn timeouts_are_put_back() {
    let (mut ours, mut theirs) = tcp_pair();
    let before = (Some(Duration::from_secs(7)), Some(Duration::from_secs(8)));
    ours.set_read_timeout(before.0).expect("it can be set");
    ours.set_write_timeout(before.1).expect("it can be set");
    let timeouts = |socket: &TcpStream| {
        (
            socket.read_timeout().unwrap(),
            socket.write_timeout().unwrap(),
        )
    };
    let plain = Plain::new("sesame").handshake_timeout(SOON);
    assert!(is_late(plain.answer(&mut ours)));
    assert_eq!(timeouts(&ours), before);
    theirs.write_all(&[0; 32]).expect("the kernel takes it");
    Plain::new("sesame")
        .answer(&mut ours)
        .expect("a challenge is there");
    assert_eq!(timeouts(&ours), before);
}

#[test]
fn timeouts_of_a_request_are_put_back() {
    let (found, timeouts) = mpsc::channel();
    let auth = Plain::new("sesame");
    let server = ThreadingTcpServer::builder()
        .read_timeout(Duration::from_secs(7))
        .bind_fn(ANY, move |request| {
            auth.challenge(request)?;
            let socket = SockRef::from(&*request);
            Ok(found.send((socket.read_timeout()?, socket.write_timeout()?))?)
        })
        .and_then(Server::serve_in_background)
        .expect("it starts");
    let mut client = connect(server.server_address());
    Plain::new("sesame")
        .answer(&mut client)
        .expect("a challenge comes");
    let after = timeouts.recv_timeout(LONG).expect("the handler goes on");
    assert_eq!(after, (Some(Duration::from_secs(7)), None));
}

#[test]
fn a_deadline_of_zero_and_one_without_end() {
    let plain = Plain::new("sesame");
    let outcome = plain
        .clone()
        .handshake_timeout(Duration::ZERO)
        .answer(&mut (&[0; 32][..], io::sink()));
    assert!(matches!(outcome, Err(AuthError::TimedOut(Duration::ZERO))));
    let (mut ours, mut theirs) = tcp_pair();
    theirs.write_all(&[0; 32]).expect("the kernel takes it");
    plain
        .handshake_timeout(Duration::MAX)
        .answer(&mut ours)
        .expect("a challenge is there");
}

/// What has no timeouts may have ways of its own to fail: that is not the deadline.
#[test]
fn a_timeout_of_the_stream_itself_is_an_error_of_the_stream() {
    struct Late;
    impl Read for Late {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(ErrorKind::TimedOut, "no time left"))
        }
    }
    let outcome = Plain::new("sesame").answer(&mut (Late, io::sink()));
    assert!(matches!(outcome, Err(AuthError::Io(error)) if error.to_string() == "no time left"));
}
