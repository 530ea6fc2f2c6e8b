//! The example `syslog_server` with `logger` and Python's `SysLogHandler`.

use std::io::BufRead;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use support::example::{self, Example};
use support::program;
use support::{python, socket_path};
use tempfile::TempDir;

use crate::PROGRAM;
use crate::script;

struct Server {
    example: Example,
    unix: PathBuf,
    _folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let (folder, unix) = socket_path();
        let path = unix.to_str().expect("the text is UTF-8");
        let example = Example::start(PROGRAM, &["127.0.0.1:0", "--unix", path]);
        let mut server = Server {
            example,
            unix: unix.clone(),
            _folder: folder,
        };
        assert_eq!(server.line(), format!("listening on {path}"));
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.example.stdout.read_line(&mut line);
        read.expect("the output is text");
        assert!(!line.is_empty(), "the server has not ended");
        line.trim_end_matches('\n').to_owned()
    }

    fn host_and_port(&self) -> (&str, &str) {
        let split = self.example.address.split_once(':');
        split.expect("HOST:PORT")
    }

    /// Runs `logger` with these arguments.
    fn logger(&self, arguments: &str) {
        let mut logger = program::installed("logger", "--version");
        let status = logger.args(arguments.split(' ')).status();
        assert!(
            status.expect("logger is installed").success(),
            "{arguments}"
        );
    }
}

/// `logger` sends its host name in all messages except the last.
#[test]
fn messages_of_logger_over_udp_and_tcp_are_printed() {
    let mut server = Server::start();
    let (host, port) = server.host_and_port();
    let to = format!("--server {host} --port {port}");
    for way in ["--udp", "--tcp", "--tcp --octet-count"] {
        for (arguments, printed) in [
            (
                "-t till --rfc5424 hello there",
                "user.notice {} till: hello there",
            ),
            ("-t till --rfc3164 hello", "user.notice {} till: hello"),
            ("-t till -p local3.err hello", "local3.err {} till: hello"),
            (
                "-t till -p kern.emerg --id=7 a: b",
                "user.emerg {} till[7]: a: b",
            ),
            (
                "-t till --rfc3164 --id=7 hello",
                "user.notice {} till[7]: hello",
            ),
            (
                "-t till --msgid M --sd-id z@1 --sd-param k=\"v\" hello",
                "user.notice {} till: hello",
            ),
            (
                "-t till --rfc5424=nohost,notime,notq hello",
                "user.notice 127.0.0.1 till: hello",
            ),
        ] {
            server.logger(&format!("{way} {to} {arguments}"));
            let line = server.line();
            let host = line.split(' ').nth(1).expect("a host").to_owned();
            assert_eq!(line, printed.replace("{}", &host), "{way} {arguments}");
            assert_ne!(host, "-");
        }
    }
}

/// On a Unix socket the old form has no host name. It is the local machine.
#[test]
fn messages_of_logger_over_a_unix_socket_are_printed() {
    let mut server = Server::start();
    let to = format!("--socket {}", server.unix.display());
    for (arguments, printed) in [
        (
            "-t till hello there",
            "user.notice localhost till: hello there",
        ),
        (
            "-t till -p mail.debug --id=7 hello",
            "mail.debug localhost till[7]: hello",
        ),
    ] {
        server.logger(&format!("{to} {arguments}"));
        assert_eq!(server.line(), printed, "{arguments}");
    }
}

/// Messages of Python have neither a time nor a host name, and end with a zero byte, over TCP as
/// well.
fn prints_messages_of_python(kind: &str, host: &str) {
    let mut server = Server::start();
    let mut sender = python::script(&script("syslog_sender.py"));
    match kind {
        "unix" => sender.arg(kind).arg(&server.unix),
        _ => sender
            .arg(kind)
            .args(<[_; 2]>::from(server.host_and_port())),
    };
    let sent = sender.output().expect("python3 is installed");
    assert!(sent.status.success() && sent.stderr.is_empty(), "{sent:?}");
    for (severity, text) in [
        ("debug", "-: plain"),
        ("info", "shop[42]: Grüße: 1"),
        (
            "warning",
            r"shop: escape \u{1b}[1m, tab\t, backslash \\, turned \u{202e}",
        ),
        ("err", "shop: "),
        ("crit", "shop: 1 2 3"),
    ] {
        assert_eq!(server.line(), format!("local5.{severity} {host} {text}"));
    }
}

#[test]
fn messages_of_python_over_udp_are_printed() {
    prints_messages_of_python("udp", "127.0.0.1");
}

#[test]
fn messages_of_python_over_tcp_are_printed() {
    prints_messages_of_python("tcp", "127.0.0.1");
}

#[test]
fn messages_of_python_over_a_unix_socket_are_printed() {
    prints_messages_of_python("unix", "localhost");
}

#[test]
fn ctrl_c_ends_the_server_and_removes_its_socket() {
    let server = Server::start();
    server.example.signal(Signal::SIGINT);
    let (status, output, _) = server.example.finish();
    assert!(status.success());
    assert_eq!(output, "");
    assert!(!server.unix.exists());
}

#[test]
fn a_failed_bind_is_an_error_before_any_output() {
    let path = "/nonexistent/socket";
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--unix", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.starts_with("syslog_server: "), "{message}");
    assert!(message.contains(path), "{message}");
}
