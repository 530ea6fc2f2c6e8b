//! Receives mail over SMTP, and writes each message to a file of its own, or prints it. For tests of programs that send
//! mail, and as the first stage of a program that reads it.
//!
//! ```text
//! cargo run --release -p mail_server
//! printf 'Subject: hello\n\nHello!\n' | curl smtp://127.0.0.1:2525 --crlf \
//!     --mail-from ada@example.com --mail-rcpt grace@example.com -T -
//! ```
//!
//! RFC 5321 with SIZE, PIPELINING, 8BITMIME and STARTTLS (RFC 3207), or with TLS from the beginning (RFC 8314). Nothing
//! is ever sent on to another server, so it is no open relay: without `--domain` it accepts mail to everybody, and keeps
//! it. It does not verify senders.
//!
//! A file begins with the envelope: `Return-Path` is the sender, and each recipient has a `Delivered-To`, also one that
//! others must not see (Bcc). `Received` says how it came, and with which version of TLS.
//!
//! The program holds a message in memory until it is complete, and uses at most about twice `--max-size` for each
//! connection. A client has 5 minutes for each command and each piece of a message, and an hour for a connection.
//! Ctrl-C ends connections between two commands with reply 421; a message that was begun with DATA is received.

mod command;
mod envelope;
mod mailbox;
mod message;
mod path;
mod reply;
mod session;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::tls::TlsConfig;
use socketserver::{Builder, Dispatch};

use self::mailbox::Mailbox;
use self::reply::Reply;
use self::session::{Service, Session, TIMEOUT};

/// Receives mail over SMTP, and writes each message to a file, or prints it
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:2525")]
    address: String,
    /// Write each message to a file in this folder, instead of printing it
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The certificate in a PEM file, with those of its authorities after it; offers STARTTLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Accept no mail before STARTTLS
    #[arg(long, requires = "tls_cert")]
    require_tls: bool,
    /// Begin each connection with TLS, as on port 465, instead of STARTTLS
    #[arg(long, requires = "tls_cert")]
    tls: bool,
    /// The limit of a message
    #[arg(long, value_name = "BYTES", default_value = "10485760")]
    max_size: usize,
    /// Accept mail to this domain only; can be repeated. Without it mail to everybody is accepted, and kept here
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// The server's own name, in its greeting and in what it adds to messages
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    hostname: String,
    /// The most connections at once; others read reply 421, or nothing with `--tls`, and are closed
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// The most connections of one IPv4 address or IPv6 /64 network at once
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..))]
    per_ip: u16,
    /// Serve many clients on each thread; it needs a build with `--features green`
    #[arg(long)]
    green: bool,
}

struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        let reply = Reply::last(421, "too many connections: try again later");
        Ok(write!(request.wfile, "{reply}")?)
    }
}

fn serve<D: Dispatch>(mut builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let mut start_tls = None;
    if let (Some(certificate), Some(key)) = (options.tls_cert, options.tls_key) {
        let tls = TlsConfig::from_pem_files(certificate, key)?;
        if options.tls {
            builder = builder.tls(tls);
        } else {
            start_tls = Some(tls);
        }
    }
    let service = Arc::new(Service {
        host: options.hostname,
        domains: options.domains,
        max_size: options.max_size,
        start_tls,
        requires_tls: options.require_tls,
        mailbox: Mailbox::new(options.folder)?,
    });
    let server = builder
        .hooks(Busy)
        .max_connections(usize::from(options.max_connections))
        .max_per_ip(usize::from(options.per_ip))
        .overload(OverloadPolicy::Reject)
        .disable_nagle_algorithm(true)
        // The replies to a pipeline are sent together.
        .wbufsize(4096)
        .idle_timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .write_timeout(Duration::from_secs(60))
        .max_lifetime(Duration::from_secs(3600))
        .bind(options.address, move || Session::new(&service))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
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
        eprintln!("mail_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
