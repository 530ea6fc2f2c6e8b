//! The example `kv_server` and the clients of Redis; and beside Redis itself, where it is installed.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use support::example::Example;
use support::program;
use support::{ANY, eventually, python};

use crate::PROGRAM;
use crate::beside;
use crate::resp::Client;

fn start() -> Example {
    Example::start(PROGRAM, &[ANY])
}

/// A command that gets the server's host and port as options; `None` where it is not installed.
fn client(name: &str, server: &Example) -> Command {
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut command = program::installed(name, "--version");
    command.args(["-h", host, "-p", port]).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> (String, String) {
    let output = command.output().expect("it is there");
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (text(output.stdout), text(output.stderr))
}

#[test]
fn redis_cli_says_and_hears_everything() {
    let server = start();
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
        let (said, complaints) = output(cli.arg("--no-raw").args(words));
        assert_eq!(said.trim_end(), expected, "{words:?}");
        assert_eq!(complaints, "", "{words:?}");
    }
}

#[test]
fn redis_benchmark_starts_without_a_warning_and_gets_all_replies() {
    let server = start();
    for pipeline in ["1", "16"] {
        let mut benchmark = client("redis-benchmark", &server);
        let tests = [
            "-t",
            "ping,set,get,incr,lpush,rpush,rpop",
            "-n",
            "2000",
            "-q",
        ];
        let (said, complaints) = output(benchmark.args(tests).args(["-P", pipeline]));
        assert_eq!(said.matches("requests per second").count(), 8, "{said}");
        assert!(
            !said.contains("WARNING") && !said.contains("rror"),
            "{said}"
        );
        assert_eq!(complaints, "");
    }
    let mut client = Client::connect(&server.address);
    let lengths = client.say("LRANGE mylist 3998 4002");
    assert_eq!(lengths.matches("VXK").count(), 2, "{lengths}");
    assert_eq!(client.say("GET counter:__rand_int__"), "\"4000\"");
}

#[test]
fn the_python_package_does_all_of_it() {
    let server = start();
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut script = python::script_with("redis", &beside("redis_client.py"));
    output(script.args([host, port]));
}

/// Redis itself, which keeps nothing; killed when dropped.
struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    fn start() -> Self {
        let mut redis = program::installed("redis-server", "--version");
        let free = TcpListener::bind(ANY).expect("a port is free");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let child = redis
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir", "/"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it is there");
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

/// The same replies to the same commands, errors included.
#[test]
fn it_answers_as_redis_does() {
    let redis = Redis::start();
    let server = start();
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
