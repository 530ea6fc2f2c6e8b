//! Attackers without the key, between programs that have it.
#![cfg(feature = "auth-md5")]

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use socketserver::auth::{AuthError, Connection, Multiprocessing};

use super::mp_peer::{receive, send};

const CHALLENGE: &[u8] = b"#CHALLENGE#{sha256}the attacker's challenge, of 48 bytes";

fn auth() -> Multiprocessing {
    Multiprocessing::new("sesame")
}

/// The attacker's end of a connection that a client in this process has made, and the client's thread.
fn client() -> (
    UnixStream,
    thread::JoinHandle<Result<Connection<UnixStream>, AuthError>>,
) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    (theirs, thread::spawn(move || auth().connect(ours)))
}

/// Lets the client of a connection prove that it has the key. Returns the client's own challenge.
fn challenge_of(attacked: &UnixStream) -> Vec<u8> {
    send(attacked, CHALLENGE);
    assert!(receive(attacked).starts_with(b"{sha256}"));
    send(attacked, b"#WELCOME#");
    let challenge = receive(attacked);
    assert!(challenge.starts_with(b"#CHALLENGE#"));
    challenge
}

#[test]
fn a_server_without_the_key_cannot_reflect_a_challenge() {
    let (attacked, first) = client();
    let challenge = challenge_of(&attacked);
    // A second client of this process would answer the challenge of the first.
    let (other, second) = client();
    send(&other, &challenge);
    assert_eq!(receive(&other), b"", "the answer would be the right one");
    let refused = second.join().expect("no panic").expect_err("it is refused");
    assert!(
        refused.to_string().contains("own challenge back"),
        "{refused}"
    );
    assert_eq!(io::Error::from(refused).kind(), ErrorKind::PermissionDenied);
    attacked
        .shutdown(Shutdown::Both)
        .expect("the connection is open");
    assert!(first.join().expect("no panic").is_err());
}

#[test]
fn a_challenge_is_known_only_as_long_as_its_answer_is_of_use() {
    let (attacked, first) = client();
    let challenge = challenge_of(&attacked);
    drop(attacked);
    assert!(first.join().expect("no panic").is_err());
    let (other, _second) = client();
    send(&other, &challenge);
    assert!(receive(&other).starts_with(b"{sha256}"));
}

/// The limit of the protocol: a relay looks like the peer itself. So a client and a server of one process
/// work through a proxy, too.
#[test]
fn a_relay_is_not_noticed() {
    let (to_client, client) = client();
    let (to_server, theirs) = UnixStream::pair().expect("a pair of sockets");
    let server = thread::spawn(move || auth().accept(theirs));
    let back = (
        to_server.try_clone().expect("a descriptor is free"),
        to_client.try_clone().expect("a descriptor is free"),
    );
    thread::spawn(move || io::copy(&mut &to_client, &mut &to_server));
    thread::spawn(move || io::copy(&mut &back.0, &mut &back.1));
    let mut client = client.join().expect("no panic").expect("both have the key");
    let mut server = server.join().expect("no panic").expect("both have the key");
    client.send_bytes(b"hello").expect("the server reads");
    let message = server.recv_bytes().expect("the client sends");
    assert_eq!(message, Some(b"hello".to_vec()));
}
