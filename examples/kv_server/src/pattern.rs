//! Patterns for KEYS: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, and `\` before a character that is literal.

/// Whether the whole text matches. Only the last star is tried with more and more of the text: so the
/// time is at most the pattern's length times the text's.
pub fn matches(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut last_star = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            last_star = Some((pattern, text));
            continue;
        }
        match text {
            [] if pattern.is_empty() => return true,
            [byte, tail @ ..] => {
                if let Some(rest) = element(pattern, *byte) {
                    (pattern, text) = (rest, tail);
                    continue;
                }
            }
            [] => {}
        }
        let Some((behind_star, [_, tail @ ..])) = last_star else {
            return false;
        };
        last_star = Some((behind_star, tail));
        (pattern, text) = (behind_star, tail);
    }
}

/// The pattern after its first element, if that matches the byte.
fn element(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', set @ ..] => class(set, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// The same for a set, after its opening bracket. A set that is not closed ends with the pattern.
fn class(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (mut set, wanted) = match set {
        [b'^', rest @ ..] => (rest, false),
        _ => (set, true),
    };
    let mut found = false;
    loop {
        let (low, high);
        (low, high, set) = match set {
            [] => return (found == wanted).then_some(set),
            [b']', rest @ ..] => return (found == wanted).then_some(rest),
            [b'\\', literal, rest @ ..] => (*literal, *literal, rest),
            [from, b'-', to, rest @ ..] => (*from.min(to), *from.max(to), rest),
            [literal, rest @ ..] => (*literal, *literal, rest),
        };
        found |= (low..=high).contains(&byte);
    }
}
