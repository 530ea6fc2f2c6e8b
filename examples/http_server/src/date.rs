use std::time::SystemTime;

use httpdate::fmt_http_date;

/// `Sun, 06 Nov 1994 08:49:37 GMT`. A time in the future becomes now (RFC 9110, 8.8.2.1), and one
/// before 1970 becomes 1970.
pub fn http_date(time: SystemTime) -> String {
    fmt_http_date(time.min(SystemTime::now()).max(SystemTime::UNIX_EPOCH))
}
