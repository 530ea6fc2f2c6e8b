//! Commands on keys, whatever they hold.

use std::mem;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::integer::integer;
use super::pattern::matches;
use super::reply::{NOT_AN_INTEGER, OK, Outcome, Reply, SYNTAX};

/// The time that lies so many units, given in milliseconds, ahead; at once for a negative number.
/// `None` if it is too far away.
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
    let store = instance.store();
    let seconds = match store.deadline(&words[1]) {
        Some(at) => {
            let left = at.saturating_duration_since(Instant::now());
            let seconds = (left + Duration::from_millis(500)).as_secs();
            i64::try_from(seconds).unwrap_or(i64::MAX)
        }
        None if store.contains(&words[1]) => -1,
        None => -2,
    };
    Ok(Reply::Integer(seconds))
}

pub fn keys(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    // A copy, so that a slow pattern holds up nobody else.
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
    // Only now, when the store is free again: it may take a while.
    drop(all);
    Ok(OK)
}
