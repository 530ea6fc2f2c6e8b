use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::str;

use crc::{CRC_32_ISCSI, Crc};
use ppp::PartialResult;
use ppp::{v1, v2};

use super::{ProxySsl, tlv};
use crate::Address;
use crate::log_line::escape_bytes;

/// A PROXY header: see [`StreamRequest::proxy_header`](crate::StreamRequest::proxy_header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    addresses: Option<(Address, Address)>,
    is_local: bool,
    tlvs: Box<[u8]>,
}

const V1_PREFIX: &[u8] = b"PROXY ";
/// Version 1 says how long its line may be, with `\r\n`.
const V1_MAX_LENGTH: usize = 107;
/// The signature, version and command, family and protocol, length.
const V2_FIXED_LENGTH: usize = 16;

/// The types of fields that are read here.
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;

static CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

impl ProxyHeader {
    /// The longest header that is read, in bytes. nginx has the same limit.
    pub const MAX_LENGTH: usize = 4096;

    /// Parses the header that `bytes` begin with, of version 1 or 2. Returns it with its length; `None` if
    /// more bytes are needed.
    ///
    /// ```
    /// use socketserver::proxy_protocol::ProxyHeader;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
    /// assert_eq!(ProxyHeader::parse(&bytes[..20])?, None);
    ///
    /// let (header, length) = ProxyHeader::parse(bytes)?.expect("it is complete");
    /// assert_eq!(header.source().expect("an address").to_string(), "192.0.2.1:56324");
    /// assert!(bytes[length..].starts_with(b"GET / "));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidData` if they are not the beginning of a header, if it is longer than
    /// [`MAX_LENGTH`](Self::MAX_LENGTH), or if its checksum is wrong.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        if may_begin_with(bytes, v2::PROTOCOL_PREFIX) {
            parse_v2(bytes)
        } else if may_begin_with(bytes, V1_PREFIX) {
            parse_v1(bytes)
        } else {
            let begin = escape_bytes(&bytes[..bytes.len().min(V2_FIXED_LENGTH)]);
            Err(invalid(format!("no PROXY header, but `{begin}`")))
        }
    }

    /// The client's address; `None` if the header names none.
    pub fn source(&self) -> Option<&Address> {
        self.addresses.as_ref().map(|(source, _)| source)
    }

    /// The address that the client has connected to; `None` if the header names none.
    pub fn destination(&self) -> Option<&Address> {
        let addresses = self.addresses.as_ref();
        addresses.map(|(_, destination)| destination)
    }

    /// Whether the proxy has connected for itself, for a health check: the command `LOCAL` of version 2.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The host name that the client has asked for, in TLS the server name (SNI).
    #[doc(alias("SNI", "PP2_TYPE_AUTHORITY"))]
    pub fn authority(&self) -> Option<&str> {
        str::from_utf8(self.tlv(AUTHORITY)?).ok()
    }

    /// What the proxy says about the client's TLS connection.
    #[doc(alias("TLS", "PP2_TYPE_SSL"))]
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        ProxySsl::parse(self.tlv(SSL)?)
    }

    /// The value of the first field of this type (`PP2_TYPE_…`).
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        tlv::find(&self.tlvs, kind)
    }

    /// All fields (TLVs) of a header of version 2, each with its type.
    #[doc(alias = "TLV")]
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        tlv::tlvs(&self.tlvs)
    }
}

/// Whether bytes, maybe too few of them, begin with `prefix`.
fn may_begin_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let length = bytes.len().min(prefix.len());
    bytes[..length] == prefix[..length]
}

fn parse_v1(bytes: &[u8]) -> io::Result<Option<(ProxyHeader, usize)>> {
    let longest = &bytes[..bytes.len().min(V1_MAX_LENGTH)];
    let Some(end) = longest.iter().position(|byte| *byte == b'\n') else {
        if longest.len() == V1_MAX_LENGTH {
            return Err(too_long("a PROXY v1 header", V1_MAX_LENGTH));
        }
        return Ok(None);
    };
    let line = &bytes[..=end];
    let parsed = v1::Header::try_from(line).map_err(|error| malformed(&error))?;
    let header = ProxyHeader {
        addresses: match parsed.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(both) => Some(ipv4(both)),
            v1::Addresses::Tcp6(both) => Some(ipv6(both)),
        },
        is_local: false,
        tlvs: Box::default(),
    };
    Ok(Some((header, line.len())))
}

fn parse_v2(bytes: &[u8]) -> io::Result<Option<(ProxyHeader, usize)>> {
    if let Some([high, low]) = bytes.get(V2_FIXED_LENGTH - 2..V2_FIXED_LENGTH) {
        let length = V2_FIXED_LENGTH + usize::from(u16::from_be_bytes([*high, *low]));
        if length > ProxyHeader::MAX_LENGTH {
            let what = format!("a PROXY v2 header of {length} bytes");
            return Err(too_long(&what, ProxyHeader::MAX_LENGTH));
        }
    }
    let parsed = match v2::Header::try_from(bytes) {
        Err(error) if error.is_incomplete() => return Ok(None),
        parsed => parsed.map_err(|error| malformed(&error))?,
    };
    let bytes = parsed.as_bytes();
    let begin = V2_FIXED_LENGTH + parsed.addresses.len();
    let is_local = parsed.command == v2::Command::Local;
    let addresses = match parsed.addresses {
        _ if is_local => None,
        v2::Addresses::Unspecified => None,
        v2::Addresses::IPv4(both) => Some(ipv4(both)),
        v2::Addresses::IPv6(both) => Some(ipv6(both)),
        v2::Addresses::Unix(both) => Some((unix(&both.source), unix(&both.destination))),
    };
    let mut tlvs = &bytes[begin..];
    if parsed.address_family() == v2::AddressFamily::Unspecified && !tlv::are_well_formed(tlvs) {
        // An address of an unknown kind.
        tlvs = &[];
    }
    check_tlvs(tlvs)?;
    check_checksum(bytes, begin, tlvs)?;
    let header = ProxyHeader {
        addresses,
        is_local,
        tlvs: tlvs.into(),
    };
    Ok(Some((header, bytes.len())))
}

fn check_tlvs(tlvs: &[u8]) -> io::Result<()> {
    let is_valid = |(kind, value): (u8, &[u8])| match kind {
        CRC32C => value.len() == 4,
        SSL => ProxySsl::parse(value).is_some(),
        _ => true,
    };
    if !tlv::are_well_formed(tlvs) || !tlv::tlvs(tlvs).all(is_valid) {
        return Err(malformed(&"a field (TLV) has the wrong length"));
    }
    Ok(())
}

/// Checks the checksum of the whole header, whose own bytes count as zeroes, if there is one.
fn check_checksum(header: &[u8], tlvs_begin: usize, tlvs: &[u8]) -> io::Result<()> {
    let mut at = tlvs_begin;
    for (kind, value) in tlv::tlvs(tlvs) {
        at += 3;
        if kind == CRC32C {
            let mut digest = CHECKSUM.digest();
            digest.update(&header[..at]);
            digest.update(&[0; 4]);
            digest.update(&header[at + value.len()..]);
            if digest.finalize().to_be_bytes() != value {
                return Err(malformed(&"its checksum (CRC32c) is wrong"));
            }
            break;
        }
        at += value.len();
    }
    Ok(())
}

fn ipv4(both: v1::IPv4) -> (Address, Address) {
    let source = SocketAddr::from((both.source_address, both.source_port));
    let destination = SocketAddr::from((both.destination_address, both.destination_port));
    (source.into(), destination.into())
}

fn ipv6(both: v1::IPv6) -> (Address, Address) {
    let source = SocketAddr::from((both.source_address, both.source_port));
    let destination = SocketAddr::from((both.destination_address, both.destination_port));
    (source.into(), destination.into())
}

/// `sun_path`, filled up with zeroes.
fn unix(path: &[u8]) -> Address {
    let trimmed = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|byte| *byte != 0);
        bytes[..end.map_or(0, |at| at + 1)].to_vec()
    };
    match path.split_first() {
        Some((0, name)) => match trimmed(name) {
            name if name.is_empty() => Address::Unnamed,
            name => Address::Abstract(name),
        },
        _ => {
            let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
            Address::Path(OsStr::from_bytes(path).into())
        }
    }
}

fn too_long(what: &str, limit: usize) -> io::Error {
    invalid(format!("{what} is too long; the limit is {limit} bytes"))
}

fn malformed(error: &dyn std::fmt::Display) -> io::Error {
    let error = error.to_string();
    let error = error.trim_end_matches('.');
    invalid(format!("invalid PROXY header: {error}"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
