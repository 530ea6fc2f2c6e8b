//! A chat room: each line goes to all other clients.
//!
//! ```text
//! cargo run --release --example chat_server
//! nc 127.0.0.1 9004
//! ```
//!
//! `/nick NAME` changes your name, `/who` lists who is here, `/quit` leaves. Lines of the server itself
//! begin with `*`. A line has at most 4,096 bytes. A slow client does not delay the others: each client has
//! a queue and a thread that sends from it. A client that does not read is disconnected when its queue is
//! full, or when nothing could be sent to it for 5 s.

mod room;
mod writer;

use std::io;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use self::room::Room;
use self::writer::Writer;

const HELP: &str = "\
A chat room: each line goes to all other clients

Usage: chat_server [ADDRESS]

  [ADDRESS]   Where to listen [default: 127.0.0.1:9004]
  -h, --help  Print this help
";

struct Member {
    room: Arc<Room>,
    writer: Option<Writer>,
}

impl RequestHandler for Member {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let (writer, queue) = Writer::start(request.connection()?)?;
        self.writer = Some(writer);
        self.room.enter(request.connection()?, queue);
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
        if let Some(writer) = self.writer.take() {
            writer.finish();
        }
        Ok(())
    }
}

/// Removes control characters: no client may send escape codes to the terminals of others.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).replace('\t', " ");
    text.replace(char::is_control, "").trim().to_owned()
}

/// The address on the command line.
fn address() -> Result<String, lexopt::Error> {
    let mut address = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(address.unwrap_or_else(|| "127.0.0.1:9004".to_owned()))
}

fn serve(address: String) -> io::Result<()> {
    let room = Arc::new(Room::default());
    let server = ThreadingTcpServer::builder()
        .disable_nagle_algorithm(true)
        .max_line(4096)
        .write_timeout(Duration::from_secs(5))
        .bind(address, move || Member {
            room: Arc::clone(&room),
            writer: None,
        })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let address = address().unwrap_or_else(|error| {
        eprintln!("chat_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address) {
        eprintln!("chat_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
