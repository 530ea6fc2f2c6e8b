//! A line of the access log, in the formats that programs for such logs read.

use std::fmt::Write;
use std::time::SystemTime;

use clap::ValueEnum;
use socketserver::Address;

use super::date::{iso_date, log_date};
use super::head::first_line;
use super::request::Request;
use super::status::Status;

/// How much of each text of a client is logged, in bytes.
const MAX_TEXT: usize = 8192;

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// Of NCSA and Apache: `192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 1234`
    Common,
    /// The same, with Referer and User-Agent
    Combined,
    /// An object of JSON, also with the seconds that the request took
    Json,
}

/// A request and its answer.
pub struct Entry<'a> {
    pub client: &'a Address,
    /// The request, or what had arrived of one that was refused.
    pub request: Result<&'a Request, &'a [u8]>,
    /// When it began to arrive.
    pub begin: SystemTime,
    pub status: Status,
    /// How many bytes of the body were sent.
    pub body_bytes: u64,
}

impl Entry<'_> {
    /// A line with its end. It is ASCII without control characters.
    pub fn line(&self, format: Format) -> String {
        match format {
            Format::Common => self.common() + "\n",
            Format::Combined => {
                let [referer, agent] =
                    ["referer", "user-agent"].map(|name| quoted(self.field(name)));
                format!("{} {referer} {agent}\n", self.common())
            }
            Format::Json => self.json() + "\n",
        }
    }

    /// The host, two names that are unknown here, the date, the request, the status and the bytes.
    fn common(&self) -> String {
        let (host, date) = (self.host(), log_date(self.begin));
        let request = quoted(self.request_line().as_deref());
        let status = self.status.0;
        match self.body_bytes {
            0 => format!("{host} - - [{date}] {request} {status} -"),
            bytes => format!("{host} - - [{date}] {request} {status} {bytes}"),
        }
    }

    fn json(&self) -> String {
        let seconds = self.begin.elapsed().unwrap_or_default().as_secs_f64();
        let members = [
            ("time", json_text(Some(iso_date(self.begin).as_bytes()))),
            ("client", json_text(Some(self.host().as_bytes()))),
            ("request", json_text(self.request_line().as_deref())),
            ("status", self.status.0.to_string()),
            ("bytes", self.body_bytes.to_string()),
            ("seconds", format!("{seconds:.3}")),
            ("referer", json_text(self.field("referer"))),
            ("user_agent", json_text(self.field("user-agent"))),
        ];
        let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", members.join(","))
    }

    /// The client's IP address. A proxy can name a client that has none.
    fn host(&self) -> String {
        let ip = self.client.ip().map(|ip| ip.to_string());
        ip.unwrap_or_else(|| "-".to_owned())
    }

    /// `None` if it is empty.
    fn request_line(&self) -> Option<Vec<u8>> {
        let line = match self.request {
            Ok(request) => request.line().into_bytes(),
            Err(received) => first_line(received).to_vec(),
        };
        (!line.is_empty()).then_some(line)
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        Some(self.request.ok()?.field(name)?.as_bytes())
    }
}

/// Text of a client in quotes. What could end the text or the line, or is not printable, becomes `\x` and two
/// digits, as in nginx. Missing text is `"-"`.
fn quoted(text: Option<&[u8]>) -> String {
    let text = text.unwrap_or(b"-");
    let mut quoted = String::from("\"");
    for byte in text.iter().take(MAX_TEXT) {
        match byte {
            b'"' | b'\\' | ..b' ' | 0x7f.. => {
                let _ = write!(quoted, "\\x{byte:02X}");
            }
            byte => quoted.push(char::from(*byte)),
        }
    }
    quoted + "\""
}

/// A string of JSON, or `null`. What is not UTF-8 is replaced by U+FFFD.
fn json_text(text: Option<&[u8]>) -> String {
    let Some(text) = text else {
        return "null".to_owned();
    };
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    let mut quoted = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ b' '..=b'~') if !matches!(byte, b'"' | b'\\') => {
                quoted.push(char::from(byte))
            }
            _ => {
                let _ = write!(quoted, "\\u{unit:04x}");
            }
        }
    }
    quoted + "\""
}
