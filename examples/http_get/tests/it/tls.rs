//! The example `http_get` over TLS: whom it trusts, and how an answer may end.

use std::path::Path;

use socketserver::prelude::*;
use support::certificates::Authority;
use support::{ANY, in_background, python};

use crate::beside;
use crate::run::{Fetched, Peer, command, fetch, finish};

/// A Python server with a certificate for `names`.
fn start(script: &str, folder: Option<&Path>, authority: &Authority, names: &str) -> Peer {
    let mut python = python::script(script);
    let (certificate, key) = authority.certify(names);
    python.args(folder).arg(certificate).arg(key);
    Peer::start(python)
}

fn fetch_trusting(url: &str, authority: &Authority) -> Fetched {
    let pem = authority.pem();
    fetch(url, &["--cafile", pem.to_str().expect("the path is text")])
}

#[test]
fn a_file_comes_from_python_over_tls() {
    let authority = Authority::new("Authority");
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let body = vec![b'x'; 500_000];
    std::fs::write(folder.path().join("file"), &body).expect("the folder is ours");
    let names = "DNS:localhost,IP:127.0.0.1";
    let peer = start(
        &beside("http_server.py"),
        Some(folder.path()),
        &authority,
        names,
    );
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/file", peer.port);
        fetch_trusting(&url, &authority).saved(&body);
    }
    // The system's own certificates, wherever the system is configured to find them.
    let url = format!("https://localhost:{}/file", peer.port);
    let empty = tempfile::tempdir().expect("the temporary folder is writable");
    let mut native = command(empty.path(), &url, &[]);
    native
        .env("SSL_CERT_FILE", authority.pem())
        .env_remove("SSL_CERT_DIR");
    finish(empty.path(), native).saved(&body);
}

#[test]
fn a_stranger_is_not_trusted() {
    let (authority, other) = (Authority::new("Authority"), Authority::new("Other"));
    let peer = start(&beside("tls_server.py"), None, &authority, "DNS:localhost");
    let by_name = format!("https://localhost:{}/polite", peer.port);
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

    let by_address = format!("https://{address}/polite");
    fetch_trusting(&by_address, &authority).failed(&[&address, "not valid for name", "localhost"]);
    fetch_trusting(&by_name, &authority).saved(b"hello");
}

#[test]
fn a_certificate_of_an_authority_is_no_servers() {
    let authority = Authority::new("localhost");
    let mut python = python::script(&beside("tls_server.py"));
    python.arg(authority.pem()).arg(authority.key());
    let peer = Peer::start(python);
    let url = format!("https://localhost:{}/polite", peer.port);
    fetch_trusting(&url, &authority).failed(&["localhost", "CA:FALSE"]);
}

#[test]
fn the_end_of_an_answer_is_its_length_or_close_notify() {
    let authority = Authority::new("Authority");
    let peer = start(&beside("tls_server.py"), None, &authority, "DNS:localhost");
    let fetch = |path| {
        fetch_trusting(
            &format!("https://localhost:{}{path}", peer.port),
            &authority,
        )
    };
    fetch("/polite").saved(b"hello");
    fetch("/long").saved(b"hello");
    fetch("/short").failed(&["index.html was not written", "ended after 5 of 10 bytes"]);
    fetch("/rude").failed(&["index.html was not written", "localhost", "close_notify"]);
}

#[test]
fn a_server_without_tls() {
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
fn certificates_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let file = folder.path().join("ca.pem");
    let path = file.to_str().expect("the path is text");
    // Nobody answers there: it must not be asked.
    let nowhere = "https://127.0.0.1:1/";
    fetch(nowhere, &["--cafile", path]).failed(&[path, "No such file"]);
    std::fs::write(&file, "nothing of the kind").expect("the folder is ours");
    fetch(nowhere, &["--cafile", path]).failed(&[path, "there is none"]);
    let mut none = command(folder.path(), nowhere, &[]);
    none.env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
    let fetched = finish(folder.path(), none);
    assert!(
        fetched.stderr.contains("no certificates to trust"),
        "{fetched:?}"
    );
}
