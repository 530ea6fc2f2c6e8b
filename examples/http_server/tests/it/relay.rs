//! The example `relay` in front of web servers: curl gets the same answers with it and without it.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};

use support::example::Example;
use support::pattern::Pattern;
use support::program;
use support::{ANY, python};

use crate::script;
use crate::site::{Site, TEXT};

support::for_threads_and_green! {
    pages_listings_and_ranges_are_the_same
    a_large_file_is_relayed_completely
    all_requests_use_one_connection
}

fn relay(server: &Example, options: &[&str]) -> Example {
    Example::start("relay", &[&[ANY, &server.address], options].concat())
}

/// A curl command for these paths.
fn curl(server: &Example, options: &[&str], paths: &[&str]) -> Command {
    let mut curl = program::installed("curl", "--version");
    curl.args(["--silent", "--show-error", "--fail"])
        // curl fails if it receives nothing for 20 s.
        .args(["--speed-limit", "1", "--speed-time", "20"])
        .args(options)
        .args(
            paths
                .iter()
                .map(|path| format!("http://{}{path}", server.address)),
        )
        .stdin(Stdio::null());
    curl
}

/// The output of curl.
fn get(server: &Example, options: &[&str], paths: &[&str]) -> Vec<u8> {
    let output = curl(server, options, paths).output();
    let output = output.expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn pages_listings_and_ranges_are_the_same(options: &[&str]) {
    let site = Site::new();
    site.add("a folder/numbers.bin", (0..=255).collect::<Vec<u8>>());
    let server = site.serve_with(options);
    let relay = relay(&server, options);
    for (options, path, expected) in [
        ("", "/a.txt", "0123456789\n|200 text/plain; charset=utf-8 0"),
        ("-r 2-4", "/a.txt", "234|206 text/plain; charset=utf-8 0"),
        ("", "/", "<a href=\"a%20folder/\">"),
        ("-L", "/a%20folder", "|200 text/html; charset=utf-8 1"),
        ("-r 32-", "/a%20folder/numbers.bin", " !\"#$%&"),
    ] {
        let about = "|%{http_code} %{content_type} %{num_redirects}";
        let options: Vec<_> = ["-w", about]
            .into_iter()
            .chain(options.split_whitespace())
            .collect();
        let through = get(&relay, &options, &[path]);
        let text = String::from_utf8_lossy(&through);
        assert!(text.contains(expected), "{path}: {text}");
        let directly = get(&server, &options, &[path]);
        assert!(directly == through, "{path} is different");
    }
}

/// `RELAY_MIB` mebibytes. The default is 64.
fn a_large_file_is_relayed_completely(options: &[&str]) {
    let megabytes: usize = env::var("RELAY_MIB").map_or(64, |text| text.parse().expect("a number"));
    let site = Site::new();
    let file = File::create(site.path().join("big.bin")).expect("the temporary folder is writable");
    Pattern::new(1).send(file, megabytes * 16);
    let server = site.serve_with(options);
    for server in [&relay(&server, options), &server] {
        let mut curl = curl(server, &[], &["/big.bin"]);
        let mut curl = curl
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is installed");
        let mut stdout = curl.stdout.take().expect("the stream is piped");
        Pattern::new(1).expect(&mut stdout, megabytes * 16);
        assert_eq!(
            stdout.read(&mut [0]).expect("the stream is piped"),
            0,
            "no excess bytes are received"
        );
        assert!(curl.wait().expect("a child process").success());
    }
}

fn all_requests_use_one_connection(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(options);
    let relay = relay(&server, options);
    let paths = ["/a.txt", "/", "/a.txt", "/a.txt"];
    let options = ["-w", "|%{http_code} %{num_connects}|"];
    let through = get(&relay, &options, &paths);
    let text = String::from_utf8(through).expect("the files are text");
    let connects: Vec<_> = text.split('|').skip(1).step_by(2).collect();
    assert_eq!(connects, ["200 1", "200 0", "200 0", "200 0"]);
    assert_eq!(text.matches(TEXT).count(), 3);
}

#[test]
fn a_python_server_behind_the_relay() {
    let mut server = python::script(&script("http_files.py"));
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(folder.path().join("file"), &content).expect("the temporary folder is writable");
    server.current_dir(folder.path());
    let server = Example::launch(server);
    let through = get(&relay(&server, &[]), &[], &["/file", "/file"]);
    assert!(through == content.repeat(2), "the file is different");
}
