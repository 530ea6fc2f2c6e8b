//! Commands on lists.

use std::borrow::Cow;

use super::client::Client;
use super::command::{printable, wrong_number};
use super::integer::integer;
use super::reply::{NOT_AN_INTEGER, Outcome, Reply};
use super::store::{Bytes, End, List};

pub fn lpush(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    push(client, words, End::Left)
}

pub fn rpush(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    push(client, words, End::Right)
}

fn push(client: &Client<'_>, words: &[Vec<u8>], end: End) -> Outcome {
    let mut store = client.instance.store();
    let mut length = 0;
    for element in &words[2..] {
        length = store.push(&words[1], element, end)?;
    }
    Ok(Reply::count(length))
}

pub fn lrange(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let start = integer(&words[2]).ok_or(NOT_AN_INTEGER)?;
    let stop = integer(&words[3]).ok_or(NOT_AN_INTEGER)?;
    let store = client.instance.store();
    let Some(list) = store.list(&words[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let start = place(start, list.len());
    let end = place(stop.saturating_add(1), list.len());
    let end = if stop == -1 { list.len() } else { end };
    client.array(list.range(start.min(end)..end).map(Some))
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

pub fn llen(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let store = client.instance.store();
    let length = store.list(&words[1])?.map_or(0, List::len);
    Ok(Reply::count(length))
}

pub fn lpop(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    pop(client, words, End::Left)
}

pub fn rpop(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    pop(client, words, End::Right)
}

fn pop(client: &Client<'_>, words: &[Vec<u8>], end: End) -> Outcome {
    let key = &words[1];
    let count = match &words[2..] {
        [] => None,
        [count] => Some(element_count(count)?),
        _ => return Err(wrong_number(&printable(&words[0]).to_lowercase())),
    };
    let mut store = client.instance.store();
    let Some(list) = store.list(key)? else {
        return Ok(count.map_or(Reply::Null, |_| Reply::NullArray));
    };
    let most = count.unwrap_or(1).min(list.len());
    let elements = match end {
        End::Left => list.range(..most),
        End::Right => list.range(list.len() - most..),
    };
    let size = |element: &Bytes| element.len() + size_of::<Reply>();
    client.memory.reserve(elements.map(size).sum())?;
    let mut next = || store.pop(key, end).map(Reply::Bulk);
    match count {
        None => Ok(next().unwrap_or(Reply::Null)),
        Some(_) => Ok(Reply::array((0..most).map_while(|_| next()))),
    }
}

fn element_count(word: &[u8]) -> Result<usize, Cow<'static, str>> {
    integer(word)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or("ERR value is out of range, must be positive".into())
}
