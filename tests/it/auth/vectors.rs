//! The answers of `auth` are the HMACs of the test vectors in the RFCs.
#![cfg(feature = "auth")]

#[cfg(all(feature = "auth-md5", feature = "auth-sha1"))]
use socketserver::auth::Digest;
use socketserver::auth::Plain;

/// The answer of the client's side to this challenge.
fn answer(auth: Plain, challenge: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    let length = challenge.len().try_into().expect("the challenge is short");
    auth.challenge_len(length)
        .answer(&mut (challenge, &mut sent))
        .expect("the challenge is complete");
    sent
}

fn hex(digits: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// Keys and data of RFC 4231, cases 1 to 4, 6 and 7, and their HMAC-SHA-256.
#[test]
fn test_vectors_of_rfc_4231() {
    let long = [0xaa; 131];
    let text =
        b"This is a test using a larger than block-size key and a larger than block-size data. \
                 The key needs to be hashed before being used by the HMAC algorithm.";
    let counted: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str); 6] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &counted,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &long,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &long,
            text,
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, data, expected) in cases {
        assert_eq!(answer(Plain::new(key), data), hex(expected));
    }
}

/// Keys and data of RFC 2202, cases 2, 3 and 6 of each digest.
#[test]
#[cfg(all(feature = "auth-md5", feature = "auth-sha1"))]
fn test_vectors_of_rfc_2202() {
    let block = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let cases: [(Digest, &[u8], &[u8], &str); 6] = [
        (
            Digest::Md5,
            b"Jefe",
            b"what do ya want for nothing?",
            "750c783e6ab0b503eaa86e310a5db738",
        ),
        (
            Digest::Md5,
            &[0xaa; 16],
            &[0xdd; 50],
            "56be34521d144c88dbb8c733f0e8b3f6",
        ),
        (
            Digest::Md5,
            &[0xaa; 80],
            block,
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
        ),
        (
            Digest::Sha1,
            b"Jefe",
            b"what do ya want for nothing?",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (
            Digest::Sha1,
            &[0xaa; 20],
            &[0xdd; 50],
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
        ),
        (
            Digest::Sha1,
            &[0xaa; 80],
            block,
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
    ];
    for (digest, key, data, expected) in cases {
        assert_eq!(answer(Plain::new(key).digest(digest), data), hex(expected));
    }
}
