//! A server for Python's `multiprocessing.connection`: each message comes back in upper case.
//!
//! ```text
//! cargo run --release --features auth-md5 --example mp_server -- --key sesame
//! python3 -c '
//! from multiprocessing.connection import Client
//! with Client(("127.0.0.1", 9003), authkey=b"sesame") as connection:
//!     connection.send_bytes(b"hello")
//!     print(connection.recv_bytes())'
//! ```

use std::io;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::auth::Multiprocessing;
use socketserver::prelude::*;

const HELP: &str = "\
Answers each message of Python's multiprocessing.connection.Client in upper case

Usage: mp_server --key <KEY> [ADDRESS]

  [ADDRESS]    Where to listen [default: 127.0.0.1:9003]
  --key <KEY>  The secret shared with the clients: their authkey
  -h, --help   Print this help

At most 256 connections are served at once, and others wait. A client is disconnected when
it sends nothing for 5 minutes, or for 30 seconds inside a message, or when it reads nothing
of its replies for 30 seconds.

A client:

  from multiprocessing.connection import Client
  with Client(('127.0.0.1', 9003), authkey=b'sesame') as connection:
      connection.send_bytes(b'hello')
      print(connection.recv_bytes())
";

/// The most connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may send nothing inside a message, or read nothing of a reply.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The address and the key on the command line.
fn options() -> Result<(String, String), lexopt::Error> {
    let (mut address, mut key) = (None, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("key") => key = Some(arguments.value()?.string()?),
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let key = key.ok_or("--key is missing")?;
    if key.is_empty() {
        return Err("--key: the key is empty".into());
    }
    Ok((address.unwrap_or("127.0.0.1:9003".to_owned()), key))
}

fn upper(auth: &Multiprocessing, request: &mut StreamRequest) -> HandlerResult {
    let mut connection = auth.accept(request)?;
    while connection.get_mut().wait_for_data()? {
        if let Some(mut message) = connection.recv_bytes()? {
            message.make_ascii_uppercase();
            connection.send_bytes(&message)?;
        }
    }
    Ok(())
}

fn serve(address: String, key: String) -> io::Result<()> {
    let auth = Multiprocessing::new(key);
    let server = ThreadingTcpServer::builder()
        .max_connections(MAX_CONNECTIONS)
        .idle_timeout(IDLE_TIMEOUT)
        .read_timeout(TIMEOUT)
        .write_timeout(TIMEOUT)
        .bind_fn(address, move |request| upper(&auth, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, key) = options().unwrap_or_else(|error| {
        eprintln!("mp_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address, key) {
        eprintln!("mp_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
