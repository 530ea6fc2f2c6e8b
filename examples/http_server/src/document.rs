use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use httpdate::parse_http_date;

use super::date::http_date;
use super::range::Range;
use super::request::Request;
use super::response::Response;
use super::status::Status;

/// An open file. It is sent completely, in part, or not at all if the client has it already.
pub struct Document {
    path: PathBuf,
    file: File,
    length: u64,
    /// In HTTP's format, without fractions of a second.
    modified: String,
}

impl Document {
    pub fn new(path: &Path, file: File, metadata: &Metadata) -> io::Result<Self> {
        Ok(Document {
            path: path.to_owned(),
            file,
            length: metadata.len(),
            modified: http_date(metadata.modified()?),
        })
    }

    pub fn respond(self, request: &Request) -> io::Result<Response> {
        if self.is_known(request) {
            return Ok(Response::new(Status::NOT_MODIFIED).field("Last-Modified", self.modified));
        }
        let response = match self.range(request) {
            Range::Beyond => {
                let response = Response::error(Status::RANGE_NOT_SATISFIABLE);
                return Ok(response.field("Content-Range", format!("bytes */{}", self.length)));
            }
            Range::Whole => Response::new(Status::OK).file(self.file, 0..self.length),
            Range::Part(part) => {
                let (first, last) = (*part.start(), *part.end());
                let range = format!("bytes {first}-{last}/{}", self.length);
                Response::new(Status::PARTIAL_CONTENT)
                    .field("Content-Range", range)
                    .file(self.file, first..last + 1)
            }
        };
        Ok(response
            .field("Content-Type", content_type(&self.path))
            .field("Last-Modified", self.modified)
            .field("Accept-Ranges", "bytes"))
    }

    fn is_known(&self, request: &Request) -> bool {
        // It takes precedence (RFC 9110, 13.2.2), and files here have no entity tags to match.
        if request.field("if-none-match").is_some() {
            return false;
        }
        let known = request.field("if-modified-since").map(parse_http_date);
        match (known, parse_http_date(&self.modified)) {
            (Some(Ok(known)), Ok(modified)) => modified <= known,
            _ => false,
        }
    }

    fn range(&self, request: &Request) -> Range {
        // A part if the file is unchanged since the client got another part, and else all of it.
        let same = request
            .field("if-range")
            .is_none_or(|condition| condition == self.modified);
        let wanted = same && request.method == "GET";
        Range::new(request.field("range").filter(|_| wanted), self.length)
    }
}

/// The type, by the file's name. Text is UTF-8; HTML declares its own encoding.
fn content_type(path: &Path) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == "text" && mime.subtype() != "html" {
        return format!("{mime}; charset=utf-8");
    }
    mime.to_string()
}
