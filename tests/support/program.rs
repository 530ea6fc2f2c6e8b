//! Programs of others that tests need. A test fails where one of them is missing.

use std::process::{Command, Stdio};

/// Programs whose Debian package has another name.
const PACKAGES: [(&str, &str); 7] = [
    ("dig", "bind9-dnsutils"),
    ("logger", "bsdutils"),
    ("nc", "netcat-openbsd"),
    ("node", "nodejs"),
    ("redis-cli", "redis-tools"),
    ("setpriv", "util-linux"),
    ("cc", "gcc"),
];

/// A command for a program, which answers `question` (`--version`) where it is installed.
#[track_caller]
pub fn installed(program: &str, question: &str) -> Command {
    let answer = Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if answer.is_err() {
        let package = PACKAGES.iter().find(|(name, _)| *name == program);
        let package = package.map_or(program, |(_, package)| package);
        missing(program, &format!("apt-get install {package}"));
    }
    Command::new(program)
}

/// Fails, and says how to get what is missing.
#[track_caller]
pub fn missing(what: &str, how: &str) -> ! {
    panic!("this test needs {what}, which is not here: {how}")
}
