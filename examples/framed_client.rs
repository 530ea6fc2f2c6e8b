//! Sends messages, each behind its length, and prints the replies: the client of `framed_server`.
//!
//! ```text
//! cargo run --release --example framed_server
//! cargo run --release --example framed_client hello world
//! ```

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use socketserver::framing::{Framing, Prefix};

/// Sends length-prefixed messages, and prints each reply on a line
#[derive(Parser)]
#[command(override_usage = "framed_client [OPTIONS] [HOST:PORT] <TEXT>...")]
struct Options {
    /// The messages; before them, the server's address [default: 127.0.0.1:9001]
    #[arg(value_name = "TEXT", required = true)]
    words: Vec<String>,
    /// The length in front of each message, in the notation of Python's struct
    #[arg(long, value_name = "FORMAT", default_value = "!I")]
    prefix: Prefix,
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn converse(address: &str, framing: Framing, texts: &[String]) -> io::Result<()> {
    let mut burst = Vec::new();
    for text in texts {
        framing.write(&mut burst, text.as_bytes())?;
    }
    let stream = TcpStream::connect(address)?;
    thread::scope(|scope| {
        // Sent while replies are read, so that the two ends never wait for each other with full
        // buffers. If it fails, reading does too, and says why.
        scope.spawn(|| {
            (&stream)
                .write_all(&burst)
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
            let message = format!("the server left after {n} of {count} replies");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        };
        let reply = String::from_utf8(reply).map_err(io::Error::other)?;
        writeln!(io::stdout(), "{reply}")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut texts = Options::parse();
    let address = match texts.words.first() {
        Some(word) if is_address(word) => texts.words.remove(0),
        _ => "127.0.0.1:9001".to_owned(),
    };
    if texts.words.is_empty() {
        let message = "nothing to send: no TEXT after the address";
        let kind = ErrorKind::MissingRequiredArgument;
        Options::command().error(kind, message).exit();
    }
    let framing = Framing::new(texts.prefix);
    if let Err(error) = converse(&address, framing, &texts.words) {
        eprintln!("framed_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
