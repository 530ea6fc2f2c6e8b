//! External programs that tests need. A test fails if its program is not installed.

use std::process::{Command, Stdio};

/// Programs whose Debian package has a different name.
const PACKAGES: [(&str, &str); 11] = [
    ("dig", "bind9-dnsutils"),
    ("logger", "bsdutils"),
    ("nginx", "nginx-core"),
    ("nc", "netcat-openbsd"),
    ("node", "nodejs"),
    ("promtool", "prometheus"),
    ("redis-cli", "redis-tools"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
    ("systemd-socket-activate", "systemd"),
    ("cc", "gcc"),
];

/// A command for a program. The option `question` (such as `--version`) checks that it is
/// installed.
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

/// Panics with a message that names the missing program and the command that installs it.
#[track_caller]
pub fn missing(what: &str, how: &str) -> ! {
    panic!("this test needs {what}, which is not installed: {how}")
}
