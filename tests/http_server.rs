//! The example `http_server`: connections that stay, parts of files, conditions, and what is never
//! served.

mod support;

#[path = "support/http_site.rs"]
mod http_site;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use http_site::{Client, Site, TEXT, ask, ask_raw};
use support::example;

#[test]
fn a_connection_serves_request_after_request() {
    let site = Site::new();
    let big: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
    site.add("big.bin", &big);
    let server = site.serve();
    let mut client = Client::new(&server.address);
    for _ in 0..3 {
        let answer = client.get("/a.txt");
        assert_eq!((answer.status, answer.text()), (200, TEXT));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
        assert!(client.get("/big.bin").body == big);
        assert_eq!(client.get("/nothing").status, 404);
        client.send("HEAD /big.bin HTTP/1.1\r\n\r\n");
        assert_eq!(
            client.receive_head().field("content-length"),
            Some("300000")
        );
        client.send(
            "GET /a.txt HTTP/1.1\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
        );
        assert_eq!(client.receive_head().status, 304);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(client.rest(), b"");
    assert!(server.finish().0.success());
}

#[test]
fn requests_may_come_all_at_once_or_byte_by_byte() {
    let site = Site::new();
    let server = site.serve();
    let mut client = Client::new(&server.address);
    client.send("GET /a.txt HTTP/1.1\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(client.receive().text(), TEXT);
    }
    for byte in b"\r\nGET /a.txt HTTP/1.1\r\nA: b\r\n\r\nGET /no HTTP/1.1\n\n" {
        client.send([*byte]);
    }
    assert_eq!(client.receive().text(), TEXT);
    assert_eq!(client.receive().status, 404);
}

#[test]
fn the_client_says_whether_it_stays() {
    let site = Site::new();
    let server = site.serve();
    for (request, stays) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nConnection: upgrade, Close\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        // A body is not read, and what is behind it would not be found.
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /", false),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
        ),
        // Nor is anything after what was not understood.
        ("nonsense\r\n\r\n", false),
    ] {
        let mut client = Client::new(&server.address);
        client.send(request);
        let word = if stays { "keep-alive" } else { "close" };
        assert_eq!(
            client.receive().field("connection"),
            Some(word),
            "{request}"
        );
        if stays {
            assert_eq!(client.get("/a.txt").text(), TEXT, "{request}");
        } else {
            assert_eq!(client.rest(), b"", "{request}");
        }
    }
}

#[test]
fn an_idle_connection_is_let_go() {
    let site = Site::new();
    let server = site.serve_with(&["--idle-timeout", "1"]);
    let silent = Client::new(&server.address);
    let mut client = Client::new(&server.address);
    let begin = Instant::now();
    client.get("/a.txt");
    assert_eq!((client.rest(), silent.rest()), (vec![], vec![]));
    assert!(begin.elapsed() >= Duration::from_millis(900));
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn parts_of_a_file() {
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
        let answer = ask(&server.address, &request).expect("an answer");
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
    let head = ask(&server.address, "HEAD /a.txt\nRange: bytes=0-1").expect("an answer");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("11"))
    );
}

#[test]
fn a_part_of_another_version_is_not_given() {
    let site = Site::new();
    let server = site.serve();
    let whole = ask(&server.address, "GET /a.txt").expect("an answer");
    let modified = whole.field("last-modified").expect("a date");
    for (condition, status) in [
        (modified, 206),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("\"tag\"", 200),
    ] {
        let request = format!("GET /a.txt\nRange: bytes=0-1\nIf-Range: {condition}");
        let answer = ask(&server.address, &request).expect("an answer");
        assert_eq!(answer.status, status, "{condition}");
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let site = Site::new();
    let server = site.serve();
    let first = ask(&server.address, "GET /a.txt").expect("an answer");
    let modified = first.field("last-modified").expect("a date").to_owned();
    let again = format!("GET /a.txt\nIf-Modified-Since: {modified}");
    let answer = ask(&server.address, &again).expect("an answer");
    assert_eq!((answer.status, answer.text()), (304, ""));
    // A second later.
    let file = fs::File::options()
        .write(true)
        .open(site.path().join("a.txt"));
    let file = file.expect("the file is ours");
    let before = SystemTime::now() - Duration::from_secs(100);
    file.set_modified(before).expect("the file is ours");
    assert_eq!(ask(&server.address, &again).expect("an answer").status, 304);
    // A date in the future is now, and one that no calendar has does no harm.
    for seconds in [10_000, 1 << 38] {
        let future = SystemTime::now() + Duration::from_secs(seconds);
        file.set_modified(future).expect("the file is ours");
        let answer = ask(&server.address, "GET /a.txt").expect("an answer");
        assert_eq!(answer.field("last-modified"), answer.field("date"));
        assert_eq!(
            ask(&server.address, "GET /").expect("an answer").status,
            200
        );
    }
}

#[test]
fn a_name_tells_the_type() {
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

/// Links within the directory work; nothing leads out, and what leads out is not listed.
#[test]
fn nothing_outside_is_served() {
    let site = Site::new();
    let outside = site.path().parent().expect("the folder above").to_owned();
    site.add("sub/index.html", "inside");
    site.link("in", "sub");
    site.link("out", "..");
    site.link("secret", "../secret.txt");
    site.link(
        "absolute",
        outside.join("secret.txt").to_str().expect("text"),
    );
    site.link("root", "/");
    site.link("indirect", "out");
    site.link("sub/up", "../..");
    site.add_folder("indexed");
    site.link("indexed/index.html", "../../secret.txt");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    assert_eq!(client.get("/in/").text(), "inside");
    for path in [
        "/out",
        "/out/",
        "/out/secret.txt",
        "/secret",
        "/absolute",
        "/root/",
        "/root/etc/passwd",
        "/indirect/secret.txt",
        "/sub/up/secret.txt",
        "/in/up/secret.txt",
        "/in/../../secret.txt",
        "/../secret.txt",
        "/..%2Fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5Csecret.txt",
        "/sub/%2e./%2E%2e/secret.txt",
        "//secret.txt",
        "/.%00./secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/site/a.txt",
        "/indexed/",
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("a secret"), "{path}");
    }
    let listing = client.get("/");
    for link in ["out", "secret", "absolute", "root", "indirect"] {
        assert!(!listing.text().contains(&format!("\"{link}")), "{link}");
    }
    assert!(listing.text().contains("<a href=\"in/\">in/</a>"));
}

/// A link is changed to and fro while it is asked for: what it leads to now is never outside.
#[test]
fn a_link_that_changes_leads_nowhere_else() {
    let site = Site::new();
    site.add("x/secret.txt", "no secret");
    let server = site.serve_with(&["--quiet"]);
    let folder = site.path();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = Client::new(&server.address);
            (0..2000)
                .filter(|_| {
                    let answer = client.get("/link/secret.txt");
                    assert!(matches!(answer.status, 200 | 404));
                    assert!(answer.status == 404 || answer.text() == "no secret");
                    answer.status == 200
                })
                .count()
        });
        for to in ["x", ".."].iter().cycle() {
            let _ = fs::remove_file(folder.join("new"));
            site.link("new", to);
            fs::rename(folder.join("new"), folder.join("link")).expect("the folder is ours");
            if asking.is_finished() {
                break;
            }
        }
        assert!(asking.join().expect("only what is inside") > 0);
    });
}

#[test]
fn a_redirect_stays_on_this_host() {
    let site = Site::new();
    site.add("a b/é/x", "");
    let server = site.serve();
    for (path, location) in [
        ("/a%20b", "/a%20b/"),
        ("/a%20b/%C3%A9?q=%20&r", "/a%20b/%C3%A9/?q=%20&r"),
        ("//other.example/%2e%2e", "/"),
        ("/\\other.example/..%2f", "/"),
        ("/%2Fother.example/..", "/"),
        ("http://other.example/a%20b", "/a%20b/"),
    ] {
        let answer = ask(&server.address, &format!("GET {path}")).expect("an answer");
        let redirect = (answer.status, answer.field("location"));
        assert_eq!(redirect, (301, Some(location)), "{path}");
    }
}

/// Names are shown as they are, whatever they would mean in HTML or in a URL.
#[test]
fn a_listing_can_be_followed() {
    let site = Site::new();
    let names: [&[u8]; 7] = [
        b"<script>alert(1)<b>",
        b"a&b \"c\" 'd'",
        b"javascript:alert(1)",
        b"100%25",
        b"?#;",
        b"\xFF\xFE",
        "ünï".as_bytes(),
    ];
    for name in names {
        site.add(OsStr::from_bytes(name), name);
    }
    mkfifo(&site.path().join("pipe"), Mode::S_IRUSR).expect("the folder is ours");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    let listing = client.get("/");
    assert!(!listing.text().contains("<script>") && !listing.text().contains("pipe"));
    let (_, list) = listing.text().split_once("<main>").expect("a list");
    let links = list.split("<a href=\"").skip(1);
    let links = links.map(|rest| rest.split('"').next().expect("its end"));
    let mut found: Vec<_> = links
        .map(|link| client.get(&format!("/{link}")).body)
        .collect();
    found.retain(|body| body != TEXT.as_bytes());
    found.sort_unstable();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort_unstable();
    assert_eq!(found, expected, "{list}");
    assert_eq!(client.get("/pipe").status, 404);
}

#[test]
fn a_download_goes_on_through_a_shutdown() {
    let site = Site::new();
    let big = vec![b'x'; 30_000_000];
    site.add("big.bin", &big);
    let server = site.serve();
    let mut client = Client::new(&server.address);
    client.send("GET /big.bin HTTP/1.1\r\n\r\n");
    let answer = client.receive_head();
    server.signal(Signal::SIGTERM);
    assert_eq!(answer.field("content-length"), Some("30000000"));
    assert!(client.rest() == big);
    assert!(server.finish().0.success());
}

#[test]
fn the_log_has_a_line_for_each_request() {
    let site = Site::new();
    let server = site.serve();
    ask(&server.address, "GET /a.txt").expect("an answer");
    ask(&server.address, "HEAD /\u{85}%1b[31m").expect("an answer");
    ask_raw(&server.address, "\x1b[31m\r\n\r\n").expect("an answer");
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| !line.contains("serving on"))
        .collect();
    assert!(lines[0].ends_with(" \"GET /a.txt\" 200"), "{log}");
    assert!(lines[1].ends_with(" \"HEAD /\\u{85}%1b[31m\" 404"), "{log}");
    assert!(lines[2].ends_with(" refused: 400 Bad Request"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let output = example::run("http_server", &["127.0.0.1:0", "--directory", "/nowhere"]);
    let message = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.starts_with("http_server: cannot serve /nowhere: "),
        "{message}"
    );
    let output = example::run("http_server", &["--idle-timeout", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
