//! The fields behind the addresses of a v2 header: type (1 byte), length (2 bytes), value.

/// All fields; those behind a malformed one are left out.
pub(super) fn tlvs(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, value, rest) = split(bytes)?;
        bytes = rest;
        Some((kind, value))
    })
}

/// The value of the first field of this type.
pub(super) fn find(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    let mut found = tlvs(bytes).filter(|(other, _)| *other == kind);
    found.next().map(|(_, value)| value)
}

pub(super) fn are_well_formed(mut bytes: &[u8]) -> bool {
    while let Some((_, _, rest)) = split(bytes) {
        bytes = rest;
    }
    bytes.is_empty()
}

/// The first field, and what follows it. `None` at the end, and if it is malformed.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, high, low, rest @ ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*kind, value, rest))
}
