//! Serves clients that know the key, and sends back in upper case what they send.
//!
//! A client receives 32 random bytes and answers with their HMAC under the key: in Python
//! `hmac.new(key, challenge, "sha256").digest()`. After a wrong answer the connection is closed, and
//! the log names the client.
//!
//! ```text
//! cargo run --release --features auth-md5,auth-sha1 --example auth_server -- --key sesame
//! cargo run --release --features auth-md5,auth-sha1 --example auth_client -- --key sesame hello
//! ```

use std::io;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::auth::{Digest, Plain};
use socketserver::prelude::*;

const HELP: &str = "\
Sends back in upper case what clients send that prove that they know the key

Usage: auth_server [OPTIONS] --key <KEY> [ADDRESS]

  [ADDRESS]          Where to listen [default: 127.0.0.1:9002]
  --key <KEY>        The secret shared with the clients
  --digest <DIGEST>  sha256, or sha1 or md5 for old clients [default: sha256]
  -h, --help         Print this help

At most 256 connections are served at once, and others wait. A client is disconnected when
it sends nothing for 5 minutes, or reads nothing of what it is sent for 30 seconds.
";

/// The most connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may read nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The address and the authentication on the command line.
fn options() -> Result<(String, Plain), lexopt::Error> {
    let (mut address, mut key, mut digest) = (None, None, Digest::default());
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
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let key = key.ok_or("--key is missing")?;
    if key.is_empty() {
        return Err("--key: the key is empty".into());
    }
    let address = address.unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    Ok((address, Plain::new(key).digest(digest)))
}

fn upper(auth: &Plain, request: &mut StreamRequest) -> HandlerResult {
    auth.challenge(request)?;
    while request.wait_for_data()? {
        let data = request.rfile.fill_buf()?.to_ascii_uppercase();
        request.rfile.consume(data.len());
        request.wfile.write_all(&data)?;
    }
    Ok(())
}

fn serve(address: String, auth: Plain) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .max_connections(MAX_CONNECTIONS)
        .idle_timeout(IDLE_TIMEOUT)
        .write_timeout(WRITE_TIMEOUT)
        .bind_fn(address, move |request| upper(&auth, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, auth) = options().unwrap_or_else(|error| {
        eprintln!("auth_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address, auth) {
        eprintln!("auth_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
