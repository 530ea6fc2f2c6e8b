//! Addresses in angle brackets, as MAIL and RCPT have them.

/// The address between `<` and `>`, which may be empty, and the text after it. `None` if it is not one.
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('<')?;
    let end = end(text)?;
    let (path, rest) = (&text[..end], &text[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    // A route through other servers is obsolete, and ignored (RFC 5321, appendix C).
    let address = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    is_address(address).then_some((address, rest))
}

/// The position of the `>` that is not in quotes.
fn end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let is_escaped = escaped;
        escaped = quoted && byte == b'\\' && !is_escaped;
        quoted ^= byte == b'"' && !is_escaped;
        byte == b'>' && !quoted
    })
}

/// Whether it is empty, has a local part and a domain, or is `postmaster`, which needs no domain.
fn is_address(address: &str) -> bool {
    match address.rsplit_once('@') {
        None => address.is_empty() || is_postmaster(address),
        Some((local, domain)) => is_local_part(local) && is_domain(domain),
    }
}

pub fn is_postmaster(address: &str) -> bool {
    address.eq_ignore_ascii_case("postmaster")
}

/// Words with dots between them, or a text in quotes.
fn is_local_part(local: &str) -> bool {
    let is_quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let mut words = local.split('.');
    let are_words = words.all(|word| !word.is_empty() && word.chars().all(is_in_word));
    local.len() <= 64 && (is_quoted || are_words)
}

/// A name, or an IP address in square brackets.
pub fn is_domain(domain: &str) -> bool {
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    let text = literal.unwrap_or(domain);
    let may_contain =
        |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || (c == ':' && literal.is_some());
    !text.is_empty() && domain.len() <= 255 && text.chars().all(may_contain)
}
