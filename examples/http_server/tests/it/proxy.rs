//! The example `http_server` behind a proxy that sends PROXY headers.

use std::io::Write;

use nix::sys::signal::Signal;
use support::example::run;
use support::{connect_to, read_all};

use crate::PROGRAM;
use crate::site::{Site, TEXT};

const OPTIONS: [&str; 6] = [
    "--proxy-protocol",
    "required",
    "--trusted-proxies",
    "10.0.0.0/8,127.0.0.1",
    "--access-log",
    "-",
];

support::for_threads_and_green! {
    the_log_names_the_client
}

fn the_log_names_the_client(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(&[&OPTIONS[..], options].concat());
    let mut proxy = connect_to(&server.address);
    let sent = proxy.write_all(
        b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 80\r\n\
          GET /a.txt HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    sent.expect("the server reads");
    let answer = read_all(proxy);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(TEXT), "{answer}");
    server.signal(Signal::SIGTERM);
    let (_, output, _) = server.finish();
    let [begin, end] = [
        "192.0.2.9 - - [",
        r#"] "GET /a.txt HTTP/1.1" 200 11 "-" "-""#,
    ];
    assert!(output.starts_with(begin), "{output}");
    assert!(output.trim_end().ends_with(end), "{output}");
}

#[test]
fn required_headers_need_trusted_proxies() {
    let output = run(PROGRAM, &["127.0.0.1:0", "--proxy-protocol", "required"]);
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("no trusted proxies"), "{log}");
}
