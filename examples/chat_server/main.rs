//! A chat room: each line goes to all other clients.
//!
//! ```text
//! cargo run --release --example chat_server
//! nc 127.0.0.1 9004
//! ```
//!
//! `/nick NAME` changes your name, `/who` lists who is here, `/quit` leaves. Lines of the server itself
//! begin with `*`. A slow client does not delay the others: each client has an outbox. A client that does not
//! read is disconnected when its outbox is full. `--help` lists the limits.

mod room;

use std::io;
use std::num::NonZeroUsize;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

use self::room::Room;

const HELP: &str = "\
A chat room: each line goes to all other clients

Usage: chat_server [OPTIONS] [ADDRESS]

  [ADDRESS]                 Where to listen [default: 127.0.0.1:9004]
  --max-connections <N>     The most clients at once; others wait [default: 512]
  --per-ip <N>              The most clients of one IPv4 address or IPv6 /64 network at
                            once; more are closed [default: no limit]
  --idle-timeout <SECONDS>  How long a client may send nothing, in whole seconds
                            [default: 3600]
  --green                   Serve many clients on each thread; it needs a build with
                            `--features green` [default: each on a thread]
  -h, --help                Print this help

A line has at most 4,096 bytes, and one that was begun must go on within 60 s. A client
is disconnected when 256 KiB wait for it, or nothing could be sent to it for 5 s.
";

struct Member {
    room: Arc<Room>,
}

impl RequestHandler for Member {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.room.enter(&request.connection()?);
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = Vec::new();
        while request.wait_for_data()? {
            line.clear();
            if let Err(error) = request.rfile.read_until(b'\n', &mut line) {
                self.room.reply(request.id(), &error.to_string());
                return Err(error.into());
            }
            if !self.room.run(request.id(), &printable(&line)) {
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.room.leave(request.id());
        Ok(())
    }
}

/// Removes what a terminal does not print: no client may send escape codes to the terminals of others, nor
/// characters that reverse the text or end the line.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).replace('\t', " ");
    // Persian, Hindi and emoji need the two joiners.
    let is_joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let is_printed =
        |c: &char| c.is_ascii_graphic() || *c == ' ' || is_joiner(*c) || !is_escaped(*c);
    let text: String = text.chars().filter(is_printed).collect();
    text.trim().to_owned()
}

fn is_escaped(c: char) -> bool {
    // Behind another character: only at the beginning a combining accent would be escaped.
    format!("-{c}").escape_debug().count() > 2
}

struct Options {
    address: String,
    max_connections: NonZeroUsize,
    per_ip: Option<NonZeroUsize>,
    idle_timeout: NonZeroUsize,
    green: bool,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        address: "127.0.0.1:9004".to_owned(),
        max_connections: NonZeroUsize::new(512).expect("it is not 0"),
        per_ip: None,
        idle_timeout: NonZeroUsize::new(3600).expect("it is not 0"),
        green: false,
    };
    let mut has_address = false;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("max-connections") => options.max_connections = arguments.value()?.parse()?,
            Long("per-ip") => options.per_ip = Some(arguments.value()?.parse()?),
            Long("idle-timeout") => options.idle_timeout = arguments.value()?.parse()?,
            Long("green") => options.green = true,
            Value(value) if !has_address => {
                options.address = value.string()?;
                has_address = true;
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let room = Arc::new(Room::default());
    let server = builder
        .disable_nagle_algorithm(true)
        .max_line(4096)
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout.get() as u64))
        .read_timeout(Duration::from_secs(60))
        .write_timeout(Duration::from_secs(5))
        .bind(options.address, move || Member {
            room: Arc::clone(&room),
        })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = options().unwrap_or_else(|error| {
        eprintln!("chat_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    let served = match options.green {
        false => serve(ThreadingTcpServer::builder(), options),
        #[cfg(feature = "green")]
        true => serve(GreenTcpServer::builder(), options),
        #[cfg(not(feature = "green"))]
        true => Err(io::Error::other(
            "--green needs a build with `--features green`",
        )),
    };
    if let Err(error) = served {
        eprintln!("chat_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
