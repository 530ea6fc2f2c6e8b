//! The example `kv_server` with the clients of Redis, and compared with Redis itself.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use support::example::Example;
use support::program;
use support::{ANY, eventually, python};

use crate::PROGRAM;
use crate::resp::Client;
use crate::script;

support::for_threads_and_green! {
    redis_cli_works_with_all_commands
    redis_benchmark_runs_without_warnings
    the_python_package_works_with_all_commands
}

fn start(options: &[&str]) -> Example {
    Example::start(PROGRAM, &[&[ANY], options].concat())
}

/// A client command with the server's host and port as options.
fn client(name: &str, server: &Example) -> Command {
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut command = program::installed(name, "--version");
    command.args(["-h", host, "-p", port]).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> (String, String) {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    (text(output.stdout), text(output.stderr))
}

fn redis_cli_works_with_all_commands(options: &[&str]) {
    let server = start(options);
    for (words, expected) in [
        (&["PING"][..], "PONG"),
        (&["SET", "greeting", "hello world"], "OK"),
        (&["GET", "greeting"], "\"hello world\""),
        (&["GET", "none"], "(nil)"),
        (&["RPUSH", "list", "a", "b"], "(integer) 2"),
        (&["LRANGE", "list", "0", "-1"], "1) \"a\"\n2) \"b\""),
        (&["RPOP", "list"], "\"b\""),
        (&["LLEN", "list"], "(integer) 1"),
        (&["TYPE", "list"], "list"),
        (&["DBSIZE"], "(integer) 2"),
        (&["-3", "LPOP", "none"], "(nil)"),
        (
            &["-3", "CONFIG", "GET", "appendonly"],
            "1# \"appendonly\" => \"no\"",
        ),
        (
            &["GET"],
            "(error) ERR wrong number of arguments for 'get' command",
        ),
    ] {
        let mut cli = client("redis-cli", &server);
        let (stdout, stderr) = output(cli.arg("--no-raw").args(words));
        assert_eq!(stdout.trim_end(), expected, "{words:?}");
        assert_eq!(stderr, "", "{words:?}");
    }
}

fn redis_benchmark_runs_without_warnings(options: &[&str]) {
    let server = start(options);
    for pipeline in ["1", "16"] {
        let mut benchmark = client("redis-benchmark", &server);
        let tests = [
            "-t",
            "ping,set,get,incr,lpush,rpush,rpop",
            "-n",
            "2000",
            "-q",
        ];
        let (stdout, stderr) = output(benchmark.args(tests).args(["-P", pipeline]));
        assert_eq!(stdout.matches("requests per second").count(), 8, "{stdout}");
        assert!(
            !stdout.contains("WARNING") && !stdout.contains("rror"),
            "{stdout}"
        );
        assert_eq!(stderr, "");
    }
    let mut client = Client::connect(&server.address);
    let lengths = client.run("LRANGE mylist 3998 4002");
    assert_eq!(lengths.matches("VXK").count(), 2, "{lengths}");
    assert_eq!(client.run("GET counter:__rand_int__"), "\"4000\"");
}

fn the_python_package_works_with_all_commands(options: &[&str]) {
    let server = start(options);
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut script = python::script_with("redis", &script("redis_client.py"));
    output(script.args([host, port]));
}

/// Redis itself, without persistence. It is killed when the value is dropped.
struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    fn start() -> Self {
        let mut redis = program::installed("redis-server", "--version");
        let free = TcpListener::bind(ANY).expect("a port is free");
        let address = free.local_addr().expect("the socket is bound");
        drop(free);
        let child = redis
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir", "/"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program is installed");
        let redis = Redis {
            child,
            address: address.to_string(),
        };
        eventually("Redis listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compares the replies to the same commands, including errors.
#[test]
fn replies_are_the_same_as_those_of_redis() {
    let redis = Redis::start();
    let server = start(&[]);
    let mut original = Client::connect(&redis.address);
    let mut copy = Client::connect(&server.address);
    let lines = include_str!("kv_commands.txt").lines();
    for line in lines.filter(|line| !line.is_empty()) {
        for client in [&mut original, &mut copy] {
            client.send(format!("{line}\r\n"));
        }
        assert_eq!(copy.reply(), original.reply(), "{line}");
    }
}
