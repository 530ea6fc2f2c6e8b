//! The other side of the fence: python3, where there is one.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A command that runs a script of `tests/support/`, or `None` with a word on stderr where there is
/// no python3. In CI that is a failure.
pub fn script(name: &str) -> Option<Command> {
    let found = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    if !found {
        assert!(env::var_os("CI").is_none(), "CI needs python3");
        eprintln!("SKIPPED: python3 is not there to run {name}");
        return None;
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support")
        .join(name);
    let mut command = Command::new("python3");
    command.arg(path);
    Some(command)
}
