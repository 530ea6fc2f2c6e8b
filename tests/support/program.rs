//! Programs of others that may not be there.

use std::env;
use std::process::{Command, Stdio};

/// A command for `program`, which answers to `question` (`--version`) if it is there; else `None`,
/// with a word on stderr. In CI that is a failure.
pub fn installed(program: &str, question: &str) -> Option<Command> {
    let asked = Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if asked.is_err() {
        missing(program);
        return None;
    }
    Some(Command::new(program))
}

pub fn missing(program: &str) {
    assert!(env::var_os("CI").is_none(), "CI needs {program}");
    eprintln!("SKIPPED: {program} is not there");
}
