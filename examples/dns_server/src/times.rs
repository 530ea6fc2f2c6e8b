//! Times with units, as `1h30m`: RFC 1035 has seconds only, but many zones use units.

use std::str;

use domain::base::iana::Class;

/// The entry with its times in seconds: the TTL, and what follows a SOA record's serial number. The rest
/// stays as it is, also a name such as `1h`.
pub fn in_seconds(entry: &[u8]) -> Vec<u8> {
    let words = words(entry);
    if words[0].starts_with(b"$") && !words[0].eq_ignore_ascii_case(b"$TTL") {
        return entry.to_vec();
    }
    let is_before_kind = |word: &&&[u8]| is_class(word) || seconds(word).is_some();
    let kind = 1 + words[1..].iter().take_while(is_before_kind).count();
    let is_soa = words
        .get(kind)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"SOA"));
    let is_time = |at| (1..kind).contains(&at) || (is_soa && at > kind + 3);
    let mut out = Vec::new();
    for (at, word) in words.iter().enumerate() {
        match seconds(word).filter(|_| is_time(at)) {
            Some(seconds) => out.extend(seconds.to_string().into_bytes()),
            None => out.extend(*word),
        }
        out.push(b' ');
    }
    out.push(b'\n');
    out
}

/// The first is the owner's name, empty where the entry begins with a blank.
fn words(entry: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let words = entry.split(|byte| {
        let is_escaped = escaped;
        escaped = *byte == b'\\' && !is_escaped;
        quoted ^= *byte == b'"' && !is_escaped;
        matches!(byte, b' ' | b'\t' | b'\r' | b'\n') && !quoted && !is_escaped
    });
    let words = words.enumerate();
    let words = words.filter(|(at, word)| *at == 0 || !word.is_empty());
    words.map(|(_, word)| word).collect()
}

fn is_class(word: &[u8]) -> bool {
    str::from_utf8(word).is_ok_and(|word| word.parse::<Class>().is_ok())
}

/// A number without a unit is in seconds.
fn seconds(word: &[u8]) -> Option<u32> {
    let word = str::from_utf8(word).ok()?;
    word.parse().ok().or_else(|| {
        let mut parts = word.split_inclusive(|c: char| c.is_ascii_alphabetic());
        parts.try_fold(0u32, |sum, part| sum.checked_add(with_unit(part)?))
    })
}

fn with_unit(part: &str) -> Option<u32> {
    let (number, unit) = part.split_at_checked(part.len() - 1)?;
    let unit = match unit {
        "s" | "S" => 1,
        "m" | "M" => 60,
        "h" | "H" => 3600,
        "d" | "D" => 86_400,
        "w" | "W" => 604_800,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}
