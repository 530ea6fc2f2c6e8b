//! The example `http_server` and Python's `http.server` with the same files. The same request has
//! the same status and body, except for the differences in this file. This is true for Python 3.10
//! to 3.13.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::python_server::PythonServer;
use crate::site::{Answer, Site, ask, ask_raw};

/// Requests with the same answer: the same bytes of a file, the same redirect, a listing with the
/// same links, or the same error. (The other HTML of listings and errors differs.)
const SAME: &[&str] = &[
    // Files
    "GET /a.txt",
    "HEAD /a.txt",
    "GET /a.txt HTTP/1.0",
    "GET /a.txt?query=1",
    "GET /a.txt?a/../b",
    "GET /a.txt#part",
    "GET /none",
    "GET /UPPER.TXT",
    "GET /upper.txt",
    "GET /nothing.txt",
    "HEAD /nothing.txt",
    "GET /page.html",
    "GET /style.css",
    "GET /picture.png",
    "GET /big.bin",
    "HEAD /big.bin",
    "GET /.hidden",
    "GET /in.txt",
    // Names
    "GET /with%20space.txt",
    "GET /with+space.txt",
    "GET /a+b.txt",
    "GET /a%2Bb.txt",
    "GET /50%25.txt",
    "GET /50%.txt",
    "GET /100%2",
    "GET /what%3F.txt",
    "GET /hash%23.txt",
    "GET /semi;colon",
    "GET /co:lon",
    "GET /back%5Cslash",
    "GET /%3Cb%3E&.html",
    "GET /%C3%BCml%C3%A4ut.txt",
    "GET /%61.txt",
    "GET /%2561.txt",
    "GET /'quoted'",
    // Folders
    "GET /",
    "HEAD /",
    "GET /?query",
    "GET /sub",
    "HEAD /sub",
    "GET /sub?query=1&b",
    "GET /sub/",
    "HEAD /sub/",
    "GET /sub/index.html",
    "GET /sub/index.html/",
    "GET /htm/",
    "GET /both/",
    "GET /odd/",
    "GET /linked",
    "GET /linked/",
    "GET /linked/index.html",
    "GET /empty/",
    "GET /deep/er/est/file.txt",
    "GET /deep/er/est",
    "GET /deep/er/",
    "GET /sp%20ace",
    "GET /sp%20ace/",
    "GET /a.txt/",
    "GET /a.txt/b",
    "GET /nothing/",
    // Dots and slashes
    "GET //a.txt",
    "GET /sub//index.html",
    "GET /./a.txt",
    "GET /sub/../a.txt",
    "GET /../a.txt",
    "GET /../../../../../../etc/passwd",
    "GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "GET /..%2f..%2fsecret.txt",
    "GET /../secret.txt",
    "GET /%2e%2e/secret.txt",
    "GET /..%5csecret.txt",
    "GET /sub%2findex.html",
    "GET /sub/.../index.html",
    // Conditions
    "GET /a.txt\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "HEAD /a.txt\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "GET /a.txt\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "GET /a.txt\nIf-Modified-Since: yesterday",
    "GET /a.txt\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\nIf-None-Match: \"x\"",
    "GET /sub/\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "GET /\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    // Other methods and versions
    "POST /a.txt",
    "PUT /a.txt",
    "DELETE /a.txt",
    "OPTIONS /",
    "PATCH /a.txt",
    "get /a.txt",
    "GET /with space.txt HTTP/1.1",
];

/// Requests with different answers: the status of Python and the status of this server. 0 is no
/// answer, or an answer without a header.
const DIFFERENT: &[(&str, u16, u16)] = &[
    // A link leads out of the directory.
    ("GET /out.txt", 200, 404),
    ("GET /out/secret.txt", 200, 404),
    // Python knows no ranges.
    ("GET /a.txt\nRange: bytes=0-1", 200, 206),
    ("GET /a.txt\nRange: bytes=99-", 200, 416),
    // Redirect to `/` instead of `/sub/../`.
    ("GET /sub/..", 301, 301),
    // A complete URL is allowed (RFC 9112, 3.2.2).
    ("GET http://x/a.txt", 404, 200),
    // A file's name need not be UTF-8.
    ("GET /%FF.txt", 404, 200),
    // Python refuses these without a header. For the last one it fails with a traceback.
    ("GET / HTTP/2.0", 0, 505),
    ("GET / HTTP/x", 0, 400),
    ("GET /a%00.txt", 0, 404),
    // Exactly one space is allowed (RFC 9112, 3).
    ("GET  /a.txt HTTP/1.1", 200, 400),
    // A field must have a colon without a space before it (RFC 9112, 5).
    ("GET /a.txt\nno colon", 200, 400),
    ("GET /a.txt\nName : value", 200, 400),
];

fn site() -> Site {
    let site = Site::new();
    for name in [
        "UPPER.TXT",
        "page.html",
        "style.css",
        ".hidden",
        "with space.txt",
        "a+b.txt",
        "50%.txt",
        "what?.txt",
        "hash#.txt",
        "semi;colon",
        "co:lon",
        "back\\slash",
        "<b>&.html",
        "ümläut.txt",
        "'quoted'",
        "sub/index.html",
        "htm/index.htm",
        "both/index.html",
        "both/index.htm",
        "odd/index.html/x",
        "odd/index.htm",
        "deep/er/est/file.txt",
        "sp ace/index.html",
    ] {
        site.add(name, format!("this is {name}"));
    }
    site.add("none", "");
    site.add("picture.png", [0x89, b'P', b'N', b'G', 0, 0xFF]);
    let big: Vec<u8> = (0..1_000_003_u64).map(|i| (i * i / 7) as u8).collect();
    site.add("big.bin", big);
    site.add_folder("empty");
    site.link("in.txt", "a.txt");
    site.link("linked", "sub");
    site
}

/// The links of a listing's entries. In this server's listing, links to parent folders are not in
/// `main`.
fn links(answer: &Answer) -> BTreeSet<&str> {
    let html = answer.text();
    let list = html.find("<main>").map_or(html, |at| &html[at..]);
    let hrefs = list.split("<a href=\"").skip(1);
    hrefs.filter_map(|rest| rest.split('"').next()).collect()
}

fn assert_same(request: &str, python: &Answer, ours: &Answer) {
    assert_eq!(python.status, ours.status, "{request}");
    for name in ["location", "last-modified"] {
        // Python sends no header fields for an unchanged file.
        if ours.status != 304 {
            assert_eq!(python.field(name), ours.field(name), "{name} of {request}");
        }
    }
    let is_file = ours.field("last-modified").is_some();
    if request.starts_with("HEAD") || ours.status >= 400 {
        assert_eq!(python.body.is_empty(), ours.body.is_empty(), "{request}");
        return;
    }
    if is_file || ours.status != 200 {
        assert!(python.body == ours.body, "the body of {request}");
        assert_eq!(
            python.field("content-length"),
            ours.field("content-length"),
            "{request}"
        );
    } else {
        assert_eq!(links(python), links(ours), "{request}");
    }
}

#[test]
fn status_and_body_are_the_same_as_pythons() {
    let site = site();
    let python = PythonServer::start(&site.path());
    let server = site.serve();
    assert!(SAME.len() >= 60);
    for request in SAME {
        let python = ask(&python.address, request).expect(request);
        let ours = ask(&server.address, request).expect(request);
        assert_same(request, &python, &ours);
    }
    assert!(links(&ask(&server.address, "GET /").expect("the server answers")).contains("sub/"));
}

#[test]
fn the_known_differences_exist() {
    let site = site();
    site.link("out.txt", "../secret.txt");
    site.link("out", "..");
    site.add(OsStr::from_bytes(b"\xFF.txt"), "a name");
    let python = PythonServer::start(&site.path());
    let server = site.serve();
    let status = |answer: Option<Answer>| answer.map_or(0, |answer| answer.status);
    for (request, pythons, ours) in DIFFERENT {
        let both = [&python.address, &server.address].map(|address| status(ask(address, request)));
        assert_eq!(both, [*pythons, *ours], "{request}");
    }
}

/// The requests are just above each limit, and the servers read them completely. Unread data would
/// cause a reset.
#[test]
fn limits_are_the_same_as_pythons() {
    let site = site();
    let python = PythonServer::start(&site.path());
    let server = site.serve();
    let fields = |count| "A: b\r\n".repeat(count);
    for (request, expected) in [
        (format!("GET /{}", "a".repeat(65_532)), 414),
        (format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(65_534)), 431),
        (format!("GET /a.txt HTTP/1.0\r\n{}\r\n", fields(99)), 200),
        (format!("GET /a.txt HTTP/1.0\r\n{}\r\n", fields(101)), 431),
    ] {
        for address in [&python.address, &server.address] {
            let answer = ask_raw(address, &request).expect("the server answers");
            assert_eq!(answer.status, expected, "{address}: {request:.40}");
        }
    }
}
