//! The example `http_server`, asked by curl.

use std::fs;
use std::path::Path;

use support::example::Example;
use support::program;

use crate::site::{Site, TEXT};

/// What curl prints when it asks for these paths.
fn curl(server: &Example, options: &[&str], paths: &[&str]) -> String {
    let mut curl = program::installed("curl", "--version");
    curl.args(["--silent", "--show-error", "--max-time", "20"])
        .args(options);
    curl.args(
        paths
            .iter()
            .map(|path| format!("http://{}{path}", server.address)),
    );
    let output = curl.output().expect("it is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn a_page_after_a_redirect() {
    let site = Site::new();
    site.add("a folder/index.html", "an index");
    let server = site.serve();
    let format = "|%{http_code} %{num_redirects} %{content_type} %{num_connects}";
    let options = ["--location", "-w", format];
    let printed = curl(&server, &options, &["/a%20folder?x=1"]);
    // Both on one connection.
    assert_eq!(printed, "an index|200 1 text/html 1");
}

#[test]
fn one_connection_for_all() {
    let site = Site::new();
    let server = site.serve();
    let format = "%{http_code} %{num_connects}\\n";
    let printed = curl(&server, &["-w", format], &["/a.txt"; 3]);
    assert_eq!(printed, format!("{TEXT}200 1\n{TEXT}200 0\n{TEXT}200 0\n"));
}

#[test]
fn a_header_alone() {
    let site = Site::new();
    let server = site.serve();
    let printed = curl(&server, &["--head"], &["/a.txt"]);
    assert!(printed.starts_with("HTTP/1.1 200 OK\r\n"), "{printed}");
    assert!(printed.contains("\r\nContent-Length: 11\r\n"), "{printed}");
    assert!(printed.ends_with("\r\n\r\n"), "{printed}");
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let site = Site::new();
    let big: Vec<u8> = (0..5_000_000_u32).map(|i| (i / 7) as u8).collect();
    site.add("big.bin", &big);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let begun = folder.path().join("begun");
    fs::write(&begun, &big[..1_234_567]).expect("the folder is ours");
    let server = site.serve();
    let format = "%{http_code} %{size_download}";
    let options = ["-C", "-", "-w", format, "-o", text(&begun)];
    let printed = curl(&server, &options, &["/big.bin"]);
    assert_eq!(printed, format!("206 {}", big.len() - 1_234_567));
    assert!(fs::read(&begun).expect("it is there") == big);
    // There is nothing more to be had, and curl knows what 416 means.
    let printed = curl(&server, &options, &["/big.bin"]);
    assert!(printed.starts_with("416 "), "{printed}");
    assert!(fs::read(&begun).expect("it is there") == big);
}

#[test]
fn what_is_newer_than_a_file() {
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
fn no_way_out() {
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
    path.to_str().expect("its name is text")
}
