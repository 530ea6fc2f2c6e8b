//! The access log of the example `http_server`: its formats, hostile clients, and a file that is renamed,
//! truncated or cannot be written.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use regex_lite::Regex;
use support::example::{self, Example};
use support::{eventually, program};
use tempfile::TempDir;

use crate::PROGRAM;
use crate::site::{Client, Site, TEXT, ask, ask_raw};

support::for_threads_and_green! {
    lines_of_many_connections_are_whole
    a_broken_download_is_logged_with_what_was_sent
}

/// The combined format. Text in quotes has no quotes, and backslashes only before two digits.
static COMBINED: LazyLock<Regex> = LazyLock::new(|| {
    let quoted = r#""((?:[ !#-\[\]-~]|\\x[0-9A-F]{2})*)""#;
    let date =
        r"\d\d/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/\d{4}:\d\d:\d\d:\d\d \+0000";
    let line = format!(r"^(\S+) - - \[{date}\] {quoted} (\d{{3}}) (-|[1-9]\d*) {quoted} {quoted}$");
    Regex::new(&line).expect("the expression is valid")
});

/// The host, request, status, bytes, Referer and User-Agent of a line.
#[track_caller]
fn parse(line: &str) -> [&str; 6] {
    let captures = COMBINED.captures(line);
    let captures = captures.unwrap_or_else(|| panic!("not in the format: {line}"));
    captures.extract::<6>().1
}

/// A log in a temporary folder.
struct Log(TempDir);

impl Log {
    fn new() -> Self {
        Log(tempfile::tempdir().expect("the temporary folder is writable"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("access.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("the log is ASCII")
    }

    fn serve(&self, site: &Site, options: &[&str]) -> Example {
        let path = self.path();
        let path = path.to_str().expect("the path is UTF-8");
        site.serve_with(&[&["--access-log", path], options].concat())
    }
}

/// Ends the server, after which its log is complete, and returns what it has logged elsewhere.
fn finish(server: Example) -> String {
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
    log
}

/// The bytes that a text in quotes stands for.
fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((before, escape)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&escape[..2], 16).expect("two digits"));
        rest = &escape[2..];
    }
    [&bytes, rest.as_bytes()].concat()
}

#[test]
fn each_answer_is_a_line_with_its_status_and_the_bytes_of_its_body() {
    let (site, log) = (Site::new(), Log::new());
    site.add_folder("folder");
    let server = log.serve(&site, &[]);
    let requests = [
        ("GET /a.txt", 200),
        ("HEAD /a.txt", 200),
        ("GET /a.txt HTTP/1.0", 200),
        ("GET /a.txt\nRange: bytes=2-4", 206),
        ("GET /a.txt\nRange: bytes=100-", 416),
        (
            "GET /a.txt\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
            304,
        ),
        ("GET /folder", 301),
        ("GET /folder/", 200),
        ("GET /missing?a=b", 404),
        ("HEAD /missing", 404),
        ("PUT /a.txt", 501),
    ];
    let bodies = requests.map(|(request, status)| {
        let answer = ask(&server.address, request).expect("the server answers");
        assert_eq!(answer.status, status, "{request}");
        answer.body.len()
    });
    finish(server);
    let text = log.text();
    assert_eq!(text.lines().count(), requests.len(), "{text}");
    for ((line, (request, status)), body) in text.lines().zip(requests).zip(bodies) {
        let request = request.lines().next().expect("a request has a line");
        let version = if request.ends_with(" HTTP/1.0") {
            ""
        } else {
            " HTTP/1.1"
        };
        let bytes = if body == 0 {
            "-".to_owned()
        } else {
            body.to_string()
        };
        let expected = [
            "127.0.0.1",
            &format!("{request}{version}"),
            &status.to_string(),
            &bytes,
        ];
        assert_eq!(parse(line)[..4], expected);
    }
}

#[test]
fn the_combined_format_adds_two_fields_to_the_common_one() {
    let site = Site::new();
    let request = "GET /a.txt\nReferer: http://example.com/ \nUser-Agent: Test/1.0 (a; b)";
    let line = |options: &[&str]| {
        let log = Log::new();
        let server = log.serve(&site, options);
        ask(&server.address, request).expect("the server answers");
        finish(server);
        log.text()
    };
    let combined = line(&[]);
    let fields = parse(combined.trim_end());
    assert_eq!(fields[4..], ["http://example.com/", "Test/1.0 (a; b)"]);
    // The dates may differ.
    let same_length = line(&["--log-format", "combined"]).len();
    assert_eq!(same_length, combined.len());
    let common = line(&["--log-format", "common"]);
    let added = r#" "http://example.com/" "Test/1.0 (a; b)""#;
    assert_eq!(common.len() + added.len(), combined.len());
    parse(&(common.trim_end().to_owned() + added));
}

/// Each byte in a request's target, and in its User-Agent.
#[test]
fn no_client_can_forge_or_break_a_line() {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &[]);
    let forged = "x\" 200 9 \"-\" \"-\"\n127.0.0.1 - - [01/Jan/2000:00:00:00 +0000] \"GET /forged";
    let mut lines: Vec<Vec<u8>> =
        vec![format!("GET /{forged} HTTP/1.1").into(), b"\xff\xfe".into()];
    lines.extend((0..=255).map(|byte| [b"GET /a", &[byte][..], b"b HTTP/1.1"].concat()));
    for line in &lines {
        let request = [line, &b"\r\nConnection: close\r\n\r\n"[..]].concat();
        ask_raw(&server.address, request).expect("the server answers");
    }
    let agents: Vec<_> = (1..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    for byte in &agents {
        let field = [
            b"User-Agent: a",
            &[*byte][..],
            b"b\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        let request = [&b"GET /agent HTTP/1.1\r\n"[..], &field].concat();
        ask_raw(&server.address, request).expect("the server answers");
    }
    let errors = finish(server);
    assert!(!errors.contains("ERROR"), "{errors}");
    let text = log.text();
    assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    let mut logged = text.lines().map(parse);
    for line in lines {
        let fields = logged.next().expect("each request has a line");
        let first = line.split(|byte| *byte == b'\n').next();
        let first = first.expect("split returns a part").trim_ascii_end();
        assert_eq!(decode(fields[1]), first, "{fields:?}");
    }
    for byte in agents {
        let fields = logged.next().expect("each request has a line");
        let sent = String::from_utf8_lossy(&[b'a', byte, b'b']).into_owned();
        match fields[2] {
            "400" => assert_eq!(fields[5], "-"),
            _ => assert_eq!(decode(fields[5]), sent.as_bytes()),
        }
    }
    assert_eq!(logged.next(), None);
}

#[test]
fn a_text_of_a_client_is_cut() {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &[]);
    let long = "a".repeat(20_000);
    ask(&server.address, &format!("GET /{long}\nUser-Agent: {long}")).expect("the server answers");
    ask_raw(&server.address, "\0".repeat(65_537)).expect("the server answers");
    finish(server);
    let text = log.text();
    let lines: Vec<_> = text.lines().map(parse).collect();
    let lengths = lines
        .iter()
        .map(|line| [decode(line[1]), decode(line[5])].map(|text| text.len()));
    assert_eq!(lengths.collect::<Vec<_>>(), [[8192, 8192], [8192, 1]]);
    assert_eq!([lines[0][2], lines[1][2]], ["404", "414"]);
}

#[test]
fn json_is_read_by_python() {
    const SCRIPT: &str = "import json, sys\n\
        for line in open(sys.argv[1], encoding='ascii'):\n    \
            o = json.loads(line); t, s = o.pop('time'), o.pop('seconds')\n    \
            assert len(t) == 20 and t[10] == 'T' and t[19] == 'Z' and 0 <= s < 60, line\n    \
            print(ascii(sorted(o.items())))";
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &["--log-format", "json"]);
    let request = "GET /a.txt\nReferer: \"\\é\u{2028}\u{1f600}\nUser-Agent: a\tb";
    ask(&server.address, request).expect("the server answers");
    ask_raw(&server.address, b"GET \"\x1b\xff\r\n\r\n").expect("the server answers");
    finish(server);
    let mut python = program::installed("python3", "--version");
    let output = python.args(["-c", SCRIPT]).arg(log.path()).output();
    let output = output.expect("Python is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("the output is text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"[('bytes', 11), ('client', '127.0.0.1'), ('referer', '"\\\xe9\u2028\U0001f600'), "#
            .to_owned()
            + r#"('request', 'GET /a.txt HTTP/1.1'), ('status', 200), ('user_agent', 'a\tb')]"#
    );
    let refused = r#"('referer', None), ('request', 'GET "\x1b\ufffd'), ('status', 400), ('user_agent', None)]"#;
    assert!(lines[1].ends_with(refused), "{text}");
}

fn lines_of_many_connections_are_whole(options: &[&str]) {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, options);
    let address = &server.address;
    thread::scope(|scope| {
        for name in 0..8 {
            scope.spawn(move || {
                let mut client = Client::new(address);
                for number in 0..50 {
                    client.get(&format!("/{name}/{number}"));
                }
            });
        }
    });
    finish(server);
    let text = log.text();
    let mut requests: Vec<_> = text.lines().map(|line| parse(line)[1]).collect();
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), 400);
}

fn a_broken_download_is_logged_with_what_was_sent(options: &[&str]) {
    let (site, log) = (Site::new(), Log::new());
    let big = File::create(site.path().join("big.bin")).expect("the temporary folder is writable");
    big.set_len(1 << 30)
        .expect("a sparse file uses no disk space");
    let server = log.serve(&site, options);
    let mut client = Client::new(&server.address);
    client.send("GET /big.bin HTTP/1.1\r\n\r\n");
    assert_eq!(client.receive_head().status, 200);
    // More than the server sends at once.
    client.receive_bytes(2 << 20);
    drop(client);
    eventually("the request is logged", || log.text().ends_with('\n'));
    let text = log.text();
    let [_, request, status, bytes, ..] = parse(text.trim_end());
    assert_eq!([request, status], ["GET /big.bin HTTP/1.1", "200"]);
    let bytes: u64 = bytes.parse().expect("the first piece was sent");
    assert!((1 << 20..1 << 30).contains(&bytes), "{bytes}");
}

#[test]
fn a_client_that_ends_before_its_request_is_complete_is_not_logged() {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &[]);
    Client::new(&server.address).send("GET /a.txt HTTP");
    drop(Client::new(&server.address));
    ask(&server.address, "GET /a.txt").expect("the server answers");
    finish(server);
    assert_eq!(log.text().lines().count(), 1);
}

#[test]
fn standard_output_and_an_existing_file() {
    let (site, log) = (Site::new(), Log::new());
    let server = site.serve_with(&["--access-log", "-", "--quiet"]);
    ask(&server.address, "GET /a.txt").expect("the server answers");
    server.signal(Signal::SIGTERM);
    let (_, output, errors) = server.finish();
    assert_eq!(parse(output.trim_end())[1], "GET /a.txt HTTP/1.1");
    assert_eq!(errors, "");
    for _ in 0..2 {
        let server = log.serve(&site, &[]);
        ask(&server.address, "GET /a.txt").expect("the server answers");
        finish(server);
    }
    assert_eq!(log.text().lines().map(parse).count(), 2);
}

/// As logrotate does it, with `create` and with `nocreate`.
#[test]
fn a_renamed_file_is_replaced() {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &[]);
    let mut client = Client::new(&server.address);
    let mut requests = 0;
    for old in ["access.log.1", "access.log.2"] {
        client.get("/a.txt");
        requests += 1;
        let old = log.0.path().join(old);
        fs::rename(log.path(), &old).expect("the temporary folder is writable");
        if old.ends_with("access.log.1") {
            File::create(log.path()).expect("the temporary folder is writable");
        }
        eventually("lines go to the new file", || {
            client.get("/a.txt");
            requests += 1;
            log.path().exists() && !log.text().is_empty()
        });
    }
    drop(client);
    assert_eq!(finish(server).matches("ERROR").count(), 0);
    let texts = ["access.log", "access.log.1", "access.log.2"]
        .map(|name| fs::read_to_string(log.0.path().join(name)).expect("the log is ASCII"));
    assert_eq!(texts.concat().lines().map(parse).count(), requests);
}

#[test]
fn while_there_is_no_folder_for_a_new_file_the_old_one_is_used() {
    let (site, log) = (Site::new(), Log::new());
    let server = log.serve(&site, &[]);
    let moved = log.0.path().with_extension("moved");
    fs::rename(log.0.path(), &moved).expect("the temporary folder is writable");
    let mut client = Client::new(&server.address);
    // The server looks for the file once per second.
    thread::sleep(Duration::from_millis(1100));
    client.get("/a.txt");
    drop(client);
    let errors = finish(server);
    let text = fs::read_to_string(moved.join("access.log"));
    fs::rename(&moved, log.0.path()).expect("the temporary folder is writable");
    assert_eq!(parse(text.expect("the log is ASCII").trim_end())[2], "200");
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
}

#[test]
fn a_full_disk_affects_no_request_and_is_reported_once() {
    let site = Site::new();
    let server = site.serve_with(&["--access-log", "/dev/full"]);
    let mut client = Client::new(&server.address);
    for _ in 0..100 {
        assert_eq!(client.get("/a.txt").text(), TEXT);
    }
    drop(client);
    let errors = finish(server);
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
    let report = "access log: No space left on device (os error 28); 1 lines were lost so far";
    assert!(errors.contains(report), "{errors}");
}

/// A limit of the file's size, as a stand-in for a disk that is full in the middle of a line. logrotate's
/// `copytruncate` empties the file.
#[test]
fn after_a_line_that_was_written_in_part_the_next_one_is_whole() {
    let (site, log) = (Site::new(), Log::new());
    // 512 bytes. Without the trap the signal ends the process.
    let script = "ulimit -f 1; trap '' XFSZ; exec \"$@\"";
    let program = example::path(PROGRAM);
    let mut command = program::installed("sh", "-c:");
    command.args(["-c", script, "sh"]).arg(program);
    command
        .args(["127.0.0.1:0", "--directory"])
        .arg(site.path());
    command.arg("--access-log").arg(log.path());
    let server = Example::launch(command);
    // The answer's end comes after the line.
    let get = || ask(&server.address, "GET /a.txt").expect("the server answers");
    for _ in 0..20 {
        assert_eq!(get().text(), TEXT);
    }
    assert!(!log.text().ends_with('\n'), "{}", log.text());
    let file = File::options().write(true).open(log.path());
    let mut file = file.expect("the log is writable");
    file.set_len(0).expect("the log is writable");
    file.write_all(b"torn").expect("the log is writable");
    get();
    let errors = finish(server);
    assert_eq!(errors.matches("ERROR").count(), 1, "{errors}");
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "torn");
    assert_eq!(parse(lines[1])[1], "GET /a.txt HTTP/1.1");
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--access-log", "/nowhere/log"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("cannot write to /nowhere/log: "),
        "{message}"
    );
    let output = example::run(PROGRAM, &["--log-format", "json"]);
    assert_eq!(output.status.code(), Some(2));
}
