//! Keys, values, and when they expire.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Shared, so that a reply is written while the store is unlocked.
pub type Bytes = Arc<[u8]>;
pub type List = VecDeque<Bytes>;

const WRONG_TYPE: Cow<str> =
    Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value");

/// The approximate memory of a key, its deadline or an element in addition to its bytes, in the C library
/// of Linux.
const KEY: usize = 192;
const DEADLINE: usize = 64;
const ELEMENT: usize = 64;

#[derive(Default)]
pub struct Store {
    entries: HashMap<Bytes, Entry>,
    /// The keys that expire, the next one first.
    deadlines: BTreeSet<(Instant, Bytes)>,
    used: usize,
}

struct Entry {
    value: Value,
    deadline: Option<Instant>,
}

pub enum Value {
    Text(Bytes),
    List(List),
}

#[derive(Clone, Copy)]
pub enum End {
    Left,
    Right,
}

impl Store {
    pub fn contains(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key)
    }

    pub fn value(&self, key: &[u8]) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub fn text(&self, key: &[u8]) -> Result<Option<&Bytes>, Cow<'static, str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::List(_)) => Err(WRONG_TYPE),
        }
    }

    pub fn list(&self, key: &[u8]) -> Result<Option<&List>, Cow<'static, str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::Text(_)) => Err(WRONG_TYPE),
        }
    }

    /// Sets a value, and removes the old one and its deadline.
    pub fn set(&mut self, key: &[u8], value: Value, deadline: Option<Instant>) {
        if let (Some(entry), None) = (self.entries.get_mut(key), deadline)
            && entry.deadline.is_none()
        {
            self.used += value.size();
            self.used -= entry.value.size();
            entry.value = value;
            return;
        }
        self.remove(key);
        let key = Bytes::from(key);
        self.used += KEY + key.len() + value.size();
        if let Some(at) = deadline {
            self.used += DEADLINE;
            self.deadlines.insert((at, Arc::clone(&key)));
        }
        self.entries.insert(key, Entry { value, deadline });
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        self.used -= KEY + key.len() + entry.value.size();
        if let Some(at) = entry.deadline {
            self.used -= DEADLINE;
            self.deadlines.remove(&(at, key));
        }
        // A table keeps its size when keys are removed, and that is not counted.
        if is_sparse(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to(2 * self.entries.len());
        }
        true
    }

    /// Adds an element to a list, which is created if there is none, and returns its new length.
    pub fn push(
        &mut self,
        key: &[u8],
        element: &[u8],
        end: End,
    ) -> Result<usize, Cow<'static, str>> {
        let entry = match self.entries.get_mut(key) {
            Some(entry) => entry,
            None => {
                self.set(key, Value::List(List::new()), None);
                self.entries.get_mut(key).expect("it was just set")
            }
        };
        let Value::List(list) = &mut entry.value else {
            return Err(WRONG_TYPE);
        };
        match end {
            End::Left => list.push_front(element.into()),
            End::Right => list.push_back(element.into()),
        }
        self.used += ELEMENT + element.len();
        Ok(list.len())
    }

    /// Removes an element from a list. A list that becomes empty is removed.
    pub fn pop(&mut self, key: &[u8], end: End) -> Option<Bytes> {
        let Value::List(list) = &mut self.entries.get_mut(key)?.value else {
            return None;
        };
        let element = match end {
            End::Left => list.pop_front()?,
            End::Right => list.pop_back()?,
        };
        self.used -= ELEMENT + element.len();
        if is_sparse(list.len(), list.capacity()) {
            list.shrink_to(2 * list.len());
        }
        if list.is_empty() {
            self.remove(key);
        }
        Some(element)
    }

    /// When the key expires, if it exists and has a deadline.
    pub fn deadline(&self, key: &[u8]) -> Option<Instant> {
        self.entries.get(key)?.deadline
    }

    /// Sets when a key expires; false if there is none.
    pub fn expire(&mut self, key: &[u8], at: Instant) -> bool {
        let Some((key, mut entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        if let Some(before) = entry.deadline.replace(at) {
            self.deadlines.remove(&(before, Arc::clone(&key)));
        } else {
            self.used += DEADLINE;
        }
        self.deadlines.insert((at, Arc::clone(&key)));
        self.entries.insert(key, entry);
        true
    }

    pub fn remove_expired(&mut self) {
        // Most stores have no key that expires, and need no clock.
        if self.deadlines.is_empty() {
            return;
        }
        let now = Instant::now();
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.deadlines.pop_first() {
                self.remove(&key);
            }
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many keys expire.
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// The approximate memory of keys and values, in bytes.
    pub fn used(&self) -> usize {
        self.used
    }
}

/// Whether less than a quarter of the memory is used.
fn is_sparse(length: usize, capacity: usize) -> bool {
    capacity > 64 && length < capacity / 4
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::List(list) => list.iter().map(|element| ELEMENT + element.len()).sum(),
        }
    }
}
