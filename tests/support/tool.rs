//! Client programs that may be missing.
#![allow(dead_code)]

use std::env;
use std::process::Command;

/// The program, or `None` with a word on stderr where it is not installed. In CI that is a failure.
pub fn tool(name: &str, argument_for_version: &str) -> Option<Command> {
    let found = Command::new(name).arg(argument_for_version).output();
    if found.is_ok() {
        return Some(Command::new(name));
    }
    assert!(env::var_os("CI").is_none(), "CI needs {name}");
    eprintln!("SKIPPED: {name} is not there");
    None
}
