//! The other side of the fence: python3, where there is one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command that runs a script of `tests/support/`, or `None` with a word on stderr where there is
/// no python3. In CI that is a failure.
pub fn script(name: &str) -> Option<Command> {
    script_of("python3".as_ref(), "--version", name)
}

/// The same for a script that needs a package: with the python3 of `target/venv` if it is there.
pub fn script_with(package: &str, name: &str) -> Option<Command> {
    let venv = in_project("../target/venv/bin/python3");
    let program = if venv.exists() {
        &venv
    } else {
        Path::new("python3")
    };
    script_of(program, &format!("-cimport {package}"), name)
}

fn script_of(program: &Path, proof: &str, name: &str) -> Option<Command> {
    let found = Command::new(program)
        .arg(proof)
        .output()
        .is_ok_and(|o| o.status.success());
    if !found {
        assert!(
            env::var_os("CI").is_none(),
            "CI needs python3, with {proof}"
        );
        eprintln!("SKIPPED: python3, with {proof}, is not there to run {name}");
        return None;
    }
    let mut command = Command::new(program);
    command.arg(in_project("support").join(name));
    Some(command)
}

fn in_project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
