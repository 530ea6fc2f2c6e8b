//! Replies to a client.

use std::borrow::Cow;
use std::io::{self, Write};

use super::store::Bytes;

pub enum Reply {
    Simple(&'static str),
    Integer(i64),
    Bulk(Bytes),
    Array(Vec<Reply>),
    Map(Vec<(&'static str, Reply)>),
    Null,
    NullArray,
    /// An error's code and text.
    Error(Cow<'static, str>),
    /// The protocol from here on.
    Hello(Protocol),
    /// A line, after which the connection is closed.
    Final(Cow<'static, str>),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Protocol {
    Resp2,
    Resp3,
}

/// What a command returns; the error is an [`Error`](Reply::Error).
pub type Outcome = Result<Reply, Cow<'static, str>>;

/// The version of Redis that is imitated: clients read it to know which commands there are.
pub const REDIS_VERSION: &str = "7.0.15";

pub const OK: Reply = Reply::Simple("OK");
pub const NOT_AN_INTEGER: Cow<str> = Cow::Borrowed("ERR value is not an integer or out of range");
pub const SYNTAX: Cow<str> = Cow::Borrowed("ERR syntax error");

impl Reply {
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Reply::Bulk(text.as_ref().into())
    }

    pub fn count(count: usize) -> Self {
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub fn array(items: impl IntoIterator<Item = Reply>) -> Self {
        Reply::Array(items.into_iter().collect())
    }

    pub fn write(&self, protocol: Protocol, out: &mut impl Write) -> io::Result<()> {
        match self {
            Reply::Simple(text) => write_line(b"+", text, out),
            Reply::Integer(value) => write!(out, ":{value}\r\n"),
            Reply::Bulk(bytes) => write_bulk(bytes, out),
            Reply::Array(items) => {
                write!(out, "*{}\r\n", items.len())?;
                items.iter().try_for_each(|item| item.write(protocol, out))
            }
            Reply::Map(pairs) => write_map(pairs, protocol, out),
            Reply::Hello(agreed) => write_map(&introduction(*agreed), *agreed, out),
            Reply::Null | Reply::NullArray if protocol == Protocol::Resp3 => {
                out.write_all(b"_\r\n")
            }
            Reply::Null => out.write_all(b"$-1\r\n"),
            Reply::NullArray => out.write_all(b"*-1\r\n"),
            Reply::Error(text) => write_line(b"-", text, out),
            Reply::Final(line) => write_line(b"", line, out),
        }
    }
}

fn write_line(kind: &[u8], text: &str, out: &mut impl Write) -> io::Result<()> {
    out.write_all(kind)?;
    out.write_all(text.as_bytes())?;
    out.write_all(b"\r\n")
}

fn write_bulk(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    write!(out, "${}\r\n", bytes.len())?;
    out.write_all(bytes)?;
    out.write_all(b"\r\n")
}

/// RESP2 has no maps: there it is an array of keys and values in turn.
fn write_map(pairs: &[(&str, Reply)], protocol: Protocol, out: &mut impl Write) -> io::Result<()> {
    match protocol {
        Protocol::Resp2 => write!(out, "*{}\r\n", 2 * pairs.len())?,
        Protocol::Resp3 => write!(out, "%{}\r\n", pairs.len())?,
    }
    pairs.iter().try_for_each(|(key, value)| {
        write_bulk(key.as_bytes(), out)?;
        value.write(protocol, out)
    })
}

fn introduction(agreed: Protocol) -> Vec<(&'static str, Reply)> {
    let version = match agreed {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    vec![
        ("server", Reply::text("redis")),
        ("version", Reply::text(REDIS_VERSION)),
        ("proto", Reply::Integer(version)),
        ("mode", Reply::text("standalone")),
        ("role", Reply::text("master")),
        ("modules", Reply::Array(Vec::new())),
    ]
}
