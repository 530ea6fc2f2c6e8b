//! PROXY headers of arbitrary bytes.
//!
//! The first byte selects what is in front of the others: nothing, or the valid beginning of a header of
//! version 1 or 2. So the addresses and fields of both are reached soon.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socketserver::proxy_protocol::{ProxyHeader, v1_header, v2_header};

fn begin(choice: u8, length: usize) -> Vec<u8> {
    let v2 = |command, family| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        header
    };
    match choice % 8 {
        0 | 1 => Vec::new(),
        2 => b"PROXY TCP4 ".to_vec(),
        3 => b"PROXY TCP6 ".to_vec(),
        4 => v2(0x20, 0x00),
        5 => v2(0x21, 0x11),
        6 => v2(0x21, 0x21),
        _ => v2(0x21, 0x31),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let bytes = [&begin(*choice, data.len())[..], data].concat();
    let Ok(parsed) = ProxyHeader::parse(&bytes) else {
        return;
    };
    let Some((header, length)) = parsed else {
        assert!(bytes.len() < ProxyHeader::MAX_LENGTH);
        return;
    };
    assert!(length <= bytes.len().min(ProxyHeader::MAX_LENGTH));
    // Each shorter part needs more, and nothing behind it matters.
    for end in 0..length {
        let part = ProxyHeader::parse(&bytes[..end]);
        assert_eq!(part.expect("it is a beginning"), None);
    }
    let whole = ProxyHeader::parse(&bytes[..length]).expect("it is valid");
    assert_eq!(whole, Some((header.clone(), length)));
    let _ = (header.authority(), header.tlvs().count());
    if let Some(ssl) = header.ssl() {
        let _ = (ssl.version(), ssl.common_name(), ssl.is_verified());
    }
    // What it names can be sent on.
    if let (Some(source), Some(destination)) = (header.source(), header.destination()) {
        for sent in [
            v1_header(source, destination),
            v2_header(source, destination),
        ] {
            let parsed = ProxyHeader::parse(&sent).expect("it is valid");
            assert_eq!(parsed.expect("it is complete").1, sent.len());
        }
    }
});
