//! Starts a `kv_server` with a client, and runs lists of commands.

use support::ANY;
use support::example::Example;

use crate::PROGRAM;
use crate::resp::Client;

pub fn start() -> (Example, Client) {
    start_with(&[])
}

pub fn start_with(options: &[&str]) -> (Example, Client) {
    let server = Example::start(PROGRAM, &[&[ANY], options].concat());
    let client = Client::connect(&server.address);
    (server, client)
}

/// Runs a list of commands. Each line is a command, `=>`, and its reply. `~100` is a remaining time
/// of at most 100, which may be a little lower.
pub fn run_commands(client: &mut Client, commands: &str) {
    for line in commands.lines().map(str::trim) {
        let (words, expected) = line.split_once(" => ").expect("WORDS => REPLY");
        let reply = client.run(words);
        match expected.strip_prefix('~') {
            None => assert_eq!(reply, expected, "{words}"),
            Some(most) => {
                let most: i64 = most.parse().expect("the text is a number");
                let left: i64 = reply.parse().expect("the text is a number");
                assert!((most - most / 5..=most).contains(&left), "{words}: {left}");
            }
        }
    }
}
