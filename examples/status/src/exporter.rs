//! The page that a Prometheus reads: the program's metrics, at `/metrics`.

use std::io;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use socketserver::prelude::*;

/// The most connections at once. A Prometheus needs one.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may last: it is for one request and its answer.
const TIME: Duration = Duration::from_secs(10);
/// The limit of a request's line and of each header field, in bytes.
const MAX_LINE: usize = 8192;
/// The limit of header fields.
const MAX_FIELDS: usize = 100;

/// Installs the recorder of metrics for this program, and binds the server of the page.
pub fn bind(address: &str) -> io::Result<ThreadingTcpServer> {
    let recorder = PrometheusBuilder::new().install_recorder();
    // Its `run_upkeep` is for histograms, of which there are none here.
    let recorder = recorder.map_err(io::Error::other)?;
    ThreadingTcpServer::builder()
        .name("metrics")
        .max_connections(MAX_CONNECTIONS)
        .max_lifetime(TIME)
        .max_line(MAX_LINE)
        .bind_fn(address, move |request| answer(request, &recorder))
}

/// Answers one request. The next one needs a connection of its own.
fn answer(request: &mut StreamRequest, recorder: &PrometheusHandle) -> HandlerResult {
    let Some(line) = request.next_line()? else {
        return Ok(());
    };
    skip_fields(&mut request.rfile)?;
    let (status, text) = respond(&line, recorder);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    let body = if line.starts_with("HEAD ") { "" } else { &text };
    Ok(request.wfile.write_all((head + body).as_bytes())?)
}

/// Reads up to the empty line after the header fields.
fn skip_fields(rfile: &mut impl BufRead) -> io::Result<()> {
    let mut field = Vec::new();
    for _ in 0..=MAX_FIELDS {
        field.clear();
        rfile.read_until(b'\n', &mut field)?;
        if field.trim_ascii_end().is_empty() {
            return Ok(());
        }
    }
    let message = "the request has too many header fields";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// The status and the body for a request's line.
fn respond(line: &str, recorder: &PrometheusHandle) -> (&'static str, String) {
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, "HTTP/1.0" | "HTTP/1.1"] = words[..] else {
        return ("400 Bad Request", "this is not HTTP/1.1\n".to_owned());
    };
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET" | "HEAD", "/metrics") => ("200 OK", recorder.render()),
        ("GET" | "HEAD", _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("501 Not Implemented", "there is GET and HEAD\n".to_owned()),
    }
}
