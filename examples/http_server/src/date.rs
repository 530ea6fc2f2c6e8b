use std::time::SystemTime;

use httpdate::fmt_http_date;

/// `Sun, 06 Nov 1994 08:49:37 GMT`. A time in the future becomes now (RFC 9110, 8.8.2.1), and one
/// before 1970 becomes 1970.
pub fn http_date(time: SystemTime) -> String {
    fmt_http_date(time.min(SystemTime::now()).max(SystemTime::UNIX_EPOCH))
}

/// `06/Nov/1994:08:49:37 +0000`, in UTC, for the access log.
pub fn log_date(time: SystemTime) -> String {
    let date = http_date(time);
    let [day, month, year, clock] = parts(&date);
    format!("{day}/{month}/{year}:{clock} +0000")
}

/// `1994-11-06T08:49:37Z`, of ISO 8601.
pub fn iso_date(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = http_date(time);
    let [day, month, year, clock] = parts(&date);
    let month = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
    format!("{year}-{month:02}-{day}T{clock}Z")
}

/// The day, month, year and time of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parts(date: &str) -> [&str; 4] {
    [&date[5..7], &date[8..11], &date[12..16], &date[17..25]]
}
