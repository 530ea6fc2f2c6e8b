//! The PROXY header of a server that forks, which the child reads.

use std::io::{Read, Write};

use nix::sys::signal::Signal;

use support::example::{Example, run};
use support::{ANY, connect_to, read_all};

const OPTIONS: [&str; 7] = [
    ANY,
    "--server",
    "forking-tcp",
    "--proxy-protocol",
    "required",
    "--trusted-proxies",
    "127.0.0.1,::1",
];

#[test]
fn the_child_sees_the_client() {
    let server = Example::start(
        "echo_server",
        &[&OPTIONS[..], &["--panic-on", "boom"]].concat(),
    );
    let mut proxy = connect_to(&server.address);
    let sent = proxy.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nhello");
    sent.expect("the server reads");
    let mut answer = [0; 5];
    proxy.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"hello");
    proxy.write_all(b"boom").expect("the server reads");
    assert_eq!(read_all(proxy), "");
    // A connection without a header ends its own child only.
    let mut other = connect_to(&server.address);
    other.write_all(b"hello\n").expect("the server reads");
    assert_eq!(other.read(&mut answer).unwrap_or_default(), 0);
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    let panicked = r#"from 192.0.2.1:56324: handle failed: panicked: 192.0.2.1:56324 sent "boom""#;
    assert!(log.contains(panicked), "{log}");
    assert!(log.contains(r"no PROXY header, but `hello\n`"), "{log}");
}

#[test]
fn a_limit_per_ip_that_would_not_work_is_an_error() {
    let output = run("echo_server", &[&OPTIONS[..], &["--per-ip", "1"]].concat());
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("max_per_ip and proxy_protocol do not work together"),
        "{log}"
    );
}
