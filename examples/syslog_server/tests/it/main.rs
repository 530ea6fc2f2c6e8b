//! Tests of the program `syslog_server`, which runs as a child process.

mod messages;
mod output;
mod port;
mod senders;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_syslog_server");

/// The path of a script in the folder of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
