use std::ffi::{c_int, c_long, c_longlong, c_short};
use std::fmt;
use std::str::FromStr;

use super::FramingError;

/// The length in front of a message: 1, 2, 4 or 8 bytes, in either byte order, signed or not.
///
/// The constants are in network order, the biggest byte first. Most protocols use [`Prefix::U32`].
/// Signed ones can express half as much, and a negative length is an error; they are for peers that
/// use them.
///
/// It is written and parsed in the notation of Python's `struct`: an order, then a type.
///
/// | order | | type | bytes, signed | unsigned |
/// |---|---|---|---|---|
/// | `!` or `>` | network, biggest byte first | `b`, `B` | 1 | 1 |
/// | `<` | smallest byte first | `h`, `H` | 2 | 2 |
/// | `=` | this machine's | `i`, `I` and `l`, `L` | 4 | 4 |
/// | `@` or none | this machine's, and its C compiler's sizes | `q`, `Q` | 8 | 8 |
///
/// With C's sizes `l` and `L` are a `long`, 8 bytes on most 64-bit systems; and `n`, `N`, which no
/// other order has, are as wide as a pointer.
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
#[doc(alias = "struct")]
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
    /// 1 byte: messages up to 255 bytes. `struct`'s `!B`.
    pub const U8: Prefix = Prefix::unsigned(Width::One);
    /// 2 bytes, up to 65,535. `struct`'s `!H`.
    pub const U16: Prefix = Prefix::unsigned(Width::Two);
    /// 4 bytes, up to 4 GiB less one. `struct`'s `!I`.
    pub const U32: Prefix = Prefix::unsigned(Width::Four);
    /// 8 bytes. `struct`'s `!Q`.
    pub const U64: Prefix = Prefix::unsigned(Width::Eight);
    /// 1 byte, signed: up to 127. `struct`'s `!b`.
    pub const I8: Prefix = Prefix::U8.signed();
    /// 2 bytes, signed: up to 32,767. `struct`'s `!h`.
    pub const I16: Prefix = Prefix::U16.signed();
    /// 4 bytes, signed: up to 2 GiB less one. `struct`'s `!i`.
    pub const I32: Prefix = Prefix::U32.signed();
    /// 8 bytes, signed. `struct`'s `!q`.
    pub const I64: Prefix = Prefix::U64.signed();

    pub(super) const MAX_WIDTH: usize = 8;

    /// The same with the biggest byte first: network order, `struct`'s `!` and `>`.
    pub const fn big_endian(self) -> Self {
        self.ordered(Order::Big)
    }

    /// The same with the smallest byte first: `struct`'s `<`.
    pub const fn little_endian(self) -> Self {
        self.ordered(Order::Little)
    }

    /// The same in this machine's order: `struct`'s `=`.
    pub const fn native_endian(self) -> Self {
        self.ordered(Order::NATIVE)
    }

    /// How many bytes it takes: 1, 2, 4 or 8. Python's `struct.calcsize`.
    #[doc(alias = "calcsize")]
    #[inline]
    pub const fn width(self) -> usize {
        self.width as usize
    }

    /// The longest message it can express, in bytes.
    #[inline]
    pub const fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width() as u32 + self.signed as u32)
    }

    /// The length's bytes are the first [`width`](Self::width) of these.
    #[inline]
    pub(super) const fn encode(self, len: u64) -> [u8; Self::MAX_WIDTH] {
        match self.order {
            Order::Big => (len << self.unused_bits()).to_be_bytes(),
            Order::Little => len.to_le_bytes(),
        }
    }

    /// The opposite, of `width` bytes.
    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Result<u64, FramingError> {
        let append = |len, byte: &u8| (len << 8) | u64::from(*byte);
        let len = match self.order {
            Order::Big => bytes.iter().fold(0, append),
            Order::Little => bytes.iter().rev().fold(0, append),
        };
        if self.signed && len > self.max() {
            let sign_at_the_top = (len << self.unused_bits()) as i64;
            return Err(FramingError::Negative(
                sign_at_the_top >> self.unused_bits(),
            ));
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

    /// One byte has no order: two prefixes are equal when their bytes are.
    const fn ordered(mut self, order: Order) -> Self {
        if self.width() > 1 {
            self.order = order;
        }
        self
    }
}

/// `struct`'s notation: `!I`, `<h`, …
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

/// Parses `struct`'s notation. Fails with [`FramingError::UnknownPrefix`].
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
