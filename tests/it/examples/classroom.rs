//! The small client and server examples, each with a Python counterpart: the bytes are the same in
//! both directions.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};
use std::thread;

use support::example::{Example, command, run};
use support::program::missing;
use support::python;

/// A Python server for one client.
struct PythonServer {
    child: Child,
    address: String,
    stdout: BufReader<ChildStdout>,
}

impl PythonServer {
    fn start(role: &str) -> Self {
        let mut script = python::script("classroom.py");
        let script = script
            .arg(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().expect("python3 is installed");
        let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut port = String::new();
        stdout.read_line(&mut port).expect("a port is printed");
        PythonServer {
            child,
            address: format!("127.0.0.1:{}", port.trim()),
            stdout,
        }
    }

    /// The text of each receive call.
    fn received(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.stdout
            .read_to_string(&mut text)
            .expect("the output is text");
        assert!(self.child.wait().expect("a child process").success());
        text.lines().map(from_hex).collect()
    }
}

/// Runs a Python client, and returns the text of each receive call.
fn python_client(role: &str, address: &str, words: &[&str]) -> Vec<String> {
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    let mut script = python::script("classroom.py");
    let output = script.args([role, host, port]).args(words).output();
    let output = output.expect("python3 is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("the output is text");
    text.lines().map(from_hex).collect()
}

fn from_hex(line: &str) -> String {
    let digits: Vec<char> = line.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    let bytes: Result<_, _> = digits.chunks(2).map(byte).collect();
    String::from_utf8(bytes.expect("the output is hexadecimal"))
        .expect("the received bytes are UTF-8")
}

/// Runs `echo_client` with `input` as its standard input.
fn echo_client(arguments: &[&str], input: &[u8]) -> Output {
    let mut client = command("echo_client", arguments);
    let client = client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built");
    let mut stdin = client.stdin.take().expect("the stream is piped");
    // The write fails if the client ended early. Its output has the reason.
    let _ = stdin.write_all(input);
    drop(stdin);
    client.wait_with_output().expect("the client ends")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

/// The error line of a client that failed.
fn error_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).expect("the output is text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn echo_client_with_a_python_server() {
    let server = PythonServer::start("echo_server");
    let output = echo_client(
        &[&server.address],
        "hello\n\ntwo  words \r\nGrüße\nexit\nunsent\n".as_bytes(),
    );
    assert_eq!(
        stdout(&output),
        "input>hello\ninput>input>two  words \ninput>Grüße\ninput>"
    );
    let received = server.received();
    assert_eq!(received, ["hello", "two  words ", "Grüße"]);
}

#[test]
fn echo_server_with_a_python_client() {
    let server = Example::start("echo_server", &["127.0.0.1:0"]);
    let words = ["hello", "Grüße"];
    let replies = python_client("echo_client", &server.address, &words);
    assert_eq!(replies, words);
}

#[test]
fn echo_client_and_echo_server_with_lines_of_any_length() {
    let server = Example::start("echo_server", &["127.0.0.1:0"]);
    let long = "x".repeat(3_000_000);
    let output = echo_client(
        &[&server.address, "--verbose"],
        format!("{long}\nlast").as_bytes(),
    );
    let text = stdout(&output);
    let (first, rest) = text.split_once('\n').expect("lines");
    assert!(first.starts_with("connected from 127.0.0.1:"), "{first}");
    assert!(
        first.ends_with(&format!(" to {}", server.address)),
        "{first}"
    );
    assert!(
        rest == format!("input>{long}\ninput>last\ninput>\n"),
        "the echo differs"
    );
}

#[test]
fn echo_client_reports_that_the_server_has_closed() {
    let server = PythonServer::start("mute_server");
    let output = echo_client(&[&server.address], b"hello\n");
    let expected = format!("echo_client: lost {}: ", server.address);
    assert!(error_line(&output).starts_with(&expected), "{output:?}");
    assert_eq!(server.received(), ["hello"]);
}

#[test]
fn echo_client_names_an_unreachable_address() {
    for (address, code) in [
        ("localhost:no-such-service", 1),
        ("no-such-host.invalid:80", 1),
        ("localhost", 2),
        ("localhost:", 2),
    ] {
        let output = echo_client(&[address], b"");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(address),
            "{output:?}"
        );
    }
}

/// Nothing listens on port 1, whose service is `tcpmux`. The number and the name give the same
/// error.
#[test]
fn echo_client_accepts_service_names() {
    if !Path::new("/etc/services").exists() {
        missing("/etc/services", "apt-get install netbase");
    }
    let by_number = error_line(&echo_client(&["127.0.0.1:1"], b""));
    let by_name = error_line(&echo_client(&["127.0.0.1:tcpmux"], b""));
    assert_eq!(by_name, by_number.replace(":1:", ":tcpmux:"));
}

#[test]
fn hello_client_with_a_python_server() {
    let server = PythonServer::start("hello_server");
    let output = run(
        "hello_client",
        &[&server.address, "Ada", "Grace Hopper", "Zoë"],
    );
    assert_eq!(
        stdout(&output),
        "Welcome!\nHello, Ada!\nHello, Grace Hopper!\nHello, Zoë!\n"
    );
    assert_eq!(server.received(), ["Ada", "Grace Hopper", "Zoë", "exit"]);
}

#[test]
fn hello_server_with_a_python_client() {
    let server = Example::start("hello_server", &["127.0.0.1:0"]);
    let words = ["Ada", "Grace Hopper", "Zoë", " Bob \r\n"];
    let replies = python_client("hello_client", &server.address, &words);
    let expected = [
        "Welcome!",
        "Hello, Ada!",
        "Hello, Grace Hopper!",
        "Hello, Zoë!",
        "Hello, Bob!\n",
        "",
    ];
    assert_eq!(replies, expected);
}

#[test]
fn hello_client_refuses_names_that_the_server_would_not_answer() {
    for words in [
        &["127.0.0.1:1"][..],
        &[],
        &[""],
        &["exit"],
        &["a\nb"],
        &[&"x".repeat(1025)],
    ] {
        let output = run("hello_client", words);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert!(error_line(&run("hello_client", &["127.0.0.1:1", "Ada"])).contains("127.0.0.1:1"));
}

#[test]
fn hello_client_reports_that_the_server_has_closed() {
    let server = PythonServer::start("closing_server");
    let answer = error_line(&run("hello_client", &[&server.address, "Ada"]));
    let expected = format!(
        "hello_client: {}: it has ended the conversation\n",
        server.address
    );
    assert_eq!(answer, expected);
    assert!(server.received().is_empty());
}

#[test]
fn udp_client_with_a_python_server() {
    for text in ["hello", "", "Grüße"] {
        let server = PythonServer::start("udp_server");
        let output = run("udp_client", &[&server.address, text]);
        assert_eq!(stdout(&output), "received\n");
        assert_eq!(server.received(), [text]);
    }
}

#[test]
fn udp_server_with_a_python_client() {
    let mut server = Example::start("udp_server", &["127.0.0.1:0"]);
    let words = ["hello", "", "\x1b[1mit's Zoë"];
    let replies = python_client("udp_client", &server.address, &words);
    assert_eq!(replies, ["received"; 3]);
    for text in ["\"hello\"", "\"\"", "\"\\u{1b}[1mit's Zoë\""] {
        let mut line = String::new();
        server.stdout.read_line(&mut line).expect("a text line");
        assert!(line.starts_with("127.0.0.1:"), "{line}");
        assert!(line.ends_with(&format!(": {text}\n")), "{line}");
    }
}

#[test]
fn the_largest_datagram_is_sent_and_a_larger_one_is_refused() {
    let mut server = Example::start("udp_server", &["127.0.0.1:0"]);
    let most = "x".repeat(65_507);
    let arguments = [&*server.address.clone(), &*most];
    let mut printed = String::new();
    thread::scope(|scope| {
        // The output is larger than the buffer of the pipe.
        scope.spawn(|| server.stdout.read_line(&mut printed));
        assert_eq!(stdout(&run("udp_client", &arguments)), "received\n");
    });
    assert!(
        printed.ends_with(&format!("\"{most}\"\n")),
        "the datagram was truncated"
    );
    let refused = error_line(&run("udp_client", &[&server.address, &format!("{most}x")]));
    assert!(
        refused.contains(&server.address) && refused.contains("65507"),
        "{refused}"
    );
    assert!(refused.len() < 200, "the error repeats the text");
}

#[test]
fn udp_client_reports_a_missing_reply() {
    let server = PythonServer::start("silent_udp_server");
    let silent = error_line(&run("udp_client", &[&server.address, "hello"]));
    assert_eq!(
        silent,
        format!("udp_client: {}: no reply within 2s\n", server.address)
    );
    assert_eq!(server.received(), ["hello"]);
    let no_server = error_line(&run("udp_client", &["127.0.0.1:1", "hello"]));
    assert!(
        no_server.starts_with("udp_client: 127.0.0.1:1: "),
        "{no_server}"
    );
}
