//! The example `http_get`: its requests, and every kind of response body.

use std::fs;

use socketserver::prelude::*;
use support::python;

use crate::run::{Peer, answering, fetch, fetch_in, read_request, serving, url};
use crate::script;

/// Bytes of every value, with line ends at odd places.
fn some_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * i / 7) as u8).collect()
}

#[test]
fn a_file_of_a_python_server_is_saved_unchanged() {
    let mut python = python::script(&script("http_server.py"));
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let body = some_bytes(3_000_000);
    fs::write(folder.path().join("a file.bin"), &body).expect("the temporary folder is writable");
    python.arg(folder.path());
    let peer = Peer::start(python);
    let base = format!("http://127.0.0.1:{}", peer.port);
    let fetched = fetch(&format!("{base}/a%20file.bin#part"), &[]).saved(&body);
    assert!(
        fetched.stdout.starts_with("HTTP/1.0 200 OK\n"),
        "{fetched:?}"
    );
    assert!(
        fetched.stdout.contains("\nContent-Length: 3000000\n"),
        "{fetched:?}"
    );
    assert!(
        fetched
            .stdout
            .ends_with("\nsaved 3000000 bytes to index.html\n"),
        "{fetched:?}"
    );

    // The body of an error response is saved as well.
    let fetched = fetch(&format!("{base}/nothing"), &["-o", "nothing.html"]);
    assert_eq!(
        (fetched.status, &*fetched.files),
        (Some(0), &["nothing.html".into()][..])
    );
    assert!(fetched.stdout.starts_with("HTTP/1.0 404 "), "{fetched:?}");
}

#[test]
fn a_python_server_parses_parameters_forms_and_cookies() {
    let mut python = python::script(&script("http_server.py"));
    python.arg(".");
    let peer = Peer::start(python);
    let address = format!("127.0.0.1:{}", peer.port);
    let options = ["--param", "q=a b&c=d", "--param", "q=é%", "--param", "="];
    let fetched = fetch(&format!("http://{address}/echo/x?old=1"), &options);
    let body = String::from_utf8(fetched.body.clone().expect("the body was saved")).expect("JSON");
    for part in [
        r#""method": "GET", "path": "/echo/x""#.to_owned(),
        r#""query": [["old", "1"], ["q", "a b&c=d"], ["q", "\u00e9%"]]"#.to_owned(),
        r#""form": [], "cookies": {}"#.to_owned(),
        format!(r#""host": ["{address}"], "connection": "close""#),
    ] {
        assert!(body.contains(&part), "no {part} in {body}");
    }
    assert!(
        fetched
            .stdout
            .contains("\ncookie session=42; HttpOnly; Path=/\ncookie theme=dark\n"),
        "{fetched:?}"
    );

    let options = [
        "--data",
        "name=Ada L.",
        "--data",
        "name=+&\n",
        "--cookie",
        "a=1",
        "--cookie",
        "b=x=y",
    ];
    let fetched = fetch(&format!("http://{address}/echo"), &options);
    let body = String::from_utf8(fetched.body.expect("the body was saved")).expect("JSON");
    for part in [
        r#""method": "POST", "path": "/echo", "query": []"#,
        r#""form": [["name", "Ada L."], ["name", "+&\n"]]"#,
        r#""cookies": {"a": "1", "b": "x=y"}"#,
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
}

#[test]
fn the_request_has_the_expected_bytes() {
    let server = ThreadingTcpServer::bind_fn("[::1]:0", |request| {
        let lines = read_request(request)?;
        write!(request.wfile, "HTTP/1.1 200 OK\r\n\r\n{}", lines.join("\n"))?;
        Ok(())
    });
    let server = server.expect("the machine has IPv6 on loopback");
    let server = server.serve_in_background().expect("a thread");
    let address = server.server_address();
    let expected = format!(
        "GET /?a=%26&a=b+c HTTP/1.1\nHost: {address}\nUser-Agent: socketserver-http_get\n\
         Accept: */*\nAccept-Encoding: identity\nConnection: close\nCookie: x=1; y=2"
    );
    let options = [
        "--param", "a=&", "--param", "a=b c", "--cookie", "x=1", "--cookie", "y=2",
    ];
    fetch(&format!("http://{address}"), &options).saved(expected.as_bytes());
}

#[test]
fn a_chunked_body_is_saved_with_any_fragmentation() {
    let body = some_bytes(200_000);
    let mut answer =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nContent-Length: 3\r\n\r\n".to_vec();
    for (chunk, size) in body.chunks(7919).zip(0..) {
        let extension = if size % 2 == 0 { "" } else { ";name=\"value\"" };
        answer.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"000\r\nX-Checksum: 1\r\nX-More: 2\r\n\r\n");
    let whole = answer.clone();
    fetch(&url(&answering(whole)), &[]).saved(&body);
    let in_pieces = serving(move |request| {
        request.set_nodelay(true)?;
        let (first, rest) = answer.split_at(500);
        for byte in first {
            request.wfile.write_all(&[*byte])?;
        }
        for piece in rest.chunks(997) {
            request.wfile.write_all(piece)?;
        }
        Ok(())
    });
    fetch(&url(&in_pieces), &[]).saved(&body);
}

#[test]
fn a_body_without_a_length_ends_with_the_stream() {
    let server = serving(|request| {
        request
            .wfile
            .write_all(b"HTTP/1.0 200\r\nServer: old\r\n\r\n")?;
        (0..1000).try_for_each(|i| writeln!(request.wfile, "line {i}"))?;
        Ok(())
    });
    let expected: String = (0..1000).map(|i| format!("line {i}\n")).collect();
    fetch(&url(&server), &[]).saved(expected.as_bytes());
}

#[test]
fn the_client_does_not_wait_for_bytes_after_the_length() {
    let server = serving(|request| {
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello world";
        request.wfile.write_all(answer)?;
        // The connection stays open until the client closes it.
        let _ = request.rfile.read(&mut [0]);
        Ok(())
    });
    fetch(&url(&server), &[]).saved(b"hello");
    fetch(
        &url(&answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
        &[],
    )
    .saved(b"");
}

#[test]
fn interim_responses_are_skipped_and_some_statuses_have_no_body() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let fetched = fetch(&url(&answering(answer)), &[]).saved(b"ok");
    assert!(
        fetched
            .stdout
            .starts_with("HTTP/1.1 200 OK\nContent-Length: 2\n\n"),
        "{fetched:?}"
    );
    for status in ["204 No Content", "304 Not Modified"] {
        let server = answering(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n"));
        let fetched = fetch(&url(&server), &[]);
        assert_eq!(
            (fetched.status, fetched.files.len()),
            (Some(0), 0),
            "{:?}",
            fetched.stderr
        );
        assert!(
            fetched
                .stdout
                .contains(&format!("status {} has no body", &status[..3]))
        );
    }
}

#[test]
fn redirects_are_not_followed() {
    let answer =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 4\r\n\r\ngone";
    let fetched = fetch(&url(&answering(answer)), &[]).saved(b"gone");
    assert!(
        fetched.stdout.contains("\nLocation: http://127.0.0.1:1/\n"),
        "{fetched:?}"
    );
}

#[test]
fn control_characters_in_a_header_are_escaped() {
    let answer = "HTTP/1.1 200 \u{9b}2J\u{202e}\r\nX: \u{9b}31mred\u{2028}\u{2066}\r\nSet-Cookie: \u{9b}\r\n\r\n";
    let fetched = fetch(&url(&answering(answer)), &[]).saved(b"");
    let steering =
        |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2028}\u{2066}".contains(c);
    assert!(!fetched.stdout.contains(steering), "{fetched:?}");
    assert!(fetched.stdout.contains("not a cookie"), "{fetched:?}");
}

#[test]
fn with_force_only_a_complete_file_replaces_an_existing_one() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let old = folder.path().join("index.html");
    fs::write(&old, "old").expect("the temporary folder is writable");
    let truncated = answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let fetched = fetch_in(folder.path(), &url(&truncated), &["--force"]);
    assert_eq!(
        (fetched.status, fetched.body.as_deref()),
        (Some(1), Some(&b"old"[..]))
    );
    assert_eq!(fetched.files, ["index.html"]);
    let whole = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    fetch_in(folder.path(), &url(&whole), &["--force"]).saved(b"hello");
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let old = folder.path().join("index.html");
    fs::write(&old, "old").expect("the temporary folder is writable");
    // Nothing listens on this port. If the program connected first, it would report that.
    let fetched = fetch_in(folder.path(), "http://127.0.0.1:1/", &[]);
    assert_eq!(
        (fetched.status, fetched.body.as_deref()),
        (Some(1), Some(&b"old"[..]))
    );
    assert!(
        fetched
            .stderr
            .contains("index.html: it exists; --force overwrites it"),
        "{fetched:?}"
    );
    assert_eq!(fetched.files, ["index.html"]);
}

#[test]
fn a_file_that_is_created_meanwhile_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let old = folder.path().join("index.html");
    let server = serving(move |request| {
        fs::write(&old, "old")?;
        Ok(request
            .wfile
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")?)
    });
    let fetched = fetch_in(folder.path(), &url(&server), &[]);
    assert_eq!(
        (fetched.status, fetched.body.as_deref()),
        (Some(1), Some(&b"old"[..]))
    );
    assert!(fetched.stderr.contains("it exists"), "{fetched:?}");
    assert_eq!(fetched.files, ["index.html"]);
}

#[test]
fn usage_errors_have_status_2() {
    let valid = "http://127.0.0.1:1/";
    let wrong: [(&str, &[&str], &str); 9] = [
        ("127.0.0.1/index.html", &[], "http://HOST/PATH"),
        ("ftp://127.0.0.1/", &[], "neither http nor https"),
        ("http://", &[], "empty host"),
        ("http://ada:secret@127.0.0.1/", &[], "user name"),
        (valid, &["--param", "novalue"], "`=`"),
        (valid, &["--data", "novalue"], "`=`"),
        (valid, &["--cookie", "a=1; b=2"], "`;`"),
        (valid, &["--cookie", "a=1\r\nX: y"], "control character"),
        (valid, &["--timeout", "0"], "seconds"),
    ];
    for (url, options, words) in wrong {
        let fetched = fetch(url, options);
        assert_eq!(fetched.status, Some(2), "{fetched:?}");
        assert!(
            fetched.stderr.contains(words),
            "no {words:?} in {fetched:?}"
        );
        assert!(!fetched.stderr.contains("secret"), "{fetched:?}");
    }
}
