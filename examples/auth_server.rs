//! Lets in who knows the key, and sends back in upper case whatever comes then.
//!
//! A client gets 32 random bytes and answers with their HMAC under the key: in Python
//! `hmac.new(key, challenge, "sha256").digest()`. A wrong answer is closed without a word and
//! logged.
//!
//! ```text
//! cargo run --release --features auth-md5,auth-sha1 --example auth_server -- --key sesame
//! cargo run --release --features auth-md5,auth-sha1 --example auth_client -- --key sesame hello
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::auth::{Digest, Plain};
use socketserver::prelude::*;

/// Upper-cases what comes from clients that prove that they know the key
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9002")]
    address: String,
    /// The secret shared with the clients
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    key: String,
    /// sha256, or sha1 or md5 for old clients
    #[arg(long, default_value_t)]
    digest: Digest,
}

fn upper(auth: &Plain, request: &mut StreamRequest) -> HandlerResult {
    auth.challenge(request)?;
    while request.wait_for_data()? {
        let data = request.rfile.fill_buf()?.to_ascii_uppercase();
        request.rfile.consume(data.len());
        request.wfile.write_all(&data)?;
    }
    Ok(())
}

fn serve(options: Options) -> io::Result<()> {
    let auth = Plain::new(options.key).digest(options.digest);
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .bind_fn(options.address, move |request| upper(&auth, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("auth_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
