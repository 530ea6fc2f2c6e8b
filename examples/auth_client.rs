//! Proves that it knows the key, sends texts and prints the replies: the client of `auth_server`.
//!
//! ```text
//! cargo run --release --features auth-md5,auth-sha1 --example auth_server -- --key sesame
//! cargo run --release --features auth-md5,auth-sha1 --example auth_client -- --key sesame hello
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use socketserver::auth::{Digest, Plain};

const HELP: &str = "\
Proves that it knows the key, sends texts, and prints each reply on a line

Usage: auth_client [OPTIONS] --key <KEY> [HOST:PORT] <TEXT>...

  [HOST:PORT]        The server [default: 127.0.0.1:9002]
  <TEXT>...          What to send
  --key <KEY>        The secret shared with the server
  --digest <DIGEST>  The server's digest: sha256, sha1 or md5 [default: sha256]
  -h, --help         Print this help
";

/// How long to wait for a reply: longer than a server waits for the rest of a digest that is too short.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// The server's address, the authentication and the texts on the command line.
fn options() -> Result<(String, Plain, Vec<String>), lexopt::Error> {
    let (mut texts, mut key, mut digest) = (Vec::new(), None, Digest::default());
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("key") => key = Some(arguments.value()?.string()?),
            Long("digest") => {
                let name = arguments.value()?.string()?;
                let unknown = |_| format!("--digest: {name:?} is not sha256, sha1 or md5");
                digest = name.parse().map_err(unknown)?;
            }
            Value(value) => texts.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let key = key.ok_or("--key is missing")?;
    if key.is_empty() {
        return Err("--key: the key is empty".into());
    }
    let address = match texts.first() {
        Some(word) if is_address(word) => texts.remove(0),
        _ => "127.0.0.1:9002".to_owned(),
    };
    if texts.is_empty() {
        return Err("there is no TEXT to send".into());
    }
    Ok((address, Plain::new(key).digest(digest), texts))
}

fn is_address(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn talk(address: &str, auth: &Plain, texts: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    // The answer to the challenge and the first text are sent at once, each in a packet of its own.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
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

/// A server refuses a client by closing the connection.
fn explain(error: io::Error) -> io::Error {
    let message = match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the server closed the connection; are key and digest the same there?".to_owned()
        }
        ErrorKind::WouldBlock => format!("no reply within {REPLY_TIMEOUT:?}"),
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

fn main() -> ExitCode {
    let (address, auth, texts) = options().unwrap_or_else(|error| {
        eprintln!("auth_client: {error} (see --help)");
        process::exit(2);
    });
    if let Err(error) = talk(&address, &auth, &texts) {
        eprintln!("auth_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
