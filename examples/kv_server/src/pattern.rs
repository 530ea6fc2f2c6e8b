//! Patterns for KEYS: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, and `\` before a character that is literal.

/// Whether the whole text matches. Only the last star is tried with more and more of the text: so the
/// time is at most the pattern's length times the text's. That may be very long, so `spend` gets the
/// number of bytes of the pattern that were compared, and may end the search with an error.
pub fn matches<E>(
    mut pattern: &[u8],
    mut text: &[u8],
    mut spend: impl FnMut(usize) -> Result<(), E>,
) -> Result<bool, E> {
    let mut last_star = None;
    loop {
        match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                spend(1)?;
                pattern = rest;
                last_star = Some((pattern, text));
                continue;
            }
            ([], []) => return Ok(true),
            // With less of the text it would not match either.
            (_, []) => return Ok(false),
            ([], _) => {}
            (_, [byte, tail @ ..]) => {
                let (found, rest) = element(pattern, *byte);
                spend(pattern.len() - rest.len())?;
                if found {
                    (pattern, text) = (rest, tail);
                    continue;
                }
            }
        }
        let Some((behind_star, [_, tail @ ..])) = last_star else {
            return Ok(false);
        };
        spend(1)?;
        last_star = Some((behind_star, tail));
        (pattern, text) = (behind_star, tail);
    }
}

/// Whether the pattern's first element matches the byte, and the pattern after it.
fn element(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    match pattern {
        [] => (false, pattern),
        [b'?', rest @ ..] => (true, rest),
        [b'[', set @ ..] => class(set, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte, rest),
    }
}

/// The same for a set, after its opening bracket. A set that is not closed ends with the pattern.
fn class(set: &[u8], byte: u8) -> (bool, &[u8]) {
    let (mut set, wanted) = match set {
        [b'^', rest @ ..] => (rest, false),
        _ => (set, true),
    };
    let mut found = false;
    loop {
        let (low, high);
        (low, high, set) = match set {
            [] => return (found == wanted, set),
            [b']', rest @ ..] => return (found == wanted, rest),
            [b'\\', literal, rest @ ..] => (*literal, *literal, rest),
            [from, b'-', to, rest @ ..] => (*from.min(to), *from.max(to), rest),
            [literal, rest @ ..] => (*literal, *literal, rest),
        };
        found |= (low..=high).contains(&byte);
    }
}
