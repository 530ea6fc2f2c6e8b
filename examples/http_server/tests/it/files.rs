//! The example `http_server`: ranges, conditional requests and content types.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::site::{Client, Site, TEXT, ask};

#[test]
fn ranges_of_a_file() {
    let site = Site::new();
    let server = site.serve();
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", "bytes 0-0/11"),
        ("bytes=2-4", 206, "234", "bytes 2-4/11"),
        ("bytes=8-", 206, "89\n", "bytes 8-10/11"),
        (
            "bytes=8-99999999999999999999999",
            206,
            "89\n",
            "bytes 8-10/11",
        ),
        ("bytes=-3", 206, "89\n", "bytes 8-10/11"),
        ("bytes=-99", 206, TEXT, "bytes 0-10/11"),
        ("Bytes=10-10", 206, "\n", "bytes 10-10/11"),
        ("bytes=11-", 416, "", "bytes */11"),
        ("bytes=99999999999999999999999-", 416, "", "bytes */11"),
        ("bytes=-0", 416, "", "bytes */11"),
        ("bytes=4-2", 200, TEXT, ""),
        ("bytes=0-1,3-4", 200, TEXT, ""),
        ("bytes=-", 200, TEXT, ""),
        ("bytes=a-b", 200, TEXT, ""),
        ("bytes=+1-2", 200, TEXT, ""),
        ("lines=0-1", 200, TEXT, ""),
        ("", 200, TEXT, ""),
    ] {
        let request = format!("GET /a.txt\nRange: {range}");
        let answer = ask(&server.address, &request).expect("the server answers");
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(
            answer.field("content-range").unwrap_or(""),
            content_range,
            "{range}"
        );
        if status != 416 {
            assert_eq!(answer.text(), body, "{range}");
            assert_eq!(answer.field("accept-ranges"), Some("bytes"));
        }
    }
    let head = ask(&server.address, "HEAD /a.txt\nRange: bytes=0-1").expect("the server answers");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("11"))
    );
}

#[test]
fn if_range_with_another_version_returns_the_whole_file() {
    let site = Site::new();
    let server = site.serve();
    let whole = ask(&server.address, "GET /a.txt").expect("the server answers");
    let modified = whole.field("last-modified").expect("the answer has a date");
    for (condition, status) in [
        (modified, 206),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("\"tag\"", 200),
    ] {
        let request = format!("GET /a.txt\nRange: bytes=0-1\nIf-Range: {condition}");
        let answer = ask(&server.address, &request).expect("the server answers");
        assert_eq!(answer.status, status, "{condition}");
    }
}

#[test]
fn if_modified_since_returns_304_for_an_unchanged_file() {
    let site = Site::new();
    let server = site.serve();
    let first = ask(&server.address, "GET /a.txt").expect("the server answers");
    let modified = first
        .field("last-modified")
        .expect("the answer has a date")
        .to_owned();
    let again = format!("GET /a.txt\nIf-Modified-Since: {modified}");
    let answer = ask(&server.address, &again).expect("the server answers");
    assert_eq!((answer.status, answer.text()), (304, ""));
    // The file was modified one second later.
    let file = fs::File::options()
        .write(true)
        .open(site.path().join("a.txt"));
    let file = file.expect("the file is writable");
    let before = SystemTime::now() - Duration::from_secs(100);
    file.set_modified(before).expect("the file is writable");
    assert_eq!(
        ask(&server.address, &again)
            .expect("the server answers")
            .status,
        304
    );
    // A date in the future is replaced by the current time. An unrepresentable date is not sent.
    for seconds in [10_000, 1 << 38] {
        let future = SystemTime::now() + Duration::from_secs(seconds);
        file.set_modified(future).expect("the file is writable");
        let answer = ask(&server.address, "GET /a.txt").expect("the server answers");
        assert_eq!(answer.field("last-modified"), answer.field("date"));
        assert_eq!(
            ask(&server.address, "GET /")
                .expect("the server answers")
                .status,
            200
        );
    }
}

#[test]
fn the_name_determines_the_content_type() {
    let site = Site::new();
    let types = [
        ("page.html", "text/html"),
        ("style.css", "text/css; charset=utf-8"),
        ("script.js", "text/javascript; charset=utf-8"),
        ("data.json", "application/json"),
        ("picture.PNG", "image/png"),
        ("picture.svg", "image/svg+xml"),
        ("code.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("no_ending", "application/octet-stream"),
        ("odd.ending", "application/octet-stream"),
    ];
    for (name, _) in types {
        site.add(name, "");
    }
    let server = site.serve();
    let mut client = Client::new(&server.address);
    for (name, expected) in types {
        let answer = client.get(&format!("/{name}"));
        assert_eq!(answer.field("content-type"), Some(expected), "{name}");
    }
}
