//! Prints the syslog messages it receives, over UDP, TCP and a Unix datagram socket, each on a line:
//! facility, severity, host, tag and text.
//!
//! ```text
//! cargo run --release --example syslog_server
//! logger --server 127.0.0.1 --port 5514 hello
//! ```
//!
//! A message is of RFC 5424 or of the older RFC 3164, of which any part may be missing. Over TCP it is
//! behind its length, or ends with a newline or a zero byte (RFC 6587). Of one that is longer than 8 KiB
//! the beginning is printed. Control characters are printed as escapes: no message can pass for two.

#[path = "../dns_server/same_port.rs"]
mod same_port;

mod frame;
mod message;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use self::frame::Frame;
use self::message::Message;

/// How long a TCP client may be silent, between messages and inside of one.
const IDLE: Duration = Duration::from_secs(3600);

/// Prints the syslog messages it receives
#[derive(Parser)]
struct Options {
    /// Where to listen, over UDP and TCP
    #[arg(default_value = "127.0.0.1:5514")]
    address: String,
    /// A Unix datagram socket to listen on, too
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
}

struct Printer;

impl RequestHandler<DatagramRequest> for Printer {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let frame = Frame {
            data: request.packet.to_vec(),
            cut: request.truncated,
        };
        print(&frame, &request.client_address)
    }
}

impl RequestHandler<StreamRequest> for Printer {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while request.wait_idle()? {
            let frame = frame::read(&mut request.rfile)?;
            print(&frame, &request.client_address)?;
        }
        Ok(())
    }
}

fn print(frame: &Frame, sender: &Address) -> HandlerResult {
    let text = String::from_utf8_lossy(&frame.data);
    let text = text.trim_end_matches(['\0', '\r', '\n']);
    if text.is_empty() {
        return Ok(());
    }
    let message = Message::parse(text, sender);
    let end = if frame.cut { " [cut off]" } else { "" };
    let printed = writeln!(io::stdout(), "{message}{end}");
    printed.map_err(|e| format!("cannot print: {e}").into())
}

fn serve(options: Options) -> io::Result<()> {
    let unix = options.unix.map(bind_unix).transpose()?;
    let (tcp, udp) = same_port::bind(&options.address, bind_tcp, |address| {
        UdpServer::bind(address, || Printer)
    })?;
    tcp.shutdown_on_ctrlc()?;
    udp.shutdown_on_ctrlc()?;
    println!("listening on {}", tcp.server_address());
    if let Some(unix) = &unix {
        println!("listening on {}", unix.server_address());
    }
    let _unix = unix.map(Server::serve_in_background).transpose()?;
    let _udp = udp.serve_in_background()?;
    tcp.serve_forever()
}

fn bind_tcp(address: &str) -> io::Result<ThreadingTcpServer> {
    ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .max_threads(1024)
        .idle_timeout(IDLE)
        .read_timeout(IDLE)
        .bind(address, || Printer)
}

fn bind_unix(path: PathBuf) -> io::Result<UnixDatagramServer> {
    let server = UnixDatagramServer::bind(path, || Printer)?;
    server.shutdown_on_ctrlc()?;
    Ok(server)
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
