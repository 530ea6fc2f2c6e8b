//! Commands about the server and the connection.

use std::borrow::Cow;
use std::convert::Infallible;

use super::client::Client;
use super::command::{COMMANDS, Command, printable, upper, wrong_number};
use super::integer::integer;
use super::pattern::matches;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Protocol, Reply};

pub fn ping(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    match &words[1..] {
        [] => Ok(Reply::Simple("PONG")),
        [text] => client.bulk(text[..].into()),
        _ => Err(wrong_number("ping")),
    }
}

pub fn echo(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    client.bulk(words[1][..].into())
}

pub fn quit(_: &Client<'_>, _: &[Vec<u8>]) -> Outcome {
    Ok(Reply::Final("+OK".into()))
}

/// There is one database, number 0.
pub fn select(_: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    match integer(&words[1]) {
        Some(0) => Ok(OK),
        Some(_) => Err("ERR DB index is out of range".into()),
        None => Err(NOT_AN_INTEGER),
    }
}

/// Agrees on the protocol: RESP2, unless a client asks for RESP3.
pub fn hello(_: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    match words.get(1).map(Vec::as_slice) {
        None | Some(b"2") => Ok(Reply::Hello(Protocol::Resp2)),
        Some(b"3") => Ok(Reply::Hello(Protocol::Resp3)),
        Some(_) => Err("NOPROTO unsupported protocol version".into()),
    }
}

/// What clients report about themselves is accepted and ignored.
pub fn client(_: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    match &*upper(&words[1]) {
        b"SETINFO" | b"SETNAME" => Ok(OK),
        b"GETNAME" => Ok(Reply::Null),
        _ => Err(unknown_subcommand("CLIENT", &words[1])),
    }
}

pub fn config(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    if !words[1].eq_ignore_ascii_case(b"get") {
        return Err(unknown_subcommand("CONFIG", &words[1]));
    }
    let patterns = &words[2..];
    if patterns.is_empty() {
        return Err(wrong_number("config|get"));
    }
    let settings = [
        ("appendonly", "no".to_owned()),
        ("databases", "1".to_owned()),
        ("maxclients", client.instance.max_clients.to_string()),
        ("maxmemory", client.instance.max_memory.to_string()),
        ("save", String::new()),
    ];
    let wanted = |name: &str| {
        let free = |_| Ok::<_, Infallible>(());
        let is_match = |pattern: &Vec<u8>| matches(&lower(pattern), name.as_bytes(), free);
        patterns.iter().any(|pattern| is_match(pattern) == Ok(true))
    };
    let found = settings.into_iter().filter(|(name, _)| wanted(name));
    let pairs = found.map(|(name, value)| (name, Reply::text(value)));
    Ok(Reply::Map(pairs.collect()))
}

pub fn command(_: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let Some(subcommand) = words.get(1) else {
        return Ok(Reply::array(COMMANDS.iter().map(description)));
    };
    match &*upper(subcommand) {
        b"COUNT" => Ok(Reply::count(COMMANDS.len())),
        b"DOCS" => Ok(Reply::Array(Vec::new())),
        _ => Err(unknown_subcommand("COMMAND", subcommand)),
    }
}

/// In lower case as the settings' names; a pattern that is longer than any of them is cut off.
fn lower(pattern: &[u8]) -> Vec<u8> {
    pattern[..pattern.len().min(128)].to_ascii_lowercase()
}

fn description(command: &Command) -> Reply {
    let flags = command.flags.split(' ').map(Reply::text);
    let mut fields = vec![
        Reply::text(command.name),
        Reply::Integer(command.arity),
        Reply::array(flags),
    ];
    fields.extend(command.keys.map(Reply::Integer));
    // Access categories, hints, details of the keys, and subcommands: all empty here.
    fields.extend((0..4).map(|_| Reply::Array(Vec::new())));
    Reply::Array(fields)
}

fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Cow<'static, str> {
    let subcommand = printable(subcommand);
    format!("ERR unknown subcommand '{subcommand}'. Try {command} HELP.").into()
}
