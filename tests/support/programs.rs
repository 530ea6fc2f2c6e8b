//! Client programs that may not be installed.

use std::env;
use std::process::{Command, Stdio};

/// Whether there is such a command; a word on stderr where there is none. In CI that is a failure.
pub fn is_installed(name: &str) -> bool {
    let found = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        assert!(env::var_os("CI").is_none(), "CI needs {name}");
        eprintln!("SKIPPED: {name} is not there");
    }
    found
}
