//! The plain form of `auth`: its bytes, which keys are accepted, and what is never shown.
#![cfg(feature = "auth")]

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use socketserver::auth::{AuthError, Connection, Digest, Multiprocessing, Plain};

use super::digests::hmac_sha256;

use support::choppy::ChoppyDuplex;

/// The server's side, with a client that makes its bytes of the challenge and then closes. What
/// is left on the stream comes back too.
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
            // Fails when the server has seen enough, and closed.
            let _ = theirs.write_all(&client(&challenge));
        });
        let outcome = auth.challenge(&mut ChoppyDuplex::new(&mut ours, sizes));
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).expect("the client closes");
        (outcome, rest)
    })
}

/// How many bytes of an answer or a challenge did not come.
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
        let error = io::Error::from(outcome.expect_err("nothing is proven"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn an_empty_key_is_a_key() {
    let auth = Plain::new("");
    let (outcome, _) = challenge(&auth, 32, vec![32], |sent| hmac_sha256(b"", sent));
    assert!(outcome.is_ok());
    let (outcome, _) = challenge(&auth, 32, vec![32], |sent| hmac_sha256(b"x", sent));
    assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
}

/// The answer of a shorter digest is waited for to its end, that of a longer one is wrong at once.
#[test]
#[cfg(feature = "auth-sha1")]
fn another_digest_is_no_answer() {
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
fn nothing_is_shown() {
    for shown in [
        format!("{:?}", Plain::new("sesame")),
        format!("{:?}", Multiprocessing::new("sesame")),
        format!("{:?}", Connection::new((Cursor::new("sesame"), io::sink()))),
    ] {
        assert!(
            !shown.contains("sesame") && !shown.contains("115"),
            "{shown}"
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
        .expect_err("no digest has such a name");
    assert_eq!(
        error.to_string(),
        "the requested digest is not supported, or its feature is off"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Exactly the answer is taken from the stream, whatever comes with it and however it arrives.
    #[test]
    fn the_right_answer_in_any_pieces(
        key in vec(any::<u8>(), 0..100),
        length in 1..100_usize,
        sizes in vec(0..40_usize, 0..20),
        text in vec(any::<u8>(), 0..50),
    ) {
        let auth = Plain::new(key.clone()).challenge_len(length.try_into().expect("small"));
        let (outcome, rest) = challenge(&auth, length, sizes, |sent| {
            [hmac_sha256(&key, sent), text.clone()].concat()
        });
        prop_assert!(outcome.is_ok());
        prop_assert_eq!(rest, text);
    }

    #[test]
    fn a_wrong_answer_in_any_pieces(bit in 0..256_usize, sizes in vec(0..40_usize, 0..20)) {
        let (outcome, _) = challenge(&Plain::new("sesame"), 32, sizes, |sent| {
            let mut answer = hmac_sha256(b"sesame", sent);
            answer[bit / 8] ^= 1 << (bit % 8);
            answer
        });
        prop_assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
    }

    #[test]
    fn the_answer_to_another_key(key in vec(any::<u8>(), 0..100)) {
        prop_assume!(!key.starts_with(b"sesame"));
        let auth = Plain::new("sesame");
        let (outcome, _) = challenge(&auth, 32, vec![], |sent| hmac_sha256(&key, sent));
        prop_assert!(matches!(outcome, Err(AuthError::WrongAnswer)));
    }

    #[test]
    fn an_answer_cut_short(length in 0..32_usize, sizes in vec(0..40_usize, 0..20)) {
        let (outcome, _) = challenge(&Plain::new("sesame"), 32, sizes, |sent| {
            hmac_sha256(b"sesame", sent)[..length].to_vec()
        });
        prop_assert_eq!(missing(outcome), Some(32 - length));
    }

    #[test]
    fn a_challenge_cut_short(length in 0..32_usize) {
        let mut sent = Vec::new();
        let short = vec![7; length];
        let outcome = Plain::new("sesame").answer(&mut (&short[..], &mut sent));
        prop_assert_eq!(missing(outcome), Some(32 - length));
        prop_assert!(sent.is_empty());
    }
}
