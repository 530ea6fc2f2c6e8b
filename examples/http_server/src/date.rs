use std::time::SystemTime;

use httpdate::fmt_http_date;

/// `Sun, 06 Nov 1994 08:49:37 GMT`. What was changed in the future was changed now (RFC 9110,
/// 8.8.2.1), and nothing before 1970.
pub fn http_date(time: SystemTime) -> String {
    fmt_http_date(time.min(SystemTime::now()).max(SystemTime::UNIX_EPOCH))
}
