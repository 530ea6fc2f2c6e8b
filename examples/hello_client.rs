//! Tells a server some names, and prints its replies: the client of `hello_server`.
//!
//! ```text
//! cargo run --release --example hello_server
//! cargo run --release --example hello_client Ada Grace
//! ```

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// How long the server may take for each reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends each NAME, and prints each reply on a line
#[derive(Parser)]
#[command(override_usage = "hello_client [HOST:PORT] <NAME>...")]
struct Options {
    /// The names; before them, the server's address [default: 127.0.0.1:8888]
    #[arg(value_name = "NAME", required = true, value_parser = name)]
    words: Vec<String>,
}

/// What the server would not answer as one message is no name.
fn name(word: &str) -> Result<String, &'static str> {
    match word.trim_ascii() {
        "" => Err("it is empty"),
        "exit" => Err("it would end the conversation"),
        name if name.len() > 1024 => Err("it is longer than 1,024 bytes"),
        name if name.contains(char::is_control) => Err("it has a control character in it"),
        name => Ok(name.to_owned()),
    }
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Nothing marks a reply's end, but its length is known.
fn print_reply(stream: &mut TcpStream, length: usize) -> io::Result<()> {
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it has ended the conversation"),
        io::ErrorKind::WouldBlock => io::Error::other(format!("no reply within {PATIENCE:?}")),
        _ => e,
    })?;
    writeln!(io::stdout(), "{}", String::from_utf8_lossy(&reply))
}

fn converse(address: &str, names: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    print_reply(&mut stream, "Welcome!".len())?;
    for name in names {
        stream.write_all(name.as_bytes())?;
        print_reply(&mut stream, "Hello, !".len() + name.len())?;
    }
    stream.write_all(b"exit")
}

fn main() -> ExitCode {
    let mut names = Options::parse().words;
    let address = match names.first() {
        Some(word) if is_address(word) => names.remove(0),
        _ => "127.0.0.1:8888".to_owned(),
    };
    if names.is_empty() {
        let message = "nobody to greet: no NAME after the address";
        let kind = ErrorKind::MissingRequiredArgument;
        Options::command().error(kind, message).exit();
    }
    if let Err(error) = converse(&address, &names) {
        eprintln!("hello_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
