use std::ffi::{c_int, c_long, c_longlong, c_short};
use std::fmt;
use std::str::FromStr;

use super::FramingError;

/// The format of the length before a message: 1, 2, 4 or 8 bytes, big-endian or little-endian, signed
/// or unsigned.
///
/// The constants are big-endian, which is network byte order. Most protocols use [`Prefix::U32`].
/// Signed lengths are for peers that use them: the maximum is half as large, and a negative length is
/// an error.
///
/// `Display` and `FromStr` use the format strings of Python's `struct`: a byte order, then a type.
///
/// | order | byte order | sizes |
/// |---|---|---|
/// | `!` or `>` | big-endian (network) | standard |
/// | `<` | little-endian | standard |
/// | `=` | of this machine | standard |
/// | `@` or none | of this machine | of its C compiler |
///
/// | type, signed and unsigned | standard size | size of the C compiler |
/// |---|---|---|
/// | `b`, `B` | 1 byte | the same |
/// | `h`, `H` | 2 bytes | `short` |
/// | `i`, `I` | 4 bytes | `int` |
/// | `l`, `L` | 4 bytes | `long`: 8 bytes on most 64-bit systems |
/// | `q`, `Q` | 8 bytes | `long long` |
/// | `n`, `N` | not allowed | the size of a pointer |
///
/// ```
/// use socketserver::framing::Prefix;
///
/// # fn main() -> Result<(), socketserver::framing::FramingError> {
/// assert_eq!("!I".parse::<Prefix>()?, Prefix::U32);
/// assert_eq!("<h".parse::<Prefix>()?, Prefix::I16.little_endian());
/// assert_eq!(Prefix::U16.to_string(), "!H");
/// assert_eq!(Prefix::I16.max(), 32_767);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    width: Width,
    order: Order,
    signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Width {
    One = 1,
    Two = 2,
    Four = 4,
    Eight = 8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    Big,
    Little,
}

impl Order {
    const NATIVE: Order = if cfg!(target_endian = "big") {
        Order::Big
    } else {
        Order::Little
    };
}

impl Prefix {
    /// 1 byte: up to 255. `!B` in Python's `struct`.
    pub const U8: Prefix = Prefix::unsigned(Width::One);
    /// 2 bytes: up to 65,535. `!H` in Python's `struct`.
    pub const U16: Prefix = Prefix::unsigned(Width::Two);
    /// 4 bytes: up to 4 GiB − 1. `!I` in Python's `struct`.
    pub const U32: Prefix = Prefix::unsigned(Width::Four);
    /// 8 bytes. `!Q` in Python's `struct`.
    pub const U64: Prefix = Prefix::unsigned(Width::Eight);
    /// 1 byte, signed: up to 127. `!b` in Python's `struct`.
    pub const I8: Prefix = Prefix::U8.signed();
    /// 2 bytes, signed: up to 32,767. `!h` in Python's `struct`.
    pub const I16: Prefix = Prefix::U16.signed();
    /// 4 bytes, signed: up to 2 GiB − 1. `!i` in Python's `struct`.
    pub const I32: Prefix = Prefix::U32.signed();
    /// 8 bytes, signed. `!q` in Python's `struct`.
    pub const I64: Prefix = Prefix::U64.signed();

    pub(super) const MAX_WIDTH: usize = 8;

    /// The same length in big-endian (network) byte order: `!` or `>`.
    pub const fn big_endian(self) -> Self {
        self.ordered(Order::Big)
    }

    /// The same length in little-endian byte order: `<`.
    pub const fn little_endian(self) -> Self {
        self.ordered(Order::Little)
    }

    /// The same length in the byte order of this machine: `=`.
    pub const fn native_endian(self) -> Self {
        self.ordered(Order::NATIVE)
    }

    /// The size of the length in bytes: 1, 2, 4 or 8. Python's `struct.calcsize`.
    #[doc(alias = "calcsize")]
    #[inline]
    pub const fn width(self) -> usize {
        self.width as usize
    }

    /// The longest message whose length fits, in bytes.
    #[inline]
    pub const fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width() as u32 + self.signed as u32)
    }

    /// Only the first [`width`](Self::width) bytes are used.
    #[inline]
    pub(super) const fn encode(self, len: u64) -> [u8; Self::MAX_WIDTH] {
        match self.order {
            Order::Big => (len << self.unused_bits()).to_be_bytes(),
            Order::Little => len.to_le_bytes(),
        }
    }

    /// Decodes `width` bytes.
    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Result<u64, FramingError> {
        let append = |len, byte: &u8| (len << 8) | u64::from(*byte);
        let len = match self.order {
            Order::Big => bytes.iter().fold(0, append),
            Order::Little => bytes.iter().rev().fold(0, append),
        };
        if self.signed && len > self.max() {
            let shifted = (len << self.unused_bits()) as i64;
            return Err(FramingError::Negative(shifted >> self.unused_bits()));
        }
        Ok(len)
    }

    const fn unused_bits(self) -> u32 {
        64 - 8 * self.width() as u32
    }

    const fn unsigned(width: Width) -> Self {
        Prefix {
            width,
            order: Order::Big,
            signed: false,
        }
    }

    const fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// The order of a single byte stays `Big`, so that prefixes with the same bytes are equal.
    const fn ordered(mut self, order: Order) -> Self {
        if self.width() > 1 {
            self.order = order;
        }
        self
    }
}

/// As a format string of Python's `struct`: `!I`, `<h`, …
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Big => "!",
            Order::Little => "<",
        };
        let kind = match (self.width, self.signed) {
            (Width::One, false) => "B",
            (Width::One, true) => "b",
            (Width::Two, false) => "H",
            (Width::Two, true) => "h",
            (Width::Four, false) => "I",
            (Width::Four, true) => "i",
            (Width::Eight, false) => "Q",
            (Width::Eight, true) => "q",
        };
        write!(f, "{order}{kind}")
    }
}

/// Parses a format string of Python's `struct`. Fails with [`FramingError::UnknownPrefix`].
impl FromStr for Prefix {
    type Err = FramingError;

    fn from_str(format: &str) -> Result<Self, FramingError> {
        let unknown = || FramingError::UnknownPrefix(format.into());
        let kind = format.trim_start_matches(['@', '=', '<', '>', '!']);
        let order = &format[..format.len() - kind.len()];
        let width = match order {
            "" | "@" => native_width(kind),
            "=" | "<" | ">" | "!" => standard_width(kind),
            _ => None,
        };
        let prefix = Prefix::unsigned(width.ok_or_else(unknown)?).ordered(match order {
            "<" => Order::Little,
            ">" | "!" => Order::Big,
            _ => Order::NATIVE,
        });
        let signed = kind.starts_with(|c: char| c.is_ascii_lowercase());
        Ok(if signed { prefix.signed() } else { prefix })
    }
}

fn standard_width(kind: &str) -> Option<Width> {
    Some(match kind {
        "b" | "B" => Width::One,
        "h" | "H" => Width::Two,
        "i" | "I" | "l" | "L" => Width::Four,
        "q" | "Q" => Width::Eight,
        _ => return None,
    })
}

fn native_width(kind: &str) -> Option<Width> {
    let bytes = match kind {
        "b" | "B" => 1,
        "h" | "H" => size_of::<c_short>(),
        "i" | "I" => size_of::<c_int>(),
        "l" | "L" => size_of::<c_long>(),
        "q" | "Q" => size_of::<c_longlong>(),
        "n" | "N" => size_of::<isize>(),
        _ => return None,
    };
    [Width::One, Width::Two, Width::Four, Width::Eight]
        .into_iter()
        .find(|width| *width as usize == bytes)
}
