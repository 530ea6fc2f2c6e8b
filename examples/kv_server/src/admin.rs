//! Commands about the server and the connection.

use std::borrow::Cow;

use super::command::{COMMANDS, Command, printable, wrong_number};
use super::instance::Instance;
use super::integer::integer;
use super::pattern::matches;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Protocol, Reply};

pub fn ping(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    match &words[1..] {
        [] => Ok(Reply::Simple("PONG")),
        [text] => Ok(Reply::text(text)),
        _ => Err(wrong_number("ping")),
    }
}

pub fn echo(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    Ok(Reply::text(&words[1]))
}

pub fn quit(_: &Instance, _: &[Vec<u8>]) -> Outcome {
    Ok(Reply::Final("+OK".into()))
}

/// There is one database, number 0.
pub fn select(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    match integer(&words[1]) {
        Some(0) => Ok(OK),
        Some(_) => Err("ERR DB index is out of range".into()),
        None => Err(NOT_AN_INTEGER),
    }
}

/// Agrees on the protocol: RESP2, unless a client asks for RESP3.
pub fn hello(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    match words.get(1).map(Vec::as_slice) {
        None | Some(b"2") => Ok(Reply::Hello(Protocol::Resp2)),
        Some(b"3") => Ok(Reply::Hello(Protocol::Resp3)),
        Some(_) => Err("NOPROTO unsupported protocol version".into()),
    }
}

/// What clients report about themselves is accepted and ignored.
pub fn client(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    match &*words[1].to_ascii_uppercase() {
        b"SETINFO" | b"SETNAME" => Ok(OK),
        b"GETNAME" => Ok(Reply::Null),
        _ => Err(unknown_subcommand("CLIENT", &words[1])),
    }
}

pub fn config(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
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
        ("maxclients", instance.max_clients.to_string()),
        ("maxmemory", instance.max_memory.to_string()),
        ("save", String::new()),
    ];
    let wanted = |name: &str| {
        let name = name.as_bytes();
        patterns
            .iter()
            .any(|p| matches(&p.to_ascii_lowercase(), name))
    };
    let found = settings.into_iter().filter(|(name, _)| wanted(name));
    let pairs = found.map(|(name, value)| (name, Reply::text(value)));
    Ok(Reply::Map(pairs.collect()))
}

pub fn command(_: &Instance, words: &[Vec<u8>]) -> Outcome {
    let Some(subcommand) = words.get(1) else {
        return Ok(Reply::array(COMMANDS.iter().map(description)));
    };
    match &*subcommand.to_ascii_uppercase() {
        b"COUNT" => Ok(Reply::count(COMMANDS.len())),
        b"DOCS" => Ok(Reply::Array(Vec::new())),
        _ => Err(unknown_subcommand("COMMAND", subcommand)),
    }
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
