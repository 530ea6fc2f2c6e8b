//! The example `http_server` with curl.

use std::fs;
use std::path::Path;

use support::example::Example;
use support::program;

use crate::site::{Site, TEXT};

support::for_threads_and_green! {
    curl_follows_a_redirect
    curl_reuses_one_connection
    curl_resumes_a_partial_download
}

/// The output of curl for these paths.
fn curl(server: &Example, options: &[&str], paths: &[&str]) -> String {
    let mut curl = program::installed("curl", "--version");
    curl.args(["--silent", "--show-error", "--max-time", "20"])
        .args(options);
    curl.args(
        paths
            .iter()
            .map(|path| format!("http://{}{path}", server.address)),
    );
    let output = curl.output().expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text")
}

fn curl_follows_a_redirect(options: &[&str]) {
    let site = Site::new();
    site.add("a folder/index.html", "an index");
    let server = site.serve_with(options);
    let format = "|%{http_code} %{num_redirects} %{content_type} %{num_connects}";
    let options = ["--location", "-w", format];
    let printed = curl(&server, &options, &["/a%20folder?x=1"]);
    // Both requests use the same connection.
    assert_eq!(printed, "an index|200 1 text/html 1");
}

fn curl_reuses_one_connection(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(options);
    let format = "%{http_code} %{num_connects}\\n";
    let printed = curl(&server, &["-w", format], &["/a.txt"; 3]);
    assert_eq!(printed, format!("{TEXT}200 1\n{TEXT}200 0\n{TEXT}200 0\n"));
}

#[test]
fn curl_reads_why_an_invalid_length_is_refused() {
    let site = Site::new();
    let server = site.serve();
    let options = ["-H", "Content-Length: 5, 6", "-w", "%{http_code}"];
    let printed = curl(&server, &options, &["/a.txt"]);
    assert!(
        printed.ends_with("400") && printed.contains("Bad Request"),
        "{printed}"
    );
}

#[test]
fn head_has_no_body() {
    let site = Site::new();
    let server = site.serve();
    let printed = curl(&server, &["--head"], &["/a.txt"]);
    assert!(printed.starts_with("HTTP/1.1 200 OK\r\n"), "{printed}");
    assert!(printed.contains("\r\nContent-Length: 11\r\n"), "{printed}");
    assert!(printed.ends_with("\r\n\r\n"), "{printed}");
}

fn curl_resumes_a_partial_download(options: &[&str]) {
    let site = Site::new();
    let big: Vec<u8> = (0..5_000_000_u32).map(|i| (i / 7) as u8).collect();
    site.add("big.bin", &big);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let begun = folder.path().join("begun");
    fs::write(&begun, &big[..1_234_567]).expect("the temporary folder is writable");
    let server = site.serve_with(options);
    let format = "%{http_code} %{size_download}";
    let options = ["-C", "-", "-w", format, "-o", text(&begun)];
    let printed = curl(&server, &options, &["/big.bin"]);
    assert_eq!(printed, format!("206 {}", big.len() - 1_234_567));
    assert!(fs::read(&begun).expect("the file exists") == big);
    // The file is complete, so the answer is 416, which curl accepts.
    let printed = curl(&server, &options, &["/big.bin"]);
    assert!(printed.starts_with("416 "), "{printed}");
    assert!(fs::read(&begun).expect("the file exists") == big);
}

#[test]
fn curl_downloads_only_newer_files() {
    let site = Site::new();
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let copy = folder.path().join("copy");
    let server = site.serve();
    let format = "%{http_code} %{size_download}";
    let options = ["--remote-time", "-w", format, "-o", text(&copy)];
    let printed = curl(&server, &options, &["/a.txt"]);
    assert_eq!(printed, "200 11");
    let options = ["-z", text(&copy), "-w", format];
    let printed = curl(&server, &options, &["/a.txt"]);
    assert_eq!(printed, "304 0");
}

#[test]
fn paths_outside_of_the_directory_are_not_served() {
    let site = Site::new();
    site.link("out", "..");
    let server = site.serve();
    let paths = [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/out/secret.txt",
    ];
    for path in paths {
        let options = ["--path-as-is", "-w", "%{http_code}"];
        let printed = curl(&server, &options, &[path]);
        assert!(printed.ends_with("404"), "{path}: {printed}");
        assert!(!printed.contains("a secret"), "{path}: {printed}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}
