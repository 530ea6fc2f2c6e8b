//! Serves the files of a directory over HTTP/1.1, as `python3 -m http.server` does.
//!
//! ```text
//! cargo run --release --example http_server -- --directory target/doc
//! curl -i http://127.0.0.1:8000/
//! ```
//!
//! A folder is shown as its `index.html` or `index.htm`, else as a list of what is in it. GET and HEAD,
//! single ranges, `If-Modified-Since`; connections stay open for the next request. Links are followed
//! inside the directory only: nothing outside it is served, or listed.
//!
//! A request's header has at most 64 KiB and 100 fields and is to arrive within 10 s, a client that
//! takes nothing of its answer for 30 s is dropped, and one that asks for nothing is let go after
//! `--idle-timeout`.

mod answer;
mod date;
mod document;
mod head;
mod listing;
mod page;
mod range;
mod request;
mod response;
mod root;
mod status;
mod target;

use std::io::{self, LineWriter};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

use crate::head::Refusal;
use crate::response::{Delivery, Response};
use crate::root::Root;

/// Serves the files of a directory over HTTP
#[derive(Parser)]
#[command(name = "http_server")]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:8000")]
    address: String,
    /// What to serve
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// How long a client may stay without asking for anything
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_timeout: u64,
    /// Do not log each request
    #[arg(short, long)]
    quiet: bool,
}

/// Answers one connection's requests, one after the other.
fn converse(root: &Root, request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let (response, delivery) = match head::read(request) {
            Ok(asked) => {
                let response = answer::to(&asked, root);
                log::info!("{} {asked} {}", request.client_address, response.status.0);
                (response, Delivery::of(&asked))
            }
            Err(Refusal::With(status)) => {
                log::info!("{} refused: {status}", request.client_address);
                (Response::error(status), Delivery::LAST)
            }
            Err(Refusal::Gone(error)) => return Err(error.into()),
        };
        response.send(&mut request.wfile, delivery)?;
        if !delivery.keep_alive {
            break;
        }
    }
    Ok(())
}

fn serve(options: Options) -> io::Result<()> {
    let root = Arc::new(Root::open(&options.directory)?);
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true)
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .write_timeout(Duration::from_secs(30))
        .bind_fn(options.address, move |request| converse(&root, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let level = if options.quiet {
        LevelFilter::Warn
    } else {
        LevelFilter::Info
    };
    // Each line in one piece: the log is written for each request.
    let _ = WriteLogger::init(level, Config::default(), LineWriter::new(io::stderr()));
    if let Err(error) = serve(options) {
        eprintln!("http_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
