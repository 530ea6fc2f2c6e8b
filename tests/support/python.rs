//! Runs Python 3 scripts, which the library is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{installed, missing};

/// A command that runs a script of `tests/support`, or one with an absolute path.
#[track_caller]
pub fn script(name: &str) -> Command {
    let mut command = installed("python3", "--version");
    // Scripts import others, and leave no compiled files.
    command.arg("-B").arg(in_tests_folder("support").join(name));
    command
}

/// The same for a script that needs a package. It uses the Python of `target/venv` if that exists.
#[track_caller]
pub fn script_with(package: &str, name: &str) -> Command {
    let mut program = in_tests_folder("../target/venv/bin/python3");
    if !program.exists() {
        program = "python3".into();
    }
    let import = Command::new(&program)
        .arg(format!("-cimport {package}"))
        .output();
    if !import.is_ok_and(|output| output.status.success()) {
        let how = "python3 -m venv target/venv && target/venv/bin/pip install";
        missing(&format!("Python's {package}"), &format!("{how} {package}"));
    }
    let mut command = Command::new(program);
    command.arg(in_tests_folder("support").join(name));
    command
}

/// A path relative to the folder `tests`.
fn in_tests_folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
