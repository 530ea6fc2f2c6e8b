//! The plain form of `auth`: the bytes of the protocol, the accepted keys, and the secrets that are
//! never printed.
#![cfg(feature = "auth")]

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use socketserver::auth::{AuthError, Connection, Digest, Multiprocessing, Plain};

use super::digests::hmac_sha256;

use support::fragmented::FragmentedDuplex;

/// Runs the server's side with a client that computes its answer from the challenge and then
/// closes. Also returns the rest of the stream.
fn challenge(
    auth: &Plain,
    length: usize,
    sizes: Vec<usize>,
    client: impl FnOnce(&[u8]) -> Vec<u8> + Send,
) -> (Result<(), AuthError>, Vec<u8>) {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut challenge = vec![0; length];
            theirs.read_exact(&mut challenge).expect("a challenge");
            // Fails if the server has already closed the connection.
            let _ = theirs.write_all(&client(&challenge));
        });
        let outcome = auth.challenge(&mut FragmentedDuplex::new(&mut ours, sizes));
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).expect("the client closes");
        (outcome, rest)
    })
}

/// The number of missing bytes of an answer or a challenge.
fn missing(outcome: Result<(), AuthError>) -> Option<usize> {
    match outcome {
        Err(AuthError::Truncated { missing }) => Some(missing),
        _ => None,
    }
}

#[test]
fn each_connection_gets_a_challenge_of_its_own() {
    let auth = Plain::new("sesame");
    let mut seen = Vec::new();
    for length in [1, 16, 32, 65_535] {
        for _ in 0..2 {
            let auth = auth.clone().challenge_len(length);
            let mut sent = Vec::new();
            let outcome = auth.challenge(&mut (io::empty(), &mut sent));
            assert!(matches!(outcome, Err(AuthError::Truncated { missing: 32 })));
            assert_eq!(sent.len(), usize::from(length));
            seen.push(sent);
        }
    }
    let long = seen.split_off(2);
    assert!(long.chunks(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn an_empty_challenge_is_refused() {
    let auth = Plain::new("sesame").challenge_len(0);
    let mut stream = (io::empty(), io::sink());
    for outcome in [auth.challenge(&mut stream), auth.answer(&mut stream)] {
        let error = io::Error::from(outcome.expect_err("an empty challenge is refused"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn an_empty_key_is_allowed() {
    let auth = Plain::new("");
    let (outcome, _) = challenge(&auth, 32, vec![32], |sent| hmac_sha256(b"", sent));
    assert!(outcome.is_ok());
    let (outcome, _) = challenge(&auth, 32, vec![32], |sent| hmac_sha256(b"x", sent));
    assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
}

/// If the client's digest is shorter, the server waits for the rest of the answer. If it is longer,
/// the answer is wrong at once.
#[test]
#[cfg(feature = "auth-sha1")]
fn the_answer_of_another_digest_is_refused() {
    let sha256 = Plain::new("sesame");
    let (outcome, _) = challenge(&sha256, 32, vec![64], |sent| {
        super::digests::hmac_sha1(b"sesame", sent)
    });
    assert!(matches!(outcome, Err(AuthError::Truncated { missing: 12 })));
    let sha1 = sha256.digest(Digest::Sha1);
    let (outcome, _) = challenge(&sha1, 32, vec![64], |sent| hmac_sha256(b"sesame", sent));
    assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
}

#[test]
fn debug_output_contains_no_key() {
    for printed in [
        format!("{:?}", Plain::new("sesame")),
        format!("{:?}", Multiprocessing::new("sesame")),
        format!("{:?}", Connection::new((Cursor::new("sesame"), io::sink()))),
    ] {
        assert!(
            !printed.contains("sesame") && !printed.contains("115"),
            "{printed}"
        );
    }
}

#[test]
fn errors_become_io_errors_of_their_kind() {
    let kind = |error: AuthError| io::Error::from(error).kind();
    assert_eq!(kind(AuthError::WrongAnswer), ErrorKind::PermissionDenied);
    assert_eq!(
        kind(AuthError::Expected("a digest")),
        ErrorKind::InvalidData
    );
    assert_eq!(
        kind(AuthError::Io(ErrorKind::BrokenPipe.into())),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn digests_have_the_names_of_hashlib() {
    for name in ["sha256", "sha1", "md5"] {
        match name.parse::<Digest>() {
            Ok(digest) => assert_eq!(digest.to_string(), name),
            Err(error) => assert!(error.to_string().contains(name), "{error}"),
        }
    }
    let error = "se\x1bsame"
        .parse::<Digest>()
        .expect_err("the name is unknown");
    assert_eq!(
        error.to_string(),
        "the requested digest is not supported, or its feature is off"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The server reads exactly the answer from the stream, whatever follows it and however it is
    /// fragmented.
    #[test]
    fn the_right_answer_with_any_fragmentation(
        key in vec(any::<u8>(), 0..100),
        length in 1..100_usize,
        sizes in vec(0..40_usize, 0..20),
        text in vec(any::<u8>(), 0..50),
    ) {
        let auth = Plain::new(key.clone()).challenge_len(length.try_into().expect("the length fits"));
        let (outcome, rest) = challenge(&auth, length, sizes, |sent| {
            [hmac_sha256(&key, sent), text.clone()].concat()
        });
        prop_assert!(outcome.is_ok());
        prop_assert_eq!(rest, text);
    }

    #[test]
    fn a_wrong_answer_with_any_fragmentation(bit in 0..256_usize, sizes in vec(0..40_usize, 0..20)) {
        let (outcome, _) = challenge(&Plain::new("sesame"), 32, sizes, |sent| {
            let mut answer = hmac_sha256(b"sesame", sent);
            answer[bit / 8] ^= 1 << (bit % 8);
            answer
        });
        prop_assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
    }

    #[test]
    fn the_answer_of_another_key_is_refused(key in vec(any::<u8>(), 0..100)) {
        prop_assume!(!key.starts_with(b"sesame"));
        let auth = Plain::new("sesame");
        let (outcome, _) = challenge(&auth, 32, vec![], |sent| hmac_sha256(&key, sent));
        prop_assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
    }

    #[test]
    fn a_truncated_answer_is_an_error(length in 0..32_usize, sizes in vec(0..40_usize, 0..20)) {
        let (outcome, _) = challenge(&Plain::new("sesame"), 32, sizes, |sent| {
            hmac_sha256(b"sesame", sent)[..length].to_vec()
        });
        prop_assert_eq!(missing(outcome), Some(32 - length));
    }

    #[test]
    fn a_truncated_challenge_is_an_error(length in 0..32_usize) {
        let mut sent = Vec::new();
        let short = vec![7; length];
        let outcome = Plain::new("sesame").answer(&mut (&short[..], &mut sent));
        prop_assert_eq!(missing(outcome), Some(32 - length));
        prop_assert!(sent.is_empty());
    }
}
