use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::AuthError;

/// The hash function of the HMAC. `FromStr` and `Display` use the names of Python's `hashlib`:
/// `sha256`.
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
    /// SHA-1: 20 bytes. Only for old peers. Feature `auth-sha1`.
    #[cfg(feature = "auth-sha1")]
    Sha1,
    /// MD5: 16 bytes. Only for old peers. Feature `auth-md5`.
    #[cfg(feature = "auth-md5")]
    Md5,
}

impl Digest {
    /// The length of an answer in bytes.
    #[doc(alias = "digest_size")]
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

    /// The correct answer to `message`.
    pub(super) fn answer(self, key: &Key, message: &[u8]) -> Vec<u8> {
        match self {
            Digest::Sha256 => answer::<Hmac<Sha256>>(key, message),
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => answer::<Hmac<sha1::Sha1>>(key, message),
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => answer::<Hmac<md5::Md5>>(key, message),
        }
    }

    /// Checks that `given` is the correct answer to `message`, in constant time.
    pub(super) fn verify(self, key: &Key, message: &[u8], given: &[u8]) -> Result<(), AuthError> {
        let correct = match self {
            Digest::Sha256 => verify::<Hmac<Sha256>>(key, message, given),
            #[cfg(feature = "auth-sha1")]
            Digest::Sha1 => verify::<Hmac<sha1::Sha1>>(key, message, given),
            #[cfg(feature = "auth-md5")]
            Digest::Md5 => verify::<Hmac<md5::Md5>>(key, message, given),
        };
        correct.then_some(()).ok_or(AuthError::WrongAnswer)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Fails with [`AuthError::UnsupportedDigest`], also for the digests of features that are off.
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

/// The error for a digest of this name. Its text contains only names from this list, never bytes
/// from a peer.
pub(super) fn unsupported(name: &[u8]) -> AuthError {
    const KNOWN: [&str; 8] = [
        "md5", "sha1", "sha224", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512",
    ];
    let known = KNOWN.into_iter().find(|known| known.as_bytes() == name);
    AuthError::UnsupportedDigest(known.unwrap_or("the requested digest"))
}

fn answer<M: Mac + KeyInit>(key: &Key, message: &[u8]) -> Vec<u8> {
    let bytes = mac::<M>(key, message).finalize().into_bytes();
    bytes.as_slice().to_vec()
}

fn verify<M: Mac + KeyInit>(key: &Key, message: &[u8], given: &[u8]) -> bool {
    mac::<M>(key, message).verify_slice(given).is_ok()
}

fn mac<M: Mac + KeyInit>(key: &Key, message: &[u8]) -> M {
    M::new_from_slice(&key.0)
        .expect("HMAC accepts a key of any length")
        .chain_update(message)
}

/// A shared secret. `Debug` does not show it.
#[derive(Clone)]
pub(super) struct Key(Arc<[u8]>);

impl Key {
    pub(super) fn new(key: impl Into<Vec<u8>>) -> Self {
        Key(key.into().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
