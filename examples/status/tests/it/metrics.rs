//! The page of metrics of the example `status`: with any client, and with Prometheus' `promtool`.

use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::thread;

use nix::sys::signal::Signal;
use support::example::{self, Example};
use support::metrics_table::{self, Metric};
use support::{connect_to, eventually, exchange, program, read_all};

use crate::PROGRAM;

/// The program, and where its metrics are.
struct Status {
    program: Example,
    page: String,
}

impl Status {
    fn start(options: &[&str]) -> Self {
        let metrics = ["127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        let mut program = Example::start(PROGRAM, &[&metrics, options].concat());
        let mut line = String::new();
        let read = program.stdout.read_line(&mut line);
        read.expect("the output is text");
        let url = line.strip_prefix("metrics at http://");
        let page = url.and_then(|url| url.strip_suffix("/metrics\n"));
        let page = page.expect("the second line has the address").to_owned();
        Status { program, page }
    }

    /// The answer to any bytes.
    fn answer(&self, request: &str) -> String {
        let mut client = connect_to(&self.page);
        let sent = client.write_all(request.as_bytes());
        sent.expect("the server reads");
        read_all(client)
    }

    fn scrape(&self) -> String {
        let answer = self.answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        body.to_owned()
    }

    /// The name of the server of clients, as a label.
    fn label(&self) -> String {
        format!("server=\"tcp {}\"", self.program.address)
    }

    /// Serves clients until the metrics of both servers have been published twice.
    fn wait_for_publications(&self) {
        let page = "server=\"metrics\"".to_owned();
        for label in [self.label(), page] {
            let accepted = || {
                assert_eq!(exchange(connect_to(&self.program.address), "hi\n"), "hi\n");
                let name = format!("socketserver_accepted_total{{{label}}}");
                value(&self.scrape(), &name)
            };
            let mut first = None;
            eventually("the metrics are published twice", || {
                let accepted = accepted();
                first = first.or(accepted);
                accepted > first
            });
        }
    }
}

/// The value of `name{labels}`.
fn value(scrape: &str, name: &str) -> Option<u64> {
    let mut lines = scrape.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(value.parse().expect("the value is a number"))
}

/// The time series of a metric of the documentation, with the labels.
fn series(metric: &Metric, server: &str) -> Vec<String> {
    let name = metric.name;
    let Some((label, values)) = metric.label.split_first() else {
        return vec![format!("{name}{{{server}}}")];
    };
    let with = |value: &&str| format!("{name}{{{server},{label}=\"{value}\"}}");
    values.iter().map(with).collect()
}

#[test]
fn a_scrape_has_all_metrics_of_the_documentation_and_no_other() {
    let status = Status::start(&[]);
    status.wait_for_publications();
    let scrape = status.scrape();
    let mut documented = metrics_table::rows();
    documented.retain(|metric| !metric.is_of_tls());
    let servers = [status.label(), "server=\"metrics\"".to_owned()];
    let mut expected = 0;
    for metric in &documented {
        let about = format!("\n# TYPE {} {}\n", metric.name, metric.kind);
        assert!(format!("\n{scrape}").contains(&about), "{about}{scrape}");
        assert!(scrape.contains(&format!("# HELP {} ", metric.name)));
        for name in servers.iter().flat_map(|server| series(metric, server)) {
            assert!(value(&scrape, &name).is_some(), "{name}\n{scrape}");
            expected += 1;
        }
    }
    assert_eq!(scrape.matches("# TYPE ").count(), documented.len());
    let lines = scrape.lines().filter(|line| line.contains('{'));
    assert_eq!(lines.count(), expected, "{scrape}");
}

#[test]
fn a_scrape_counts_what_clients_do() {
    for options in [&[][..], &["--green"]] {
        let status = Status::start(options);
        let client = connect_to(&status.program.address);
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
        let label = status.label();
        let shows = |name: &str, number| {
            eventually(name, || {
                let name = format!("socketserver_{name}");
                value(&status.scrape(), &name) == Some(number)
            });
        };
        shows(&format!("active{{{label}}}"), 1);
        shows(&format!("received_bytes_total{{{label}}}"), 6);
        drop(client);
        shows(&format!("active{{{label}}}"), 0);
        shows(&format!("ended_total{{{label},outcome=\"finished\"}}"), 1);
    }
}

/// Whether `promtool` finds no fault, and what it prints.
fn check(scrape: &str) -> (bool, String) {
    let mut promtool = program::installed("promtool", "--version");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is installed");
    let mut stdin = promtool.stdin.take().expect("the stream is piped");
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(scrape.as_bytes()));
        promtool.wait_with_output().expect("a child process")
    });
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), text)
}

#[test]
fn promtool_finds_no_fault_in_a_scrape() {
    let status = Status::start(&[]);
    status.wait_for_publications();
    let scrape = status.scrape();
    let (is_good, complaints) = check(&scrape);
    assert!(is_good && complaints.is_empty(), "{complaints}\n{scrape}");
    // It does read the text: a metric without a description is a fault.
    let bad = scrape.replace("# HELP socketserver_active ", "# ");
    let (is_good, complaints) = check(&bad);
    assert!(!is_good && complaints.contains("socketserver_active no help text"));
}

#[test]
fn requests_for_something_else() {
    let status = Status::start(&[]);
    let field = "A: b\r\n".repeat(100);
    for (request, answer) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("HEAD /nothing HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "501 Not Implemented"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200 OK"),
        ("GET /metrics?a=b HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET /metrics HTTP/1.1\n\n", "200 OK"),
        (&format!("GET /metrics HTTP/1.1\r\n{field}\r\n"), "200 OK"),
        ("GET /metrics\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request"),
        ("\r\n\r\n", "400 Bad Request"),
    ] {
        let text = status.answer(request);
        assert!(
            text.starts_with(&format!("HTTP/1.1 {answer}\r\n")),
            "{request}: {text}"
        );
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }
    let head = status.answer("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"));
    let too_long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(8192));
    let too_many = format!("GET /metrics HTTP/1.1\r\nC: d\r\n{field}\r\n");
    for request in [too_long, too_many] {
        let mut client = connect_to(&status.page);
        client
            .write_all(request.as_bytes())
            .expect("the server reads");
        // The end of the stream, or a reset if the server has not read everything.
        let mut received = Vec::new();
        let _ = client.read_to_end(&mut received);
        assert_eq!(received, b"");
    }
}

#[test]
fn a_slow_request_is_disconnected_and_a_shutdown_does_not_wait_for_an_idle_one() {
    let status = Status::start(&[]);
    let mut slow = connect_to(&status.page);
    slow.write_all(b"GET /metrics HTT")
        .expect("the server reads");
    // It is reset.
    let _ = slow.read_to_end(&mut Vec::new());
    let idle = connect_to(&status.page);
    status.scrape();
    status.program.signal(Signal::SIGTERM);
    assert_eq!(read_all(idle), "");
    let (code, _, log) = status.program.finish();
    assert!(code.success(), "{log}");
}

#[test]
fn the_address_of_the_metrics_can_be_in_use() {
    let taken = std::net::TcpListener::bind(support::ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let output = example::run(PROGRAM, &[support::ANY, "--metrics", &address]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&address), "{stderr}");
}
