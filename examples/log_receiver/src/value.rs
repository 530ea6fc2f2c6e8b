//! Python's values, as a pickle makes them.

use std::borrow::Cow;

use num_bigint::BigInt;

/// All values of one pickle. They refer to each other by index, as in Python: a value that is used twice
/// is not copied, and a list may contain itself.
pub type Values<'a> = [Value<'a>];

/// The index of a value.
pub type Id = usize;

pub enum Value<'a> {
    /// Also what is no plain data: a class, a function, and what a call returns.
    None,
    Bool(bool),
    Int(BigInt),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    ByteArray(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    FrozenSet(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Callable(Callable),
}

/// The functions and types that pickles of plain data call.
#[derive(Clone, Copy)]
pub enum Callable {
    ByteArray,
    Bytes,
    FrozenSet,
    List,
    Set,
}

/// The value of a dict's key. If the key is there twice, the last one counts, as in Python.
pub fn item(values: &Values<'_>, items: &[(Id, Id)], name: &str) -> Option<Id> {
    let is_named = |id: Id| matches!(&values[id], Value::Text(text) if text == name);
    let found = items.iter().rev().find(|(key, _)| is_named(*key));
    found.map(|(_, value)| *value)
}
