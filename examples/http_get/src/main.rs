//! Fetches a URL over http or https, with nothing but a socket, TLS and parsers: prints the header and
//! the cookies of the response, and saves its body.
//!
//! ```text
//! python3 -m http.server --bind 127.0.0.1 8000     # or any other server
//! cargo run --release -p http_get -- http://127.0.0.1:8000/
//! cargo run --release -p http_get -- https://example.com/search --param q=sockets -o found.html
//! ```
//!
//! The response is saved whatever its status, as it came (a `Content-Encoding` is not undone), and
//! redirects are not followed. An existing file is overwritten with `--force` only. The file appears
//! once the body is complete: a truncated body is an error and leaves nothing behind, and an existing
//! file as it was. Over TLS that includes a body without a length whose end no `close_notify` confirms
//! (RFC 9112, 9.8). A header of more than 64 KiB or 256 fields is refused; the body is written to the
//! file piece by piece, whatever its length.

mod body;
mod chunks;
mod connection;
mod head;
mod output;
mod request;
mod tls;
mod wire;

use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cookie::Cookie;
use url::Url;

use crate::connection::Connection;
use crate::head::{Head, printable};
use crate::output::Output;

/// Fetches a URL over http or https and saves the body
#[derive(Parser)]
#[command(name = "http_get")]
struct Options {
    /// What to fetch
    #[arg(value_parser = request::parse_url)]
    url: Url,
    /// Where to save the body
    #[arg(short, long, value_name = "FILE", default_value = "index.html")]
    output: PathBuf,
    /// Overwrite the file if it exists [default: refuse to]
    #[arg(long)]
    force: bool,
    /// Trust the certificates in this file instead of the system's
    #[arg(long, value_name = "PEM")]
    cafile: Option<PathBuf>,
    /// Add a query parameter; may be repeated, a key too
    #[arg(long = "param", value_name = "K=V", value_parser = request::parse_pair)]
    params: Vec<(String, String)>,
    /// POST a form with this field; may be repeated, a key too
    #[arg(long, value_name = "K=V", value_parser = request::parse_pair)]
    data: Vec<(String, String)>,
    /// Send a cookie; may be repeated
    #[arg(long = "cookie", value_name = "K=V", value_parser = request::parse_cookie)]
    cookies: Vec<Cookie<'static>>,
    /// The limit for connecting to each of the host's addresses, then for TLS and the whole header,
    /// and then for each piece of the body
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    timeout: Duration,
}

fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| (1..=86_400_000).contains(&time.as_millis()))
        .ok_or("it takes a number of seconds from 0.001 to 86400")
}

fn fetch(options: &Options) -> io::Result<()> {
    // Before anything is sent: nothing is posted whose response cannot be saved.
    let output = Output::create(&options.output, options.force)?;
    let cafile = options.cafile.as_deref();
    let mut connection = Connection::open(&options.url, cafile, options.timeout)?;
    connection.write_all(&request::encode(options))?;
    connection.flush()?;
    let peer = connection.peer().to_owned();
    let (head, rest) = Head::read(&mut connection, &peer)?;
    print(&describe(&head))?;
    connection.end_deadline()?;
    let source = BufReader::with_capacity(65_536, rest.chain(connection));
    let path = options.output.display();
    let summary = match body::decode(&head, source, &peer)? {
        Some(body) => format!("saved {} bytes to {path}\n", output.save(body)?),
        None => format!("a response with status {} has no body\n", head.status),
    };
    print(&summary)
}

/// The header, an empty line, and a line for each cookie that the server sets.
fn describe(head: &Head) -> String {
    let mut text = format!("{head}\n");
    for field in head.values("set-cookie") {
        let field = printable(field);
        match Cookie::parse(&*field) {
            Ok(cookie) => text += &format!("cookie {cookie}\n"),
            Err(error) => text += &format!("not a cookie: {field} ({error})\n"),
        }
    }
    text
}

fn print(text: &str) -> io::Result<()> {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("cannot write to the standard output: {e}"),
        )
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.url.username().is_empty() || options.url.password().is_some() {
        // The argument's own parser does not check this: its errors would show the password.
        let message = "the URL has a user name or a password in it, and neither would be sent\n";
        Options::command()
            .error(ErrorKind::ValueValidation, message)
            .exit();
    }
    if let Err(error) = fetch(&options) {
        eprintln!("http_get: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
