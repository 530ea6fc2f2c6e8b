//! Proves that it knows the key, sends texts and prints the replies: the client of `auth_server`.
//!
//! ```text
//! cargo run --release --features auth-md5,auth-sha1 --example auth_server -- --key sesame
//! cargo run --release --features auth-md5,auth-sha1 --example auth_client -- --key sesame hello
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{CommandFactory, Parser};
use socketserver::auth::{Digest, Plain};

/// How long to wait for a reply: longer than a server waits for a digest that is too short.
const PATIENCE: Duration = Duration::from_secs(15);

/// Proves that it knows the key, sends texts, and prints each reply on a line
#[derive(Parser)]
#[command(override_usage = "auth_client [OPTIONS] --key <KEY> [HOST:PORT] <TEXT>...")]
struct Options {
    /// What to send; before it, the server's address [default: 127.0.0.1:9002]
    #[arg(value_name = "TEXT", required = true)]
    words: Vec<String>,
    /// The secret shared with the server
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    key: String,
    /// The server's digest: sha256, sha1 or md5
    #[arg(long, default_value_t)]
    digest: Digest,
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn converse(address: &str, auth: &Plain, texts: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    // The answer and the first text leave at once, each for itself.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    auth.answer(&mut stream)?;
    for text in texts {
        // Upper case in ASCII: a reply is as long as what was sent.
        let mut reply = vec![0; text.len()];
        let sent = stream.write_all(text.as_bytes());
        sent.and_then(|()| stream.read_exact(&mut reply))
            .map_err(explain)?;
        writeln!(io::stdout(), "{}", String::from_utf8_lossy(&reply))?;
    }
    Ok(())
}

/// A server refuses us by closing the connection.
fn explain(error: io::Error) -> io::Error {
    let message = match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the server closed the connection; are key and digest the same there?".to_owned()
        }
        ErrorKind::WouldBlock => format!("no reply within {PATIENCE:?}"),
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    let address = match options.words.first() {
        Some(word) if is_address(word) => options.words.remove(0),
        _ => "127.0.0.1:9002".to_owned(),
    };
    if options.words.is_empty() {
        let message = "nothing to send: no TEXT after the address";
        let kind = clap::error::ErrorKind::MissingRequiredArgument;
        Options::command().error(kind, message).exit();
    }
    let auth = Plain::new(options.key).digest(options.digest);
    if let Err(error) = converse(&address, &auth, &options.words) {
        eprintln!("auth_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
