//! The example `http_get` over TLS: the certificates that it trusts, and the end of a response.

use std::path::Path;

use socketserver::prelude::*;
use support::certificates::Authority;
use support::{ANY, in_background, python};

use crate::run::{Fetched, Peer, command, fetch, finish};
use crate::script;

/// A Python server with a certificate for `names`.
fn start(script: &str, folder: Option<&Path>, authority: &Authority, names: &str) -> Peer {
    let mut python = python::script(script);
    let (certificate, key) = authority.certify(names);
    python.args(folder).arg(certificate).arg(key);
    Peer::start(python)
}

fn fetch_trusting(url: &str, authority: &Authority) -> Fetched {
    let pem = authority.pem();
    fetch(url, &["--cafile", pem.to_str().expect("the path is UTF-8")])
}

#[test]
fn a_file_of_a_python_server_is_saved_over_tls() {
    let authority = Authority::new("Authority");
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let body = vec![b'x'; 500_000];
    std::fs::write(folder.path().join("file"), &body).expect("the temporary folder is writable");
    let names = "DNS:localhost,IP:127.0.0.1";
    let peer = start(
        &script("http_server.py"),
        Some(folder.path()),
        &authority,
        names,
    );
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/file", peer.port);
        fetch_trusting(&url, &authority).saved(&body);
    }
    // The certificates of the system, in its configured folder.
    let url = format!("https://localhost:{}/file", peer.port);
    let empty = tempfile::tempdir().expect("the temporary folder is writable");
    let mut native = command(empty.path(), &url, &[]);
    native
        .env("SSL_CERT_FILE", authority.pem())
        .env_remove("SSL_CERT_DIR");
    finish(empty.path(), native).saved(&body);
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let (authority, other) = (Authority::new("Authority"), Authority::new("Other"));
    let peer = start(&script("tls_server.py"), None, &authority, "DNS:localhost");
    let by_name = format!("https://localhost:{}/close-notify", peer.port);
    let address = format!("127.0.0.1:{}", peer.port);
    let unknown = "no authority known here has signed it";
    let of_localhost = format!("the certificate of localhost ({address})");
    fetch_trusting(&by_name, &other).failed(&[&of_localhost, unknown]);

    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let mut native = command(folder.path(), &by_name, &[]);
    native
        .env("SSL_CERT_FILE", other.pem())
        .env_remove("SSL_CERT_DIR");
    finish(folder.path(), native).failed(&[&of_localhost, unknown]);

    let by_address = format!("https://{address}/close-notify");
    fetch_trusting(&by_address, &authority).failed(&[&address, "not valid for name", "localhost"]);
    fetch_trusting(&by_name, &authority).saved(b"hello");
}

#[test]
fn an_authority_certificate_is_not_valid_for_a_server() {
    let authority = Authority::new("localhost");
    let mut python = python::script(&script("tls_server.py"));
    python.arg(authority.pem()).arg(authority.key());
    let peer = Peer::start(python);
    let url = format!("https://localhost:{}/close-notify", peer.port);
    fetch_trusting(&url, &authority).failed(&["localhost", "CA:FALSE"]);
}

#[test]
fn a_response_ends_at_its_length_or_with_close_notify() {
    let authority = Authority::new("Authority");
    let peer = start(&script("tls_server.py"), None, &authority, "DNS:localhost");
    let fetch = |path| {
        fetch_trusting(
            &format!("https://localhost:{}{path}", peer.port),
            &authority,
        )
    };
    fetch("/close-notify").saved(b"hello");
    fetch("/long").saved(b"hello");
    fetch("/short").failed(&["index.html was not written", "ended after 5 of 10 bytes"]);
    fetch("/no-close-notify").failed(&["index.html was not written", "localhost", "close_notify"]);
}

#[test]
fn a_server_that_does_not_use_tls() {
    let authority = Authority::new("Authority");
    let plain = ThreadingTcpServer::bind_fn(ANY, |request| {
        request.rfile.fill_buf()?;
        Ok(request
            .wfile
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?)
    });
    let plain = in_background(plain);
    let address = plain.server_address().to_string();
    fetch_trusting(&format!("https://{address}/"), &authority)
        .failed(&[&address, "does not speak TLS"]);
}

#[test]
fn unusable_certificate_files() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = folder.path().join("ca.pem");
    let path = file.to_str().expect("the path is UTF-8");
    // Nothing listens on this port, and the program must not connect.
    let nowhere = "https://127.0.0.1:1/";
    fetch(nowhere, &["--cafile", path]).failed(&[path, "No such file"]);
    std::fs::write(&file, "not a certificate").expect("the temporary folder is writable");
    fetch(nowhere, &["--cafile", path]).failed(&[path, "there is none"]);
    let mut none = command(folder.path(), nowhere, &[]);
    none.env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let fetched = finish(folder.path(), none);
    assert!(
        fetched.stderr.contains("no certificates to trust"),
        "{fetched:?}"
    );
}
