use std::fmt;
use std::io;

use nix::errno::Errno;

/// A status of HTTP: its number and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16, pub &'static str);

impl Status {
    pub const OK: Status = Status(200, "OK");
    pub const PARTIAL_CONTENT: Status = Status(206, "Partial Content");
    pub const MOVED_PERMANENTLY: Status = Status(301, "Moved Permanently");
    pub const NOT_MODIFIED: Status = Status(304, "Not Modified");
    pub const BAD_REQUEST: Status = Status(400, "Bad Request");
    pub const NOT_FOUND: Status = Status(404, "Not Found");
    pub const REQUEST_TIMEOUT: Status = Status(408, "Request Timeout");
    pub const URI_TOO_LONG: Status = Status(414, "URI Too Long");
    pub const RANGE_NOT_SATISFIABLE: Status = Status(416, "Range Not Satisfiable");
    pub const FIELDS_TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
    pub const INTERNAL_SERVER_ERROR: Status = Status(500, "Internal Server Error");
    pub const NOT_IMPLEMENTED: Status = Status(501, "Not Implemented");
    pub const SERVICE_UNAVAILABLE: Status = Status(503, "Service Unavailable");
    pub const VERSION_NOT_SUPPORTED: Status = Status(505, "HTTP Version Not Supported");

    /// The status when a file cannot be opened: 404, unless the server is at fault. So clients do not
    /// learn which files exist without permission to read them.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => Self::SERVICE_UNAVAILABLE,
            Some(Errno::EIO) => Self::INTERNAL_SERVER_ERROR,
            _ => Self::NOT_FOUND,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}
