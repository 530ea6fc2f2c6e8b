use std::fmt;
use std::sync::Arc;

/// A shared secret. Cheap to clone; its `Debug` shows nothing of it, and it cannot be printed or
/// compared.
///
/// Any bytes will do, and any number of them: 32 random ones are best for SHA-256. The empty key is
/// a key like any other, known to everybody. (Python takes `authkey=b""` for a key too, except that
/// the `Listener` of 3.11 asks for no proof at all then.)
///
/// ```
/// use socketserver::auth::Key;
///
/// let key = Key::from("a shared secret");
/// assert_eq!(format!("{key:?}"), "Key(..)");
/// ```
#[doc(alias = "authkey")]
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Key(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Self {
        Key(bytes[..].into())
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Key(bytes.into())
    }
}

/// The bytes of the text in UTF-8.
impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(text.as_bytes().into())
    }
}

/// The bytes of the text in UTF-8.
impl From<String> for Key {
    fn from(text: String) -> Self {
        Key(text.into_bytes().into())
    }
}
