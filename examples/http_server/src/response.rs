use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::SystemTime;

use super::date::http_date;
use super::page;
use super::request::Request;
use super::status::Status;

/// How much of a file is read and sent at once, in bytes.
const PIECE: u64 = 65_536;

/// A response: a status, header fields and a body.
pub struct Response {
    pub status: Status,
    fields: Vec<(&'static str, String)>,
    body: Body,
}

enum Body {
    None,
    Text(String),
    File(File, u64),
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

    /// The next bytes of a file.
    pub fn file(mut self, file: File, length: u64) -> Self {
        self.body = Body::File(file, length);
        self.field("Content-Length", length.to_string())
    }

    /// The header is sent together with the body, or with its first piece. `sent` becomes the bytes of the
    /// body that were sent, also if that fails.
    pub fn send(
        self,
        wfile: &mut impl Write,
        delivery: Delivery,
        sent: &mut u64,
    ) -> io::Result<()> {
        let head = self.head(delivery);
        match self.body {
            Body::Text(text) if !delivery.head_only => {
                wfile.write_all((head + &text).as_bytes())?;
                *sent = text.len() as u64;
                Ok(())
            }
            Body::File(file, length) if !delivery.head_only => {
                send_file(wfile, head.as_bytes(), file, length, sent)
            }
            _ => wfile.write_all(head.as_bytes()),
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

/// Fails if the file has become shorter: then the connection must end, because the client waits for
/// the rest.
fn send_file(
    wfile: &mut impl Write,
    head: &[u8],
    mut file: File,
    length: u64,
    sent: &mut u64,
) -> io::Result<()> {
    let mut left = length;
    let mut begin = head.len();
    let mut piece = vec![0; begin + left.min(PIECE) as usize];
    piece[..begin].copy_from_slice(head);
    loop {
        let end = begin + left.min(PIECE) as usize;
        // With --green a slow disk holds up the thread. `task::blocking` would not, but takes longer for files
        // that the system has in memory.
        file.read_exact(&mut piece[begin..end])?;
        wfile.write_all(&piece[..end])?;
        left -= (end - begin) as u64;
        *sent = length - left;
        begin = 0;
        if left == 0 {
            return Ok(());
        }
    }
}
