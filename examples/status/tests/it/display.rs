//! The example `status`: its table on a terminal, and its lines without one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use support::example::{self, Example};
use support::{connect, eventually, exchange, read_all};

use crate::PROGRAM;

fn address(text: &str) -> socketserver::Address {
    let address: SocketAddr = text.parse().expect("the server has a TCP address");
    address.into()
}

/// A client that is served.
fn served(address: &socketserver::Address) -> TcpStream {
    let client = connect(address);
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    client
}

/// Reads lines until one of them matches, and returns it.
fn read_until(reader: &mut impl BufRead, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("the output is text") > 0);
        if wanted(&line) {
            return line;
        }
    }
}

#[test]
fn without_a_terminal_it_prints_a_line_each_second_and_at_the_end() {
    let options = [
        "127.0.0.1:0",
        "--max-connections",
        "1",
        "--overload",
        "reject",
    ];
    let mut status = Example::start(PROGRAM, &options);
    let address = address(&status.address);
    let client = served(&address);
    assert_eq!(read_all(connect(&address)), "server busy\n");
    let line = read_until(&mut status.stdout, |line| line.contains("accepted 2 "));
    assert!(line.starts_with("active 1 (peak 1), queued 0, threads 1, "));
    assert!(line.contains("rejected 1 ("), "{line}");
    drop(client);
    status.signal(Signal::SIGTERM);
    let (code, output, _) = status.finish();
    assert!(code.success());
    let last = output
        .lines()
        .last()
        .expect("the program prints a last line");
    assert!(last.starts_with("active 0 (peak 1), queued 0, threads 0, "));
    assert!(!output.contains('\x1b'));
}

#[test]
fn clients_beyond_the_limit_per_ip_get_an_answer() {
    let options = ["127.0.0.1:0", "--per-ip", "1"];
    let status = Example::start(PROGRAM, &options);
    let address = address(&status.address);
    let _client = served(&address);
    assert_eq!(read_all(connect(&address)), "server busy\n");
}

/// A minimal terminal, with the control sequences that the table uses.
#[derive(Default)]
struct Terminal {
    lines: Vec<String>,
    row: usize,
}

impl Terminal {
    fn print(&mut self, line: &str) {
        let mut text = line.trim_end_matches(['\r', '\n']).replace("\x1b[K", "");
        if let Some(rest) = text.strip_prefix("\x1b[J") {
            self.lines.truncate(self.row);
            text = rest.to_owned();
        }
        while let Some(sequence) = text.strip_prefix("\x1b[") {
            let (rows, rest) = sequence
                .split_once('A')
                .expect("the program uses no other sequence");
            self.row -= rows.parse::<usize>().expect("a number of rows");
            text = rest.to_owned();
        }
        self.lines
            .resize(self.lines.len().max(self.row + 1), String::new());
        self.lines[self.row] = text;
        self.row += 1;
    }

    /// The numbers in the row of a name.
    fn numbers(&self, name: &str) -> Option<Vec<u64>> {
        let line = self
            .lines
            .iter()
            .find(|line| line.trim().starts_with(name))?;
        let rest = line.trim().strip_prefix(name)?;
        rest.split_whitespace().map(|n| n.parse().ok()).collect()
    }
}

#[test]
fn on_a_terminal_it_redraws_one_table() {
    redraws_one_table(&["127.0.0.1:0"], 21, 21);
}

#[test]
fn on_green_tasks_the_table_shows_the_oldest() {
    redraws_one_table(&["--green", "127.0.0.1:0"], 25, 21);
}

/// Checks how many rows there are with two clients, and when they have left.
fn redraws_one_table(arguments: &[&str], rows: usize, rows_after: usize) {
    let pty = openpty(None, None).expect("a pseudo-terminal can be opened");
    let mut command = example::command(PROGRAM, arguments);
    let slave = File::from(pty.slave);
    command.stderr(slave.try_clone().expect("the connection is open"));
    let mut child = command.stdout(slave).spawn().expect("the example is built");
    // The test drops its descriptor, so that the terminal is closed when the example ends.
    drop(command);
    let mut output = BufReader::new(File::from(pty.master));
    let listening = read_until(&mut output, |_| true);
    let listening = listening.trim_end().strip_prefix("listening on ");
    let address = address(listening.expect("the first line has the address"));
    let clients = [served(&address), served(&address)];
    let mut terminal = Terminal::default();
    while terminal.numbers("accepted").is_none_or(|n| n[0] < 2) || terminal.row < rows {
        terminal.print(&read_until(&mut output, |_| true));
    }
    assert_eq!(terminal.lines.len(), rows);
    if rows > rows_after {
        let last = terminal.lines[rows - 1].split_whitespace();
        let client = clients[1].local_addr().expect("it is connected");
        assert_eq!(
            last.take(3).collect::<Vec<_>>(),
            ["2", &client.to_string(), "reading"]
        );
    }
    assert_eq!(terminal.numbers("active"), Some(vec![2, 2]));
    assert_eq!(
        terminal
            .numbers("bytes in")
            .expect("the table has this row")[0],
        12
    );
    drop(clients);
    // The next table is drawn over the last one.
    while terminal
        .numbers("finished")
        .expect("the table has this row")[0]
        < 2
        || terminal.row < rows_after
    {
        terminal.print(&read_until(&mut output, |_| true));
    }
    // What clears the rest is in front of the next table.
    terminal.print(&read_until(&mut output, |_| true));
    assert_eq!(terminal.lines.len(), rows_after);
    assert_eq!(terminal.numbers("active"), Some(vec![0, 2]));
    child.kill().expect("a child process");
    child.wait().expect("a child process");
}

#[test]
fn errors_and_usage_errors() {
    let taken = std::net::TcpListener::bind(support::ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let output = example::run(PROGRAM, &[&address]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("status: ") && stderr.contains(&address),
        "{stderr}"
    );
    assert_eq!(
        example::run(PROGRAM, &["--overload", "panic"])
            .status
            .code(),
        Some(2)
    );
    let help = example::run(PROGRAM, &["--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("--max-connections"));
}

#[test]
fn it_ends_when_its_output_is_closed() {
    let mut command = example::command(PROGRAM, &["127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the example is built");
    let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
    read_until(&mut stdout, |line| line.starts_with("listening on "));
    drop(stdout);
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().expect("a child process");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(1));
}
