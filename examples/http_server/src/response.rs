use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::time::SystemTime;

use socketserver::request::Writer;

use super::date::http_date;
use super::page;
use super::request::Request;
use super::status::Status;

/// How much of a file is sent at once, in bytes.
const PIECE: usize = 1 << 20;

/// A response: a status, header fields and a body.
pub struct Response {
    pub status: Status,
    fields: Vec<(&'static str, String)>,
    body: Body,
}

enum Body {
    None,
    Text(String),
    File(File, Range<u64>),
}

/// How a response is sent.
#[derive(Clone, Copy)]
pub struct Delivery {
    head_only: bool,
    pub keep_alive: bool,
}

impl Delivery {
    pub const LAST: Delivery = Delivery {
        head_only: false,
        keep_alive: false,
    };

    pub fn of(request: &Request) -> Self {
        Delivery {
            head_only: request.method == "HEAD",
            keep_alive: request.keep_alive,
        }
    }
}

impl Response {
    pub fn new(status: Status) -> Self {
        Response {
            status,
            fields: Vec::new(),
            body: Body::None,
        }
    }

    pub fn error(status: Status) -> Self {
        Response::new(status).page(page::error(status))
    }

    pub fn redirect(url: String) -> Self {
        let response = Response::new(Status::MOVED_PERMANENTLY).field("Location", url);
        response.field("Content-Length", "0")
    }

    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub fn page(mut self, html: String) -> Self {
        let length = html.len().to_string();
        self.body = Body::Text(html);
        self.field("Content-Type", "text/html; charset=utf-8")
            .field("Content-Length", length)
    }

    /// These bytes of a file.
    pub fn file(mut self, file: File, range: Range<u64>) -> Self {
        let length = range.end - range.start;
        self.body = Body::File(file, range);
        self.field("Content-Length", length.to_string())
    }

    /// A short body is buffered with the header, and sent with it. `sent` becomes the bytes of the body that were
    /// sent or buffered, also if that fails. It fails if a file has become shorter: then the connection must end, because the
    /// client waits for the rest.
    pub fn send(self, wfile: &mut Writer, delivery: Delivery, sent: &mut u64) -> io::Result<()> {
        wfile.write_all(self.head(delivery).as_bytes())?;
        match self.body {
            Body::Text(text) if !delivery.head_only => {
                wfile.write_all(text.as_bytes())?;
                *sent = text.len() as u64;
                Ok(())
            }
            Body::File(file, range) if !delivery.head_only => send_file(wfile, &file, range, sent),
            _ => Ok(()),
        }
    }

    fn head(&self, delivery: Delivery) -> String {
        let date = http_date(SystemTime::now());
        let mut head = format!("HTTP/1.1 {}\r\nDate: {date}\r\n", self.status);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let stays = if delivery.keep_alive {
            "keep-alive"
        } else {
            "close"
        };
        let _ = write!(head, "Connection: {stays}\r\n\r\n");
        head
    }
}

fn send_file(wfile: &mut Writer, file: &File, range: Range<u64>, sent: &mut u64) -> io::Result<()> {
    for begin in range.clone().step_by(PIECE) {
        let end = range.end.min(begin + PIECE as u64);
        // With --green a slow disk holds up the thread. `task::blocking` would not, but takes longer for files
        // that the system has in memory.
        *sent += wfile.send_file(file, begin..end)?;
    }
    Ok(())
}
