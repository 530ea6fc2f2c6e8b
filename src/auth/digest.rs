use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{AuthError, Key};

/// The hash under the HMAC. `FromStr` and `Display` use the names of Python's `hashlib`: `sha256`.
///
/// ```
/// use socketserver::auth::Digest;
///
/// assert_eq!("sha256".parse::<Digest>()?, Digest::Sha256);
/// assert_eq!(Digest::default().to_string(), "sha256");
/// # Ok::<(), socketserver::auth::AuthError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Digest {
    /// SHA-256: 32 bytes. The default.
    #[default]
    Sha256,
    /// SHA-1: 20 bytes. For old peers only.
    #[cfg(feature = "auth-sha1")]
    Sha1,
    /// MD5: 16 bytes. For old peers only.
    #[cfg(feature = "auth-md5")]
    Md5,
}

impl Digest {
    /// The length of an answer, in bytes.
    pub fn output_len(self) -> usize {
        match self {
            Digest::Sha256 => 32,
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => 20,
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => 16,
        }
    }

    /// Its name in Python's `hashlib`.
    pub fn name(self) -> &'static str {
        match self {
            Digest::Sha256 => "sha256",
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => "sha1",
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => "md5",
        }
    }

    /// The right answer to `message`.
    pub(super) fn answer(self, key: &Key, message: &[u8]) -> Vec<u8> {
        match self {
            Digest::Sha256 => answer::<Hmac<Sha256>>(key, message),
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => answer::<Hmac<sha1::Sha1>>(key, message),
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => answer::<Hmac<md5::Md5>>(key, message),
        }
    }

    /// Whether `given` is the right answer to `message`. Takes as long for a wrong one, whatever is
    /// wrong in it.
    pub(super) fn verify(self, key: &Key, message: &[u8], given: &[u8]) -> Result<(), AuthError> {
        let right = match self {
            Digest::Sha256 => verify::<Hmac<Sha256>>(key, message, given),
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => verify::<Hmac<sha1::Sha1>>(key, message, given),
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => verify::<Hmac<md5::Md5>>(key, message, given),
        };
        right.then_some(()).ok_or(AuthError::WrongAnswer)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Fails with [`AuthError::UnsupportedDigest`], for the digests of features that are off too.
impl FromStr for Digest {
    type Err = AuthError;

    fn from_str(name: &str) -> Result<Self, AuthError> {
        match name {
            "sha256" => Ok(Digest::Sha256),
            #[cfg(feature = "auth-sha1")]
            "sha1" => Ok(Digest::Sha1),
            #[cfg(feature = "auth-md5")]
            "md5" => Ok(Digest::Md5),
            other => Err(unsupported(other.as_bytes())),
        }
    }
}

/// The error for the digest of this name, taken from a list of our own, so that no error repeats
/// what a peer has sent.
pub(super) fn unsupported(name: &[u8]) -> AuthError {
    const KNOWN: [&str; 8] = [
        "md5", "sha1", "sha224", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512",
    ];
    let known = KNOWN.into_iter().find(|known| known.as_bytes() == name);
    AuthError::UnsupportedDigest(known.unwrap_or("asked for"))
}

fn answer<M: Mac + KeyInit>(key: &Key, message: &[u8]) -> Vec<u8> {
    let bytes = mac::<M>(key, message).finalize().into_bytes();
    bytes.as_slice().to_vec()
}

fn verify<M: Mac + KeyInit>(key: &Key, message: &[u8], given: &[u8]) -> bool {
    mac::<M>(key, message).verify_slice(given).is_ok()
}

fn mac<M: Mac + KeyInit>(key: &Key, message: &[u8]) -> M {
    M::new_from_slice(key.bytes())
        .expect("HMAC takes a key of any length")
        .chain_update(message)
}
