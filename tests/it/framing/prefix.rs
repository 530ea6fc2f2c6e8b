//! Prefixes have the bytes and the notation of Python's `struct`.

use std::ffi::c_long;
use std::io::{self, ErrorKind};

use proptest::prelude::*;
use socketserver::framing::{Framing, FramingError, Prefix};

use super::streams::{SIGNED, UNSIGNED, all_prefixes, encode};

use support::python;

#[test]
fn a_prefix_has_the_bytes_of_struct_pack() {
    let mut python = python::script("struct_lengths.py");
    let output = python.output().expect("python3 is installed");
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).expect("the output is text");
    let mut seen = 0;
    for line in table.lines() {
        let [format, length, packed] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let framing = Framing::new(format.parse().expect(format));
        let message = vec![0; length.parse().expect("the text is a length")];
        let bytes = encode(framing, &[message]);
        let width = packed.len() / 2;
        let prefix: String = bytes[..width].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(prefix, packed, "{line}");
        assert_eq!(
            bytes.len(),
            width + length.parse::<usize>().expect("the text is a length")
        );
        seen += 1;
    }
    assert!(seen > 100, "{table}");
}

#[test]
fn native_sizes_are_those_of_c() {
    let parse = |format: &str| format.parse::<Prefix>().expect(format);
    let long = size_of::<c_long>();
    assert_eq!(parse("l").width(), long);
    assert_eq!(parse("@L").width(), long);
    assert_eq!(parse("=L").width(), 4);
    assert_eq!(parse("N").width(), size_of::<usize>());
    assert_eq!(parse("I"), Prefix::U32.native_endian());
    assert_eq!(parse(">I"), parse("!I"));
    assert_eq!(parse("<b"), Prefix::I8);
}

#[test]
fn an_invalid_format_is_quoted_in_the_error() {
    for format in [
        "", "!", "I!", "!!I", "!n", "<N", "!x", "f", "2I", "II", " I", "!é",
    ] {
        let error = format.parse::<Prefix>().expect_err(format);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{format:?} is not a length format")),
            "{text}"
        );
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn the_longest_message_of_each_prefix() {
    let most = [0xff, 0xffff, 0xffff_ffff, u64::MAX];
    for (unsigned, signed, most) in (0..4).map(|i| (UNSIGNED[i], SIGNED[i], most[i])) {
        assert_eq!((unsigned.max(), signed.max()), (most, most / 2));
    }
}

#[test]
fn a_prefix_parses_from_its_display_text() {
    for prefix in all_prefixes() {
        let format = prefix.to_string();
        assert_eq!(
            format.parse::<Prefix>().expect("the text is a prefix"),
            prefix,
            "{format}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_a_prefix_or_an_error(text in "[@=<>!bBhHiIlLqQnN?x 1]{0,3}|.*") {
        if let Err(error) = text.parse::<Prefix>() {
            prop_assert!(matches!(error, FramingError::UnknownPrefix(t) if *t == *text));
        }
    }
}
