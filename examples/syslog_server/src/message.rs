//! Parses a message: RFC 5424, or RFC 3164 and what programs send as such.

use std::borrow::Cow;
use std::fmt;

use socketserver::Address;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// `user.notice`: the priority of a message without one.
const DEFAULT_PRIORITY: usize = 13;

/// The limit of a tag, in bytes: what is longer belongs to the text.
const MAX_TAG: usize = 64;

pub struct Message<'a> {
    priority: usize,
    host: Cow<'a, str>,
    tag: Cow<'a, str>,
    text: &'a str,
}

impl<'a> Message<'a> {
    /// Every text is a message. If it names no host, the sender's address is used.
    pub fn parse(text: &'a str, sender: &Address) -> Self {
        let (priority, rest) = priority(text).unwrap_or((DEFAULT_PRIORITY, text));
        let is_remote = sender.ip().is_some();
        let parts = rfc_5424(rest).unwrap_or_else(|| rfc_3164(rest, is_remote));
        let sender = || sender.ip().map_or("localhost".into(), |ip| ip.to_string());
        Message {
            priority,
            host: parts.host.map_or_else(|| sender().into(), Cow::from),
            tag: parts.tag,
            text: parts.text,
        }
    }
}

struct Parts<'a> {
    host: Option<&'a str>,
    tag: Cow<'a, str>,
    text: &'a str,
}

fn priority(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    let priority = digits.parse().ok()?;
    let is_one = digits.len() <= 3 && priority < FACILITIES.len() * SEVERITIES.len();
    is_one.then_some((priority, rest))
}

/// `1 TIME HOST APP PROCESS ID DATA TEXT`, where `-` means a missing part.
fn rfc_5424(rest: &str) -> Option<Parts<'_>> {
    let mut fields = rest.strip_prefix("1 ")?.splitn(6, ' ');
    let mut field = || fields.next();
    let (_time, host, app, process, _id) = (field()?, field()?, field()?, field()?, field()?);
    let text = skip_data(field()?)?;
    let tag = match process {
        "-" => app.into(),
        process => format!("{app}[{process}]").into(),
    };
    Some(Parts {
        host: Some(host).filter(|host| *host != "-"),
        tag,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
    })
}

/// `-`, or elements in brackets that may hold any character in quotes.
fn skip_data(rest: &str) -> Option<&str> {
    let mut text = rest.strip_prefix('-');
    let mut after = rest;
    while let Some(element) = after.strip_prefix('[') {
        after = &element[end_of_element(element)? + 1..];
        text = Some(after);
    }
    let text = text?;
    text.strip_prefix(' ').or(text.is_empty().then_some(text))
}

fn end_of_element(element: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    element.bytes().position(|byte| {
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        byte == b']' && !quoted
    })
}

/// `TIME HOST TAG: TEXT`. Programs on this machine omit the host, and some omit all but the text.
fn rfc_3164(rest: &str, is_remote: bool) -> Parts<'_> {
    let (host, rest) = match skip_time(rest) {
        Some(rest) if is_remote => split_host(rest),
        Some(rest) => (None, rest),
        None => (None, rest),
    };
    let (tag, text) = split_tag(rest).unwrap_or(("-", rest));
    Parts {
        host,
        tag: tag.into(),
        text,
    }
}

/// A time looks like this one.
const TIME: &[u8] = b"Nov 21 13:37:15 ";

fn skip_time(rest: &str) -> Option<&str> {
    let (time, rest) = rest.split_at_checked(TIME.len())?;
    let alike = |(this, model): (u8, &u8)| match model {
        b'0'..=b'9' => this.is_ascii_digit(),
        b'A'..=b'z' => this.is_ascii_alphabetic(),
        _ => this == *model,
    };
    // A day of one digit has a blank before it.
    let day = time.replacen("  ", " 0", 1);
    day.bytes().zip(TIME).all(alike).then_some(rest)
}

fn split_host(rest: &str) -> (Option<&str>, &str) {
    match rest.split_once(' ') {
        Some((host, rest)) if !host.ends_with(':') => (Some(host), rest),
        _ => (None, rest),
    }
}

fn split_tag(rest: &str) -> Option<(&str, &str)> {
    let (tag, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let tag = tag.strip_suffix(':')?;
    (1..=MAX_TAG).contains(&tag.len()).then_some((tag, text))
}

/// `FACILITY.SEVERITY HOST TAG: TEXT`
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facility = FACILITIES[self.priority / SEVERITIES.len()];
        let severity = SEVERITIES[self.priority % SEVERITIES.len()];
        let [host, tag, text] = [&self.host, &self.tag, self.text].map(printable);
        write!(f, "{facility}.{severity} {host} {tag}: {text}")
    }
}

/// Characters that end the line, move the cursor or reverse the text are shown as escapes.
fn printable(text: &str) -> String {
    // Quotes are shown as they are: each of them has a backslash of its own here.
    let escaped = text.escape_debug().to_string();
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}
