//! Health checks beside a server, in a group that shuts down with a delay.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use socketserver::health;
use socketserver::prelude::*;
use socketserver::{Address, GroupHandle};

use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::kind::echo_message;
use support::{ANY, HOUR, LONG, connect, exchange, in_background, join_soon, read_all};

/// A server with both kinds of health check.
struct Checked {
    group: GroupHandle,
    main: ServerHandle,
    agent: Address,
    http: Address,
    serving: JoinHandle<io::Result<()>>,
}

impl Checked {
    fn serve(delay: Duration) -> Self {
        let mut group = ServerGroup::new();
        let builder = ConcurrentTcpServer::builder().drain_delay(delay);
        let main = group.add(builder.bind_fn(ANY, echo_message).expect("a port is free"));
        let (ready, also) = (main.clone(), main.clone());
        let mut check = |server: io::Result<TcpServer>| {
            let handle = group.add(server.expect("a port is free"));
            handle.server_address().clone()
        };
        let agent = check(TcpServer::bind_fn(
            ANY,
            health::agent(move || ready.is_ready()),
        ));
        let http = check(TcpServer::bind_fn(
            ANY,
            health::http(move || also.is_ready()),
        ));
        Checked {
            group: group.handle(),
            main,
            agent,
            http,
            serving: thread::spawn(move || group.serve_forever()),
        }
    }

    fn check(&self) -> (String, String) {
        let agent = read_all(connect(&self.agent));
        let answer = ask(&self.http, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let status = answer.split(' ').nth(1).expect("there is a status");
        (agent, status.to_owned())
    }
}

fn ask(address: &Address, request: &str) -> String {
    let mut client = connect(address);
    client
        .write_all(request.as_bytes())
        .expect("the server reads");
    read_all(client)
}

fn pair(agent: &str, status: &str) -> (String, String) {
    (agent.to_owned(), status.to_owned())
}

#[test]
fn the_checks_follow_the_server() {
    let checked = Checked::serve(HOUR);
    assert_eq!(checked.check(), pair("up\n", "200"));
    checked.main.set_ready(false);
    assert_eq!(checked.check(), pair("down\n", "503"));
    assert!(!checked.group.is_ready());
    checked.group.set_ready(true);
    assert_eq!(checked.check(), pair("up\n", "200"));
    assert!(checked.group.is_ready());
    checked.main.pause();
    assert_eq!(checked.check(), pair("down\n", "503"));
    checked.main.resume();
    assert_eq!(checked.check(), pair("up\n", "200"));
    let report = checked.group.shutdown_within(LONG);
    assert_eq!((report.forced, report.unfinished), (0, 0));
    join_soon(checked.serving).expect("a shutdown is not an error");
}

/// The longest delay of the servers applies, whichever of them is shut down.
#[test]
fn the_whole_group_waits_and_the_checks_go_on() {
    let shutdowns: [fn(&Checked); 3] = [
        |checked| checked.group.shutdown(),
        |checked| checked.main.shutdown(),
        |checked| checked.group.servers()[2].shutdown(),
    ];
    for shutdown in shutdowns {
        let checked = Checked::serve(HOUR);
        shutdown(&checked);
        shutdown(&checked);
        assert!(!checked.group.is_ready());
        let mut handles = checked.group.servers().into_iter();
        assert!(handles.all(|server| server.is_shutting_down()));
        for _ in 0..3 {
            assert_eq!(checked.check(), pair("down\n", "503"));
            let client = connect(checked.main.server_address());
            assert_eq!(exchange(client, "hello\n"), "hello\n");
        }
        assert!(!checked.serving.is_finished());
        checked.group.shutdown_within(LONG);
        join_soon(checked.serving).expect("a shutdown is not an error");
    }
}

#[test]
fn the_group_ends_when_the_delay_is_over() {
    const DELAY: Duration = Duration::from_millis(300);
    let checked = Checked::serve(DELAY);
    let began = Instant::now();
    checked.main.shutdown();
    join_soon(checked.serving).expect("a shutdown is not an error");
    assert!(began.elapsed() >= DELAY);
    let refused = TcpStream::connect(&checked.agent);
    assert!(refused.is_err());
}

#[test]
fn a_failure_has_no_delay() {
    let checked = Checked::serve(HOUR);
    checked.main.fail(io::Error::other("requested"));
    let error = join_soon(checked.serving).expect_err("it failed");
    assert_eq!(error.to_string(), "requested");
}

#[test]
fn an_http_check_answers_any_request() {
    let server = in_background(TcpServer::bind_fn(ANY, health::http(|| true)));
    let address = server.server_address();
    for (request, status, body) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "up\n"),
        ("OPTIONS / HTTP/1.0\r\n\r\n", "200 OK", "up\n"),
        ("GET /any?x HTTP/1.1\nHost: x\n\n", "200 OK", "up\n"),
        ("HEAD / HTTP/1.1\r\n\r\n", "200 OK", ""),
        ("PRI * HTTP/2.0\r\n\r\n", "400 Bad Request", "bad request\n"),
        ("hello\n", "400 Bad Request", "bad request\n"),
    ] {
        let answer = ask(address, request);
        let (head, text) = answer.split_once("\r\n\r\n").expect("it has an end");
        let mut lines = head.lines();
        assert_eq!(
            lines.next(),
            Some(&*format!("HTTP/1.1 {status}")),
            "{request}"
        );
        assert!(lines.any(|line| line == "Connection: close"), "{request}");
        assert_eq!(text, body, "{request}");
    }
    // Too many lines, and a line that is too long.
    for request in [
        "GET / HTTP/1.1\r\n".to_owned() + &"A: b\r\n".repeat(1000),
        "x".repeat(100_000),
    ] {
        let mut client = connect(address);
        let _ = client.write_all(request.as_bytes());
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("the server answers");
        assert_eq!(answer, *b"HTTP/1.1 400");
    }
    // A load balancer that only connects.
    drop(connect(address));
    let statistics = settled(&server.handle(), 9);
    // Some clients leave before the end.
    assert_eq!(statistics.finished + statistics.disconnected, 9);
}

/// A check is served although another client of it sends nothing.
#[test]
fn a_silent_client_does_not_hold_up_a_check_for_long() {
    let server = in_background(TcpServer::bind_fn(ANY, health::http(|| true)));
    let silent = connect(server.server_address());
    let answer = ask(server.server_address(), "GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "));
    drop(silent);
}

#[test]
fn the_configuration_of_haproxy_is_valid() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/deploy/haproxy.cfg"
    );
    assert!(fs::exists(path).expect("the folder can be read"));
    let mut haproxy = support::program::installed("haproxy", "-v");
    let output = haproxy.args(["-c", "-f", path]).output();
    let output = output.expect("it is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !text.contains("WARNING"),
        "{text}"
    );
}
