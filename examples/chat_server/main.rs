//! A room to chat in: each line goes to everybody else.
//!
//! ```text
//! cargo run --release --example chat_server
//! nc 127.0.0.1 9004
//! ```
//!
//! `/nick NAME` changes your name, `/who` tells who is there, `/quit` leaves. What the server itself
//! says begins with `*`. A line has at most 4,096 bytes. Nobody is waited for: each client has an
//! outbox and a thread that empties it, and one that stops reading is dropped when its outbox is full
//! or nothing could be sent to it for 5 s.

mod outbox;
mod room;
mod writer;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use self::outbox::Outbox;
use self::room::Room;
use self::writer::Writer;

/// A room to chat in: each line goes to everybody else
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9004")]
    address: String,
}

struct Member {
    room: Arc<Room>,
    writer: Option<Writer>,
}

impl RequestHandler for Member {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let connection = request.connection()?;
        let outbox = Arc::new(Outbox::default());
        self.writer = Some(Writer::start(connection.clone(), Arc::clone(&outbox))?);
        self.room.enter(connection, outbox);
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = Vec::new();
        while request.wait_for_data()? {
            line.clear();
            if let Err(error) = request.rfile.read_until(b'\n', &mut line) {
                self.room.tell(request.id(), &error.to_string());
                return Err(error.into());
            }
            if !self.room.obey(request.id(), &printable(&line)) {
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.room.leave(request.id());
        if let Some(writer) = self.writer.take() {
            writer.end();
        }
        Ok(())
    }
}

/// Nobody gets to send escape codes to the others' terminals.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).replace('\t', " ");
    text.replace(char::is_control, "").trim().to_owned()
}

fn serve(options: Options) -> io::Result<()> {
    let room = Arc::new(Room::default());
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true)
        .max_line(4096)
        .write_timeout(Duration::from_secs(5))
        .bind(options.address, move || Member {
            room: Arc::clone(&room),
            writer: None,
        })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("chat_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
