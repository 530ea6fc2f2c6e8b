//! Sends names to a server, and prints its replies: the client of `hello_server`.
//!
//! ```text
//! cargo run --release --example hello_server
//! cargo run --release --example hello_client Ada Grace
//! ```

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;

const HELP: &str = "\
Sends each NAME, and prints each reply on a line

Usage: hello_client [HOST:PORT] <NAME>...

  [HOST:PORT]  The server [default: 127.0.0.1:8888]
  <NAME>...    The names to send
  -h, --help   Print this help
";

/// How long the server may take for each reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The server's address and the names on the command line.
fn options() -> Result<(String, Vec<String>), lexopt::Error> {
    let mut words = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Value(value) => words.push(name(&value.string()?)?),
            _ => return Err(argument.unexpected()),
        }
    }
    let address = match words.first() {
        Some(word) if is_address(word) => words.remove(0),
        _ => "127.0.0.1:8888".to_owned(),
    };
    if words.is_empty() {
        return Err("there is no NAME to send".into());
    }
    Ok((address, words))
}

/// Refuses what the server would not answer as one message.
fn name(word: &str) -> Result<String, String> {
    match word.trim_ascii() {
        "" => Err("a NAME is empty".into()),
        "exit" => Err("the NAME `exit` would end the connection".into()),
        name if name.len() > 1024 => Err("a NAME is longer than 1,024 bytes".into()),
        name if name.contains(char::is_control) => {
            Err(format!("the NAME {name:?} contains a control character"))
        }
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
        io::ErrorKind::WouldBlock => io::Error::other(format!("no reply within {REPLY_TIMEOUT:?}")),
        _ => e,
    })?;
    writeln!(io::stdout(), "{}", String::from_utf8_lossy(&reply))
}

fn talk(address: &str, names: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    print_reply(&mut stream, "Welcome!".len())?;
    for name in names {
        stream.write_all(name.as_bytes())?;
        print_reply(&mut stream, "Hello, !".len() + name.len())?;
    }
    stream.write_all(b"exit")
}

fn main() -> ExitCode {
    let (address, names) = options().unwrap_or_else(|error| {
        eprintln!("hello_client: {error} (see --help)");
        process::exit(2);
    });
    if let Err(error) = talk(&address, &names) {
        eprintln!("hello_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
