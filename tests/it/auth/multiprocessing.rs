//! The handshake of Python's `multiprocessing.connection`: with peers of the old and of the new
//! protocol, in both roles, and with peers that violate the protocol.
#![cfg(feature = "auth-md5")]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use socketserver::auth::{AuthError, Multiprocessing};

use super::mp_peer::{Form, Verdicts, receive, send};

use support::fragmented::FragmentedDuplex;

type Outcome = Result<(), AuthError>;

/// A function of the library: `accept` or `connect`.
type Side = fn(&Multiprocessing, FragmentedDuplex<UnixStream>) -> Outcome;

/// The function of a peer: `Form::client` or `Form::listener`.
type Peer = fn(Form, &UnixStream, &[u8]) -> Verdicts;

/// Both functions of the library, each with the matching function of the peer.
const SIDES: [(Side, Peer); 2] = [
    (|auth, stream| auth.accept(stream).map(drop), Form::client),
    (
        |auth, stream| auth.connect(stream).map(drop),
        Form::listener,
    ),
];

/// Runs one side of the library with a peer, whose bytes arrive in pieces of these sizes.
fn run_against<T: Send>(
    auth: &Multiprocessing,
    side: Side,
    sizes: Vec<usize>,
    peer: impl FnOnce(&UnixStream) -> T + Send,
) -> (Outcome, T) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    thread::scope(|scope| {
        let peer = scope.spawn(move || {
            let text = peer(&theirs);
            let _ = theirs.shutdown(Shutdown::Both);
            text
        });
        let outcome = side(auth, FragmentedDuplex::new(ours, sizes));
        (outcome, peer.join().expect("the peer does not panic"))
    })
}

#[test]
fn old_and_new_peers_in_both_roles() {
    let auth = Multiprocessing::new("sesame");
    for form in [Form::Old, Form::New] {
        for (side, peer) in SIDES {
            let (outcome, text) = run_against(&auth, side, vec![64], |stream| {
                peer(form, stream, b"sesame")
            });
            outcome.expect("both sides have the same key");
            assert!(text.ours);
            assert_eq!(text.theirs, b"#WELCOME#");
        }
    }
}

#[test]
fn a_wrong_key_is_refused_by_the_side_that_challenges_first() {
    let auth = Multiprocessing::new("sesame");
    let [(accept, client), (connect, listener)] = SIDES;
    for form in [Form::Old, Form::New] {
        let (outcome, text) =
            run_against(&auth, accept, vec![64], |stream| client(form, stream, b"x"));
        assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
        assert_eq!(text.theirs, b"#FAILURE#");
        let (outcome, text) = run_against(&auth, connect, vec![64], |stream| {
            listener(form, stream, b"x")
        });
        assert!(matches!(outcome, Err(AuthError::Refused)));
        assert!(!text.ours);
    }
}

#[test]
fn without_md5_old_peers_get_a_clear_error() {
    let auth = Multiprocessing::new("sesame").allow_md5(false);
    for (side, peer) in SIDES {
        let (outcome, text) = run_against(&auth, side, vec![64], |stream| {
            peer(Form::Old, stream, b"sesame")
        });
        let error = outcome.expect_err("MD5 is not allowed");
        assert!(matches!(error, AuthError::UnsupportedDigest("md5")));
        assert!(error.to_string().contains("Python before 3.12"), "{error}");
        assert!(!text.ours);
        assert_ne!(text.theirs, b"#WELCOME#");
        let (outcome, _) = run_against(&auth, side, vec![64], |stream| {
            peer(Form::New, stream, b"sesame")
        });
        outcome.expect("new peers do not need MD5");
    }
}

/// The answer of the library's client to this message.
fn answer_to(message: &[u8]) -> (Outcome, Vec<u8>) {
    let (connect, _) = SIDES[1];
    run_against(
        &Multiprocessing::new("sesame"),
        connect,
        vec![64],
        |stream| {
            send(stream, message);
            receive(stream)
        },
    )
}

#[test]
fn a_challenge_names_the_digest_of_its_answer() {
    let md5 = |challenge: &[u8]| super::digests::hmac_md5(b"sesame", challenge);
    // A challenge of this length has the old form, whatever its random bytes are.
    let cases: [(&[u8], Vec<u8>); 4] = [
        (b"01234567890123456789", md5(b"01234567890123456789")),
        (b"{sha256}901234567890", md5(b"{sha256}901234567890")),
        (
            b"without a name, and longer",
            md5(b"without a name, and longer"),
        ),
        (
            b"{md5}01234567890123456789",
            [b"{md5}", &*md5(b"{md5}01234567890123456789")].concat(),
        ),
    ];
    for (challenge, expected) in cases {
        let (_, answer) = answer_to(&[b"#CHALLENGE#", challenge].concat());
        assert_eq!(answer, expected);
    }
}

#[test]
fn protocol_violations_get_no_answer() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "the peer did not send a challenge"),
        (
            b"GET / HTTP/1.0\r\n\r\n",
            "the peer did not send a challenge",
        ),
        (
            b"#CHALLENGE#0123456789012345678",
            "the peer did not send a challenge of at least 20 bytes",
        ),
        (
            b"#CHALLENGE#{sha384}0123456789012345678901234",
            "sha384 is not supported, or its feature is off",
        ),
        (
            b"#CHALLENGE#{\x1b[31m}0123456789012345678901234",
            "the requested digest is not supported, or its feature is off",
        ),
        (
            &[0; 257],
            "the announced message is too long: 257 bytes, 256 at most",
        ),
    ];
    for (message, expected) in cases {
        let (outcome, answer) = answer_to(message);
        assert_eq!(
            outcome
                .expect_err("the message violates the protocol")
                .to_string(),
            expected
        );
        assert_eq!(answer, b"");
    }
}

#[test]
fn a_verdict_is_welcome_or_failure() {
    for (verdict, refused) in [
        (&b"#FAILURE#"[..], true),
        (b"#WELCOME", false),
        (b"", false),
    ] {
        let (connect, _) = SIDES[1];
        let (outcome, ()) = run_against(
            &Multiprocessing::new("sesame"),
            connect,
            vec![64],
            |stream| {
                send(stream, b"#CHALLENGE#01234567890123456789");
                receive(stream);
                send(stream, verdict);
            },
        );
        match outcome.expect_err("no welcome") {
            AuthError::Refused => assert!(refused),
            AuthError::Expected(_) => assert!(!refused),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_digest_of_the_wrong_length_is_refused() {
    let (accept, _) = SIDES[0];
    let answers: [&[u8]; 6] = [b"", &[7; 15], &[7; 17], &[7; 20], &[7; 32], b"{sha256}"];
    for answer in answers {
        let (outcome, verdict) = run_against(
            &Multiprocessing::new("sesame"),
            accept,
            vec![64],
            |stream| {
                receive(stream);
                send(stream, answer);
                receive(stream)
            },
        );
        assert!(matches!(
            outcome,
            Err(AuthError::Expected(_) | AuthError::WrongAnswer)
        ));
        assert_eq!(verdict, b"#FAILURE#");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_key_with_any_fragmentation(
        key in vec(any::<u8>(), 0..100),
        sizes in vec(0..60_usize, 0..20),
        old in any::<bool>(),
        role in 0..2_usize,
    ) {
        let (side, peer) = SIDES[role];
        let form = if old { Form::Old } else { Form::New };
        let auth = Multiprocessing::new(key.clone());
        let (outcome, text) = run_against(&auth, side, sizes, |stream| peer(form, stream, &key));
        prop_assert!(outcome.is_ok() && text.ours);
        prop_assert_eq!(text.theirs, b"#WELCOME#");
    }

    /// A single wrong bit is refused, also in the name of the digest.
    #[test]
    fn any_wrong_bit_is_refused(bit in 0..320_usize, old in any::<bool>()) {
        let (accept, _) = SIDES[0];
        let (outcome, verdict) = run_against(&Multiprocessing::new("sesame"), accept, vec![64], |stream| {
            let message = receive(stream);
            let form = if old { Form::Old } else { Form::New };
            let mut answer = form.response(b"sesame", &message[11..]);
            let bit = bit % (answer.len() * 8);
            answer[bit / 8] ^= 1 << (bit % 8);
            send(stream, &answer);
            receive(stream)
        });
        prop_assert!(outcome.is_err());
        prop_assert_eq!(verdict, b"#FAILURE#");
    }

    #[test]
    fn random_bytes_are_an_error(data in vec(any::<u8>(), 0..400), role in 0..2_usize) {
        let (side, _) = SIDES[role];
        let (outcome, ()) = run_against(&Multiprocessing::new("sesame"), side, vec![64], |stream| {
            let mut stream = stream;
            let _ = stream.write_all(&data);
        });
        prop_assert!(outcome.is_err());
    }
}
