//! What `ProxyHeader::parse` makes of bytes, and what the functions write.

use std::io::ErrorKind;

use socketserver::Address;
use socketserver::proxy_protocol::{ProxyHeader, v1_header, v2_header};

/// A header of version 2: version and command, family and protocol, addresses, fields.
fn v2(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let length = u16::try_from(rest.len()).expect("it is short");
    let fixed: [&[u8]; 3] = [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family],
        &length.to_be_bytes(),
    ];
    [&fixed.concat()[..], &rest].concat()
}

/// From 192.0.2.1:256 to 198.51.100.1:443.
const ADDRESSES: &[u8] = b"\xc0\0\x02\x01\xc6\x33\x64\x01\x01\0\x01\xbb";

fn proxied(fields: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[ADDRESSES, fields])
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("it is short");
    [&[kind][..], &length.to_be_bytes(), value].concat()
}

/// The only result of `bytes`: each shorter part needs more, and what follows does not matter.
fn parse(bytes: &[u8]) -> ProxyHeader {
    for length in 0..bytes.len() {
        let part = ProxyHeader::parse(&bytes[..length]);
        assert_eq!(part.expect("it is a beginning"), None, "{length} bytes");
    }
    let followed = [bytes, b"PROXY and more\r\n"].concat();
    let parsed = ProxyHeader::parse(&followed).expect("it is valid");
    let (header, length) = parsed.expect("it is complete");
    assert_eq!(length, bytes.len());
    header
}

fn addresses(header: &ProxyHeader) -> (String, String) {
    let text = |address: Option<&Address>| address.map_or("none".to_owned(), Address::to_string);
    (text(header.source()), text(header.destination()))
}

fn pair(source: &str, destination: &str) -> (String, String) {
    (source.to_owned(), destination.to_owned())
}

fn address(text: &str) -> Address {
    text.parse().expect("it is an address")
}

#[track_caller]
fn is_invalid(bytes: &[u8], text: &str) {
    let error = ProxyHeader::parse(bytes).expect_err("it is invalid");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn version_1_names_both_addresses() {
    let header = parse(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n");
    let expected = pair("192.0.2.1:56324", "198.51.100.1:443");
    assert_eq!(addresses(&header), expected);
    assert!(!header.is_local());
    let header = parse(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
    let expected = pair("[2001:db8::1]:1", "[::1]:65535");
    assert_eq!(addresses(&header), expected);
}

#[test]
fn unknown_and_local_name_none() {
    for bytes in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        &v2(0x20, 0x00, &[]),
        // The addresses of a health check do not count.
        &v2(0x20, 0x11, &[ADDRESSES]),
        // An unknown kind of address may be in front of the fields, or be all there is.
        &v2(0x21, 0x00, &[b"\x01\x02\x03\x04\x05"]),
    ] {
        let header = parse(bytes);
        assert_eq!(addresses(&header), pair("none", "none"));
        assert_eq!(header.is_local(), bytes.get(12) == Some(&0x20));
        assert_eq!(header.tlvs().count(), 0);
    }
}

#[test]
fn version_2_names_ip_addresses_and_unix_sockets() {
    let expected = pair("192.0.2.1:256", "198.51.100.1:443");
    assert_eq!(addresses(&parse(&proxied(&[]))), expected);
    let six = [&[0; 15][..], &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
    let header = parse(&v2(0x21, 0x21, &[&six]));
    assert_eq!(addresses(&header), pair("[::1]:1", "[::2]:2"));
    let mut sockets = [0; 216];
    sockets[..9].copy_from_slice(b"/run/here");
    sockets[108..113].copy_from_slice(b"\0name");
    let header = parse(&v2(0x21, 0x31, &[&sockets]));
    assert_eq!(addresses(&header), pair("/run/here", "@name"));
    let header = parse(&v2(0x21, 0x31, &[&[0; 216]]));
    assert_eq!(header.source(), Some(&Address::Unnamed));
}

#[test]
fn fields_can_be_read() {
    let fields = [
        tlv(0x02, b"app.example.com"),
        tlv(
            0x20,
            &[
                &[0b011, 0, 0, 0, 0][..],
                &tlv(0x21, b"TLSv1.3"),
                &tlv(0x22, b"ada"),
                &tlv(0x23, b"AES"),
                &tlv(0x25, b"RSA2048"),
            ]
            .concat(),
        ),
        tlv(0xe0, b"\0own"),
    ];
    let header = parse(&proxied(&fields.concat()));
    assert_eq!(header.authority(), Some("app.example.com"));
    let kinds: Vec<u8> = header.tlvs().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [0x02, 0x20, 0xe0]);
    assert_eq!(header.tlv(0xe0), Some(&b"\0own"[..]));
    assert_eq!(header.tlv(0xe1), None);
    let ssl = header.ssl().expect("it is there");
    assert!(ssl.is_tls() && ssl.is_verified());
    assert_eq!(ssl.version(), Some("TLSv1.3"));
    assert_eq!(ssl.common_name(), Some("ada"));
    assert_eq!(ssl.cipher(), Some("AES"));
    assert_eq!(ssl.tlv(0x25), Some(&b"RSA2048"[..]));
    // Also where the header names no address.
    let header = parse(&v2(0x20, 0x00, &[&tlv(0x05, b"unique")]));
    assert_eq!(header.tlv(0x05), Some(&b"unique"[..]));
}

#[test]
fn a_certificate_is_verified_only_if_there_is_one() {
    for (client, verify, expected) in [(0b011, 0, true), (0b001, 0, false), (0b011, 1, false)] {
        let value = [client, 0, 0, 0, verify];
        let header = parse(&proxied(&tlv(0x20, &value)));
        assert_eq!(header.ssl().expect("it is there").is_verified(), expected);
    }
}

/// Its own bytes count as zeroes.
#[test]
fn the_checksum_is_checked() {
    let with_checksum =
        |checksum: [u8; 4]| proxied(&[tlv(0x04, b"pad"), tlv(0x03, &checksum)].concat());
    let mut valid = with_checksum([0; 4]);
    let checksum = crc32c(&valid).to_be_bytes();
    valid = with_checksum(checksum);
    assert_eq!(parse(&valid).source(), Some(&address("192.0.2.1:256")));
    for at in [16, 31, valid.len() - 1] {
        let mut changed = valid.clone();
        changed[at] ^= 1;
        is_invalid(&changed, "its checksum (CRC32c) is wrong");
    }
    is_invalid(&proxied(&tlv(0x03, b"abc")), "the wrong length");
}

/// As RFC 4960 defines it, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

#[test]
fn an_error_says_what_is_wrong() {
    for (bytes, text) in [
        (
            &b"GET / HTTP/1.1\r\n"[..],
            r"no PROXY header, but `GET / HTTP/1.1\r\n`",
        ),
        (b"\x16\x03\x01\x02", r"but `\u{16}\u{3}\u{1}\u{2}`"),
        (b"PROXX", "no PROXY header"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "invalid protocol"),
        (
            b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            "IP address for the source",
        ),
        (b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n", "for the destination"),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            "port for the source",
        ),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "port for the destination",
        ),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "must end in"),
        (b"PROXY UNKNOWN \xff\r\n", "not valid UTF-8"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "version 30"),
        (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c", "command 2"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\x0c", "Address Family 40"),
        (
            &v2(0x21, 0x21, &[ADDRESSES]),
            "12 bytes cannot store the 36",
        ),
        (
            &proxied(b"\x02\0\x05four"),
            "a field (TLV) has the wrong length",
        ),
        (&proxied(b"\x02\0"), "a field (TLV) has the wrong length"),
        (
            &proxied(&tlv(0x20, b"\x01\0\0\0")),
            "a field (TLV) has the wrong length",
        ),
        (
            &proxied(&tlv(0x20, b"\x01\0\0\0\0\x21\0\x09")),
            "the wrong length",
        ),
    ] {
        is_invalid(bytes, text);
    }
}

#[test]
fn a_header_has_a_maximum_length() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), 107);
    parse(longest.as_bytes());
    let longer = format!("PROXY UNKNOWN {}", "x".repeat(93));
    is_invalid(longer.as_bytes(), "v1 header is too long; the limit is 107");
    let fields = tlv(0x04, &vec![0; ProxyHeader::MAX_LENGTH - 31]);
    let mut longest = proxied(&fields);
    assert_eq!(longest.len(), 4096);
    parse(&longest);
    longest[15] += 1;
    is_invalid(
        &longest[..16],
        "of 4097 bytes is too long; the limit is 4096",
    );
}

#[test]
fn what_is_written_can_be_read() {
    for (source, destination, v1_source) in [
        ("192.0.2.1:56324", "198.51.100.1:443", "192.0.2.1:56324"),
        ("[2001:db8::1]:1", "[::1]:2", "[2001:db8::1]:1"),
        // One address of each kind.
        ("[2001:db8::1]:1", "192.0.2.1:2", "[2001:db8::1]:1"),
        ("/run/client", "@server", "none"),
    ] {
        let (source, destination) = (address(source), address(destination));
        let header = parse(&v2_header(&source, &destination));
        assert_eq!(header.source(), Some(&source));
        assert_eq!(
            header.destination().map(Address::ip),
            Some(destination.ip())
        );
        assert_eq!(
            header.destination().map(Address::port),
            Some(destination.port())
        );
        let header = parse(&v1_header(&source, &destination));
        assert_eq!(addresses(&header).0, v1_source);
    }
}

#[test]
fn a_dual_stack_address_is_written_as_ipv4() {
    let (client, server) = (address("[::ffff:192.0.2.1]:5"), address("192.0.2.2:6"));
    let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n";
    assert_eq!(v1_header(&client, &server), text);
    let header = parse(&v2_header(&client, &server));
    assert_eq!(addresses(&header), pair("192.0.2.1:5", "192.0.2.2:6"));
}

#[test]
fn what_cannot_be_named_is_left_out() {
    let too_long = Address::Path("/x".repeat(55).into());
    for (source, destination) in [
        (address("192.0.2.1:5"), Address::Unnamed),
        (too_long, Address::Unnamed),
    ] {
        let header = parse(&v2_header(&source, &destination));
        assert_eq!(addresses(&header), pair("none", "none"));
        assert_eq!(v1_header(&source, &destination), b"PROXY UNKNOWN\r\n");
    }
    let header = parse(&v2_header(&Address::Unnamed, &Address::Unnamed));
    assert_eq!(header.source(), Some(&Address::Unnamed));
}
