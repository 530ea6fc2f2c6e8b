//! Commands on lists.

use std::borrow::Cow;

use super::command::{printable, wrong_number};
use super::instance::Instance;
use super::integer::integer;
use super::reply::{NOT_AN_INTEGER, Outcome, Reply};
use super::store::{End, List};

pub fn lpush(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    push(instance, words, End::Left)
}

pub fn rpush(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    push(instance, words, End::Right)
}

fn push(instance: &Instance, words: &[Vec<u8>], end: End) -> Outcome {
    let mut store = instance.store();
    let mut length = 0;
    for element in &words[2..] {
        length = store.push(&words[1], element, end)?;
    }
    Ok(Reply::count(length))
}

pub fn lrange(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let start = integer(&words[2]).ok_or(NOT_AN_INTEGER)?;
    let stop = integer(&words[3]).ok_or(NOT_AN_INTEGER)?;
    let store = instance.store();
    let Some(list) = store.list(&words[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let start = place(start, list.len());
    let end = place(stop.saturating_add(1), list.len());
    let end = if stop == -1 { list.len() } else { end };
    let elements = list.iter().take(end).skip(start).cloned();
    Ok(Reply::array(elements.map(Reply::Bulk)))
}

/// The position of an index, which counts from the end if it is negative, and at most the length.
fn place(index: i64, length: usize) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 {
        length.saturating_sub(distance)
    } else {
        distance.min(length)
    }
}

pub fn llen(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let store = instance.store();
    let length = store.list(&words[1])?.map_or(0, List::len);
    Ok(Reply::count(length))
}

pub fn lpop(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    pop(instance, words, End::Left)
}

pub fn rpop(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    pop(instance, words, End::Right)
}

fn pop(instance: &Instance, words: &[Vec<u8>], end: End) -> Outcome {
    let key = &words[1];
    let count = match &words[2..] {
        [] => None,
        [count] => Some(element_count(count)?),
        _ => return Err(wrong_number(&printable(&words[0]).to_lowercase())),
    };
    let mut store = instance.store();
    let there = store.list(key)?.is_some();
    let mut next = || store.pop(key, end).map(Reply::Bulk);
    Ok(match count {
        None => next().unwrap_or(Reply::Null),
        Some(_) if !there => Reply::NullArray,
        Some(count) => Reply::array((0..count).map_while(|_| next())),
    })
}

fn element_count(word: &[u8]) -> Result<usize, Cow<'static, str>> {
    integer(word)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or("ERR value is out of range, must be positive".into())
}
