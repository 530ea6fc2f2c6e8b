//! Commands on keys, whatever they hold.

use std::mem;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::integer::integer;
use super::pattern::matches;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Reply, SYNTAX};
use super::store::Value;

/// The time in this many units of this many milliseconds; now for a negative number. `None` if it is
/// too far in the future.
pub fn deadline(time: i64, unit: i64) -> Option<Instant> {
    let milliseconds = time.checked_mul(unit)?.try_into().unwrap_or(0);
    Instant::now().checked_add(Duration::from_millis(milliseconds))
}

pub fn del(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let mut store = instance.store();
    let removed = words[1..].iter().filter(|key| store.remove(key)).count();
    Ok(Reply::count(removed))
}

pub fn exists(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let store = instance.store();
    let there = words[1..].iter().filter(|key| store.contains(key)).count();
    Ok(Reply::count(there))
}

pub fn expire(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    if let Some(option) = words.get(3) {
        return Err(format!("ERR Unsupported option {}", option.escape_ascii()).into());
    }
    let seconds = integer(&words[2]).ok_or(NOT_AN_INTEGER)?;
    let at = deadline(seconds, 1000).ok_or("ERR invalid expire time in 'expire' command")?;
    let found = instance.store().expire(&words[1], at);
    Ok(Reply::Integer(found.into()))
}

/// Rounded to the nearest second, as Redis does.
pub fn ttl(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let seconds = |left: Duration| (left + Duration::from_millis(500)).as_secs().into();
    Ok(time_left(instance, &words[1], seconds))
}

pub fn pttl(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    Ok(time_left(instance, &words[1], |left| left.as_millis()))
}

/// The time until a key expires: -1 if it does not expire, -2 if there is no such key.
fn time_left(instance: &Instance, key: &[u8], unit: impl Fn(Duration) -> u128) -> Reply {
    let store = instance.store();
    Reply::Integer(match store.deadline(key) {
        Some(at) => {
            let left = at.saturating_duration_since(Instant::now());
            unit(left).try_into().unwrap_or(i64::MAX)
        }
        None if store.contains(key) => -1,
        None => -2,
    })
}

pub fn kind(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    Ok(Reply::Simple(match instance.store().value(&words[1]) {
        Some(Value::Text(_)) => "string",
        Some(Value::List(_)) => "list",
        None => "none",
    }))
}

pub fn dbsize(instance: &Instance, _: &[Vec<u8>]) -> Outcome {
    Ok(Reply::count(instance.store().len()))
}

pub fn keys(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    // A copy: other commands do not wait for a slow pattern.
    let keys = instance.store().keys();
    let found = keys.into_iter().filter(|key| matches(&words[1], key));
    Ok(Reply::array(found.map(Reply::Bulk)))
}

pub fn flushall(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let plain = match &words[1..] {
        [] => true,
        [mode] => mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync"),
        _ => false,
    };
    if !plain {
        return Err(SYNTAX);
    }
    let all = mem::take(&mut *instance.store());
    // After the store is unlocked: this may take a while.
    drop(all);
    Ok(OK)
}
