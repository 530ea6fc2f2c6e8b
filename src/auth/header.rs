use super::AuthError;

/// The longest message with a header of four bytes.
const LONGEST_SHORT: usize = 0x7fff_ffff;

/// What stands where the length would, when the length follows in eight bytes.
const EXTENDED: i32 = -1;

/// A message's header: its length as a signed 32-bit number, or from 2 GiB on -1 and the length as
/// an unsigned 64-bit one; both big-endian.
pub(super) struct Header {
    bytes: [u8; 12],
    len: usize,
}

impl Header {
    pub(super) fn new(message: usize) -> Self {
        let mut bytes = [0; 12];
        let len = if message > LONGEST_SHORT {
            bytes[..4].copy_from_slice(&EXTENDED.to_be_bytes());
            bytes[4..].copy_from_slice(&(message as u64).to_be_bytes());
            12
        } else {
            bytes[..4].copy_from_slice(&(message as u32).to_be_bytes());
            4
        };
        Header { bytes, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Reads a header whose first four bytes are there already, with `more` for the other eight.
    pub(super) fn read(
        first: [u8; 4],
        max: usize,
        more: impl FnOnce(&mut [u8; 8]) -> Result<(), AuthError>,
    ) -> Result<usize, AuthError> {
        let len = match i32::from_be_bytes(first) {
            EXTENDED => {
                let mut bytes = [0; 8];
                more(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            len => u64::try_from(len).map_err(|_| AuthError::NegativeLength(len))?,
        };
        let fits = usize::try_from(len).ok().filter(|n| *n <= max);
        fits.ok_or(AuthError::TooLong { len, max })
    }
}
