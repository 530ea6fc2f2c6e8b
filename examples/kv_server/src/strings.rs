//! Commands on strings.

use std::borrow::Cow;
use std::time::Instant;

use super::client::Client;
use super::command::{upper, wrong_number};
use super::integer::integer;
use super::keys::deadline;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Reply, SYNTAX};
use super::store::{Bytes, Value};

pub fn get(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let store = client.instance.store();
    match store.text(&words[1])? {
        Some(text) => client.bulk(Bytes::clone(text)),
        None => Ok(Reply::Null),
    }
}

pub fn set(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let options = SetOptions::parse(&words[3..])?;
    let mut store = client.instance.store();
    let differs = |wanted| wanted != store.contains(&words[1]);
    if options.if_exists.is_some_and(differs) {
        return Ok(Reply::Null);
    }
    let value = Value::Text(words[2][..].into());
    store.set(&words[1], value, options.deadline);
    Ok(OK)
}

#[derive(Default)]
struct SetOptions {
    deadline: Option<Instant>,
    /// XX, or NX if false.
    if_exists: Option<bool>,
}

impl SetOptions {
    fn parse(words: &[Vec<u8>]) -> Result<Self, Cow<'static, str>> {
        let mut options = SetOptions::default();
        let mut time = None;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &*upper(word) {
                b"NX" if options.if_exists != Some(true) => options.if_exists = Some(false),
                b"XX" if options.if_exists != Some(false) => options.if_exists = Some(true),
                b"EX" if time.is_none() => time = Some((words.next().ok_or(SYNTAX)?, 1000)),
                b"PX" if time.is_none() => time = Some((words.next().ok_or(SYNTAX)?, 1)),
                _ => return Err(SYNTAX),
            }
        }
        if let Some((time, unit)) = time {
            let time = integer(time).ok_or(NOT_AN_INTEGER)?;
            let at = deadline(time, unit).filter(|_| time > 0);
            options.deadline = Some(at.ok_or("ERR invalid expire time in 'set' command")?);
        }
        Ok(options)
    }
}

pub fn mset(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let pairs = words[1..].chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(wrong_number("mset"));
    }
    let mut store = client.instance.store();
    for pair in pairs {
        store.set(&pair[0], Value::Text(pair[1][..].into()), None);
    }
    Ok(OK)
}

pub fn mget(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let store = client.instance.store();
    client.array(words[1..].iter().map(|key| store.text(key).ok().flatten()))
}

pub fn incr(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    add(client, &words[1], 1)
}

pub fn incrby(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    add(client, &words[1], integer(&words[2]).ok_or(NOT_AN_INTEGER)?)
}

fn add(client: &Client<'_>, key: &[u8], amount: i64) -> Outcome {
    let mut store = client.instance.store();
    let value = match store.text(key)? {
        Some(text) => integer(text).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let value = value
        .checked_add(amount)
        .ok_or("ERR increment or decrement would overflow")?;
    let deadline = store.deadline(key);
    store.set(
        key,
        Value::Text(value.to_string().as_bytes().into()),
        deadline,
    );
    Ok(Reply::Integer(value))
}
