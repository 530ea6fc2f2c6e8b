//! Prints the syslog messages it receives, over UDP, TCP and a Unix datagram socket, each on a line:
//! facility, severity, host, tag and text.
//!
//! ```text
//! cargo run --release -p syslog_server
//! logger --server 127.0.0.1 --port 5514 hello
//! ```
//!
//! A message follows RFC 5424 or the older RFC 3164, of which any part may be missing. Over TCP it is
//! preceded by its length, or ends with a newline or a zero byte (RFC 6587). A message of more than 8 KiB
//! is truncated. Control characters are printed as escapes, so one message cannot look like two. The
//! server ends when it can no longer print.

mod frame;
mod message;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use self::frame::Frame;
use self::message::Message;

/// The idle timeout and the read timeout of a TCP connection.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Prints the syslog messages it receives
#[derive(Parser)]
struct Options {
    /// Where to listen, over UDP and TCP
    #[arg(default_value = "127.0.0.1:5514")]
    address: String,
    /// Also listen on a Unix datagram socket with this path
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
}

struct Printer;

impl RequestHandler<DatagramRequest> for Printer {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let frame = Frame {
            data: request.packet.to_vec(),
            truncated: request.truncated,
        };
        print(&frame, request);
        Ok(())
    }
}

impl RequestHandler<StreamRequest> for Printer {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while request.wait_for_data()? {
            let frame = frame::read(&mut request.rfile)?;
            print(&frame, request);
        }
        Ok(())
    }
}

/// Prints a message. The server ends with an error if it cannot, as when it is piped to `head`.
fn print(frame: &Frame, request: &impl Request) {
    let text = String::from_utf8_lossy(&frame.data);
    let text = text.trim_end_matches(['\0', '\r', '\n']);
    if text.is_empty() {
        return;
    }
    let message = Message::parse(text, request.client_address());
    let end = if frame.truncated { " [cut off]" } else { "" };
    if let Err(e) = writeln!(io::stdout(), "{message}{end}") {
        let text = format!("cannot print: {e}");
        request.server().fail(io::Error::new(e.kind(), text));
    }
}

fn serve(options: Options) -> io::Result<()> {
    let (tcp, udp) = ServerGroup::same_port(
        || bind_tcp(&options.address),
        |address| UdpServer::bind(address, || Printer),
    )?;
    let mut group = ServerGroup::new();
    let mut listening = vec![group.add(tcp)];
    group.add(udp);
    if let Some(path) = options.unix {
        listening.push(group.add(UnixDatagramServer::bind(path, || Printer)?));
    }
    group.shutdown_on_ctrlc()?;
    for server in listening {
        println!("listening on {}", server.server_address());
    }
    group.serve_forever()
}

fn bind_tcp(address: &str) -> io::Result<ThreadingTcpServer> {
    ThreadingTcpServer::builder()
        .max_threads(1024)
        .idle_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .bind(address, || Printer)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("syslog_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
