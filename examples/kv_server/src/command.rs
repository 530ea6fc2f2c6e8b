//! The table of commands, and how one is found and run.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::client::Client;
use super::reply::{Outcome, Reply};
use super::{admin, info, keys, lists, strings};

pub struct Command {
    pub name: &'static str,
    /// The number of words with its name; a negative number is a minimum.
    pub arity: i64,
    pub flags: &'static str,
    /// Which of its words are keys: the first, the last (counted from the end if negative), the step.
    pub keys: [i64; 3],
    run: fn(&Client<'_>, &[Vec<u8>]) -> Outcome,
}

/// The flag of commands that may need more memory.
const DENYOOM: &str = "denyoom";

const NO_KEY: [i64; 3] = [0, 0, 0];
const ONE_KEY: [i64; 3] = [1, 1, 1];
const KEYS: [i64; 3] = [1, -1, 1];
const PAIRS: [i64; 3] = [1, -1, 2];

#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    command("ping", -1, "fast", NO_KEY, admin::ping),
    command("get", 2, "readonly fast", ONE_KEY, strings::get),
    command("set", -3, "write denyoom", ONE_KEY, strings::set),
    command("incr", 2, "write denyoom fast", ONE_KEY, strings::incr),
    command("incrby", 3, "write denyoom fast", ONE_KEY, strings::incrby),
    command("mget", -2, "readonly fast", KEYS, strings::mget),
    command("mset", -3, "write denyoom", PAIRS, strings::mset),
    command("lpush", -3, "write denyoom fast", ONE_KEY, lists::lpush),
    command("rpush", -3, "write denyoom fast", ONE_KEY, lists::rpush),
    command("lpop", -2, "write fast", ONE_KEY, lists::lpop),
    command("rpop", -2, "write fast", ONE_KEY, lists::rpop),
    command("llen", 2, "readonly fast", ONE_KEY, lists::llen),
    command("lrange", 4, "readonly", ONE_KEY, lists::lrange),
    command("del", -2, "write", KEYS, keys::del),
    command("exists", -2, "readonly fast", KEYS, keys::exists),
    command("expire", -3, "write fast", ONE_KEY, keys::expire),
    command("ttl", 2, "readonly fast", ONE_KEY, keys::ttl),
    command("pttl", 2, "readonly fast", ONE_KEY, keys::pttl),
    command("type", 2, "readonly fast", ONE_KEY, keys::kind),
    command("keys", 2, "readonly", NO_KEY, keys::keys),
    command("dbsize", 1, "readonly fast", NO_KEY, keys::dbsize),
    command("flushall", -1, "write", NO_KEY, keys::flushall),
    command("echo", 2, "fast", NO_KEY, admin::echo),
    command("info", -1, "loading stale", NO_KEY, info::info),
    command("command", -1, "loading stale", NO_KEY, admin::command),
    command("config", -2, "loading stale", NO_KEY, admin::config),
    command("client", -2, "loading stale", NO_KEY, admin::client),
    command("hello", -1, "loading stale fast", NO_KEY, admin::hello),
    command("select", 2, "loading stale fast", NO_KEY, admin::select),
    command("quit", -1, "loading stale fast", NO_KEY, admin::quit),
];

const fn command(
    name: &'static str,
    arity: i64,
    flags: &'static str,
    keys: [i64; 3],
    run: fn(&Client<'_>, &[Vec<u8>]) -> Outcome,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys,
        run,
    }
}

/// Runs the command in `words`, of which there is at least one.
pub fn run(client: &Client<'_>, words: &[Vec<u8>]) -> Reply {
    client.instance.commands.fetch_add(1, Ordering::Relaxed);
    try_run(client, words).unwrap_or_else(Reply::Error)
}

fn try_run(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let command = COMMANDS
        .iter()
        .find(|command| words[0].eq_ignore_ascii_case(command.name.as_bytes()))
        .ok_or_else(|| unknown(words))?;
    if !command.takes(words.len()) {
        return Err(wrong_number(command.name));
    }
    if command.flags.contains(DENYOOM) && !client.may_write() {
        return Err("OOM command not allowed when used memory > 'maxmemory'.".into());
    }
    (command.run)(client, words)
}

impl Command {
    fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        words == self.arity || (self.arity < 0 && words >= -self.arity)
    }
}

pub fn wrong_number(name: &str) -> Cow<'static, str> {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

fn unknown(words: &[Vec<u8>]) -> Cow<'static, str> {
    let mut beginning = String::new();
    for word in &words[1..] {
        if beginning.len() >= 128 {
            break;
        }
        beginning += &format!("'{}' ", printable(word));
    }
    let name = printable(&words[0]);
    format!("ERR unknown command '{name}', with args beginning with: {beginning}").into()
}

/// The beginning of an option in upper case: enough to know it, however long it is.
pub fn upper(word: &[u8]) -> Vec<u8> {
    word[..word.len().min(32)].to_ascii_uppercase()
}

/// The beginning of what a client sent, without control characters.
pub fn printable(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(&word[..word.len().min(128)]);
    text.replace(char::is_control, " ")
}
