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
mod output;
mod same_port;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use self::frame::Frame;
use self::message::Message;
use self::output::Output;

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

#[derive(Clone)]
struct Printer {
    output: Output,
}

impl RequestHandler<DatagramRequest> for Printer {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let frame = Frame {
            data: request.packet.to_vec(),
            truncated: request.truncated,
        };
        self.print(&frame, &request.client_address);
        Ok(())
    }
}

impl RequestHandler<StreamRequest> for Printer {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while request.wait_for_data()? {
            let frame = frame::read(&mut request.rfile)?;
            self.print(&frame, &request.client_address);
        }
        Ok(())
    }
}

impl Printer {
    fn print(&self, frame: &Frame, sender: &Address) {
        let text = String::from_utf8_lossy(&frame.data);
        let text = text.trim_end_matches(['\0', '\r', '\n']);
        if !text.is_empty() {
            let message = Message::parse(text, sender);
            let end = if frame.truncated { " [cut off]" } else { "" };
            self.output.print(format_args!("{message}{end}"));
        }
    }
}

fn serve(options: Options) -> io::Result<()> {
    let printer = Printer {
        output: Output::default(),
    };
    let unix = options.unix.map(|path| bind_unix(path, &printer));
    let unix = unix.transpose()?;
    let (tcp, udp) = same_port::bind(
        &options.address,
        |address| bind_tcp(address, &printer),
        |address| bind_udp(address, &printer),
    )?;
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

/// This server ends when a line cannot be printed, and the others end with it.
fn bind_tcp(address: &str, printer: &Printer) -> io::Result<ThreadingTcpServer> {
    let printer = printer.clone();
    ThreadingTcpServer::builder()
        .max_threads(1024)
        .idle_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .hooks(printer.output.clone())
        .bind(address, move || printer.clone())
}

fn bind_udp(address: &Address, printer: &Printer) -> io::Result<UdpServer> {
    let printer = printer.clone();
    UdpServer::bind(address, move || printer.clone())
}

fn bind_unix(path: PathBuf, printer: &Printer) -> io::Result<UnixDatagramServer> {
    let printer = printer.clone();
    let server = UnixDatagramServer::bind(path, move || printer.clone())?;
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
