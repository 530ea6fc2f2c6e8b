//! The example `http_get` with invalid, truncated and endless responses.

use std::io::{Read, Write};

use crate::run::{answering, fetch, serving, url};

#[test]
fn a_response_that_is_not_http() {
    for words in [
        "SSH-2.0-OpenSSH_9\r\n",
        "220 mail ESMTP\r\n",
        "\u{15}\u{3}\u{1}",
        "HTTP/9.9 200\r\n",
    ] {
        let server = serving(move |request| {
            request.wfile.write_all(words.as_bytes())?;
            // The server keeps the connection open. The client must detect the error.
            let _ = request.rfile.read(&mut [0]);
            Ok(())
        });
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[&address, "does not answer in HTTP"]);
    }
    fetch(&url(&answering("")), &[]).failed(&["closed the connection without an answer"]);
    fetch(&url(&answering("HTTP/1.1 200 OK\r\nA: b\r\n")), &[])
        .failed(&["in the middle of its header"]);
    fetch(
        &url(&answering("HTTP/1.1 200 OK\r\nbad header\r\n\r\n")),
        &[],
    )
    .failed(&["malformed", "header name"]);
}

#[test]
fn headers_and_chunk_lines_have_a_maximum_length() {
    for (begin, again, words) in [
        (
            "HTTP/1.1 200 OK\r\nX: ",
            "xxxxxxxxx",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "",
            "\r\n",
            "the header from ADDRESS does not end within 65536 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            "X: x\r\n",
            "the header from ADDRESS has more than 256 fields",
        ),
        (CHUNKED, "00000000", "a line does not end within 8192 bytes"),
        (CHUNKED, "5;xxxxxx", "a line does not end within 8192 bytes"),
        (
            &*format!("{CHUNKED}0\r\n"),
            "X: xxxx\r\n",
            "a line does not end within",
        ),
    ] {
        let (begin, again) = (begin.to_owned(), again.repeat(1000));
        let server = serving(move |request| {
            request.wfile.write_all(begin.as_bytes())?;
            loop {
                request.wfile.write_all(again.as_bytes())?;
            }
        });
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[&words.replace("ADDRESS", &address)]);
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn truncated_and_invalid_bodies() {
    for (body, words) in [
        (
            "Content-Length: 10\r\n\r\nhello",
            "ended after 5 of 10 bytes",
        ),
        ("Content-Length: 10\r\n\r\n", "ended after 0 of 10 bytes"),
        (
            "Content-Length: ten\r\n\r\nhello",
            "an invalid Content-Length: ten",
        ),
        (
            "Content-Length: +5\r\n\r\nhello",
            "an invalid Content-Length: +5",
        ),
        ("Content-Length:\r\n\r\nhello", "an invalid Content-Length"),
        (
            "Content-Length: 99999999999999999999\r\n\r\n",
            "an invalid Content-Length",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "an invalid Content-Length: 5, 6",
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n\r\n",
            "not known here: gzip, chunked",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
            "ended before its last chunk",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello world\r\n",
            "longer than its size",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n\r\n", "no valid size"),
        ("Transfer-Encoding: chunked\r\n\r\n-1\r\n", "no valid size"),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "no valid size",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
            "ended before its last chunk",
        ),
    ] {
        let server = answering(format!("HTTP/1.1 200 OK\r\n{body}"));
        let address = server.server_address().to_string();
        fetch(&url(&server), &[]).failed(&[words, &address]);
    }
}
