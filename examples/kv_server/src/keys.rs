//! Commands on keys, whatever they hold.

use std::borrow::Cow;
use std::mem;
use std::time::{Duration, Instant};

use socketserver::task;

use super::client::Client;
use super::command::printable;
use super::integer::integer;
use super::pattern::matches;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Reply, SYNTAX};
use super::store::{Bytes, Value};

/// The time in this many units of this many milliseconds; now for a negative number. `None` if it is
/// too far in the future.
pub fn deadline(time: i64, unit: i64) -> Option<Instant> {
    let milliseconds = time.checked_mul(unit)?.try_into().unwrap_or(0);
    Instant::now().checked_add(Duration::from_millis(milliseconds))
}

pub fn del(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let mut store = client.instance.store();
    let removed = words[1..].iter().filter(|key| store.remove(key)).count();
    Ok(Reply::count(removed))
}

pub fn exists(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let store = client.instance.store();
    let there = words[1..].iter().filter(|key| store.contains(key)).count();
    Ok(Reply::count(there))
}

pub fn expire(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    if let Some(option) = words.get(3) {
        return Err(format!("ERR Unsupported option {}", printable(option)).into());
    }
    let seconds = integer(&words[2]).ok_or(NOT_AN_INTEGER)?;
    let at = deadline(seconds, 1000).ok_or("ERR invalid expire time in 'expire' command")?;
    let found = client.instance.store().expire(&words[1], at);
    Ok(Reply::Integer(found.into()))
}

/// Rounded to the nearest second, as Redis does.
pub fn ttl(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let seconds = |left: Duration| (left + Duration::from_millis(500)).as_secs().into();
    Ok(time_left(client, &words[1], seconds))
}

pub fn pttl(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    Ok(time_left(client, &words[1], |left| left.as_millis()))
}

/// The time until a key expires: -1 if it does not expire, -2 if there is no such key.
fn time_left(client: &Client<'_>, key: &[u8], unit: impl Fn(Duration) -> u128) -> Reply {
    let store = client.instance.store();
    Reply::Integer(match store.deadline(key) {
        Some(at) => {
            let left = at.saturating_duration_since(Instant::now());
            unit(left).try_into().unwrap_or(i64::MAX)
        }
        None if store.contains(key) => -1,
        None => -2,
    })
}

pub fn kind(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    Ok(Reply::Simple(
        match client.instance.store().value(&words[1]) {
            Some(Value::Text(_)) => "string",
            Some(Value::List(_)) => "list",
            None => "none",
        },
    ))
}

pub fn dbsize(client: &Client<'_>, _: &[Vec<u8>]) -> Outcome {
    Ok(Reply::count(client.instance.store().len()))
}

pub fn keys(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    // A copy: other commands do not wait for a slow pattern.
    let keys = copy_of_keys(client)?;
    let mut search = Search {
        client,
        begin: Instant::now(),
        left: CHECK_EVERY,
    };
    let mut found = Vec::new();
    for key in keys {
        if matches(&words[1], &key, |bytes| search.spend(bytes))? {
            found.push(Reply::Bulk(key));
        }
    }
    Ok(Reply::Array(found))
}

fn copy_of_keys(client: &Client<'_>) -> Result<Vec<Bytes>, Cow<'static, str>> {
    let store = client.instance.store();
    let each = size_of::<Bytes>() + 2 * size_of::<Reply>();
    let size = |key: &Bytes| key.len() + each;
    client.memory.reserve(store.keys().map(size).sum())?;
    Ok(store.keys().cloned().collect())
}

/// How long KEYS may take.
const MAX_SEARCH: Duration = Duration::from_secs(30);
/// How many bytes of the pattern are compared until the next check: some milliseconds.
const CHECK_EVERY: usize = 1 << 20;

/// A slow pattern must not use the processor after its client is gone, nor without end.
struct Search<'a> {
    client: &'a Client<'a>,
    begin: Instant,
    left: usize,
}

impl Search<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Cow<'static, str>> {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Ok(());
        }
        self.left = CHECK_EVERY;
        if self.begin.elapsed() > MAX_SEARCH || self.client.is_gone() {
            return Err("ERR KEYS takes too long".into());
        }
        // With --green, other clients of this thread do not wait for a slow pattern either.
        task::yield_now();
        Ok(())
    }
}

pub fn flushall(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let plain = match &words[1..] {
        [] => true,
        [mode] => mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync"),
        _ => false,
    };
    if !plain {
        return Err(SYNTAX);
    }
    let all = mem::take(&mut *client.instance.store());
    // After the store is unlocked: this may take a while.
    drop(all);
    Ok(OK)
}
