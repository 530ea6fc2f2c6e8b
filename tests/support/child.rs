//! Runs one test of this binary again, in a process of its own: for tests that end the process, or
//! measure it.

use std::env;
use std::process::{Command, Output};

const MARK: &str = "SOCKETSERVER_TEST_CHILD";

/// Whether this is the process of its own.
pub fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

/// Runs the test in a process of its own, where it finds that `is_child`, to its end.
pub fn run(test: &str) -> Output {
    Command::new(env::current_exe().expect("a test has a path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .expect("what runs can be run again")
}
