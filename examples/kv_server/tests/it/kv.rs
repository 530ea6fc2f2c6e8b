//! A `kv_server` with a client, and conversations with it.

use support::ANY;
use support::example::Example;

use crate::PROGRAM;
use crate::resp::Client;

pub fn start() -> (Example, Client) {
    let server = Example::start(PROGRAM, &[ANY]);
    let client = Client::connect(&server.address);
    (server, client)
}

/// Each line is a command, and behind `=>` its reply; `~100` is a time that may have run for a while.
pub fn converse(client: &mut Client, conversation: &str) {
    for line in conversation.lines().map(str::trim) {
        let (words, expected) = line.split_once(" => ").expect("WORDS => REPLY");
        let reply = client.say(words);
        match expected.strip_prefix('~') {
            None => assert_eq!(reply, expected, "{words}"),
            Some(most) => {
                let most: i64 = most.parse().expect("a number");
                let left: i64 = reply.parse().expect("a number");
                assert!((most - most / 5..=most).contains(&left), "{words}: {left}");
            }
        }
    }
}
