//! HMACs computed with the packages, and not with the library under test.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    digest(Hmac::<Sha256>::new_from_slice(key), message)
}

#[cfg(feature = "auth-sha1")]
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    digest(Hmac::<sha1::Sha1>::new_from_slice(key), message)
}

#[cfg(feature = "auth-md5")]
pub fn hmac_md5(key: &[u8], message: &[u8]) -> Vec<u8> {
    digest(Hmac::<md5::Md5>::new_from_slice(key), message)
}

fn digest<M: Mac, E: std::fmt::Debug>(mac: Result<M, E>, message: &[u8]) -> Vec<u8> {
    let mac = mac.expect("HMAC accepts any key").chain_update(message);
    mac.finalize().into_bytes().as_slice().to_vec()
}
