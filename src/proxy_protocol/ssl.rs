use std::fmt;
use std::str;

use super::tlv;

/// What a proxy that has ended the client's TLS connection says about it: see
/// [`ProxyHeader::ssl`](super::ProxyHeader::ssl).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProxySsl<'a> {
    client: u8,
    verify: u32,
    fields: &'a [u8],
}

impl<'a> ProxySsl<'a> {
    /// `None` if it is malformed.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let (client, rest) = value.split_first()?;
        let (verify, fields) = rest.split_first_chunk()?;
        tlv::are_well_formed(fields).then_some(ProxySsl {
            client: *client,
            verify: u32::from_be_bytes(*verify),
            fields,
        })
    }

    /// Whether the client's connection used TLS.
    pub fn is_tls(&self) -> bool {
        self.client & 1 != 0
    }

    /// Whether the client has presented a certificate, on this connection or before in its TLS session, and
    /// the proxy has verified it.
    pub fn is_verified(&self) -> bool {
        self.client & 0b110 != 0 && self.verify == 0
    }

    /// The version of TLS, such as `TLSv1.3`.
    pub fn version(&self) -> Option<&'a str> {
        self.text(0x21)
    }

    /// The common name of the client's certificate.
    #[doc(alias = "CN")]
    pub fn common_name(&self) -> Option<&'a str> {
        self.text(0x22)
    }

    /// The cipher, such as `ECDHE-RSA-AES128-GCM-SHA256`.
    pub fn cipher(&self) -> Option<&'a str> {
        self.text(0x23)
    }

    /// The value of the first field of this type, for types without a method.
    pub fn tlv(&self, kind: u8) -> Option<&'a [u8]> {
        tlv::find(self.fields, kind)
    }

    fn text(&self, kind: u8) -> Option<&'a str> {
        str::from_utf8(self.tlv(kind)?).ok()
    }
}

impl fmt::Debug for ProxySsl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySsl")
            .field("is_tls", &self.is_tls())
            .field("is_verified", &self.is_verified())
            .field("version", &self.version())
            .field("common_name", &self.common_name())
            .field("cipher", &self.cipher())
            .finish_non_exhaustive()
    }
}
