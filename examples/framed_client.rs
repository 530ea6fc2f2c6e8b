//! Sends messages, each after its length, and prints the replies: the client of `framed_server`.
//!
//! ```text
//! cargo run --release --example framed_server
//! cargo run --release --example framed_client hello world
//! ```

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{self, ExitCode};
use std::thread;

use lexopt::prelude::*;
use socketserver::framing::{Framing, Prefix};

const HELP: &str = "\
Sends length-prefixed messages, and prints each reply on a line

Usage: framed_client [OPTIONS] [HOST:PORT] <TEXT>...

  [HOST:PORT]        The server [default: 127.0.0.1:9001]
  <TEXT>...          The messages to send
  --prefix <FORMAT>  The length in front of each message, in the notation of Python's
                     struct [default: !I, 4 bytes in network order]
  -h, --help         Print this help
";

/// The server's address, the framing and the texts on the command line.
fn options() -> Result<(String, Framing, Vec<String>), lexopt::Error> {
    let (mut texts, mut prefix) = (Vec::new(), Prefix::U32);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("prefix") => {
                let format = arguments.value()?.string()?;
                prefix = format.parse().map_err(|e| format!("--prefix: {e}"))?;
            }
            Value(value) => texts.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let address = match texts.first() {
        Some(word) if is_address(word) => texts.remove(0),
        _ => "127.0.0.1:9001".to_owned(),
    };
    if texts.is_empty() {
        return Err("there is no TEXT to send".into());
    }
    Ok((address, Framing::new(prefix), texts))
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn talk(address: &str, framing: Framing, texts: &[String]) -> io::Result<()> {
    let mut messages = Vec::new();
    for text in texts {
        framing.write(&mut messages, text.as_bytes())?;
    }
    let stream = TcpStream::connect(address)?;
    thread::scope(|scope| {
        // Sent while replies are read: otherwise both ends could wait for each other with full
        // buffers. If sending fails, reading fails too and reports the reason.
        scope.spawn(|| {
            (&stream)
                .write_all(&messages)
                .and(stream.shutdown(Shutdown::Write))
        });
        let received = print_replies(&stream, framing, texts.len());
        let _ = stream.shutdown(Shutdown::Both);
        received
    })
}

fn print_replies(mut stream: &TcpStream, framing: Framing, count: usize) -> io::Result<()> {
    for n in 0..count {
        let Some(reply) = framing.read(&mut stream)? else {
            let message = format!("the server closed the connection after {n} of {count} replies");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        };
        let reply = String::from_utf8(reply).map_err(io::Error::other)?;
        writeln!(io::stdout(), "{reply}")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let (address, framing, texts) = options().unwrap_or_else(|error| {
        eprintln!("framed_client: {error} (see --help)");
        process::exit(2);
    });
    if let Err(error) = talk(&address, framing, &texts) {
        eprintln!("framed_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
