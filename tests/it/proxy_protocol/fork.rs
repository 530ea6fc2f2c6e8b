//! The PROXY header of a server that forks, which the child reads.

use std::io::{ErrorKind, Read, Write};

use nix::sys::signal::Signal;
use socketserver::ForkingTcpServer;
use socketserver::proxy_protocol::ProxyProtocol;

use support::example::Example;
use support::{ANY, connect_to, read_all};

#[test]
fn the_child_sees_the_client() {
    let kind = [ANY, "--server", "forking-tcp", "--panic-on", "boom"];
    let proxies = [
        "--proxy-protocol",
        "required",
        "--trusted-proxies",
        "127.0.0.1,::1",
    ];
    let server = Example::start("echo_server", &[&kind[..], &proxies].concat());
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
    let proxies = ProxyProtocol::required(["127.0.0.1"]).expect("the list is valid");
    let builder = ForkingTcpServer::builder().proxy_protocol(proxies);
    let bound = builder.max_per_ip(1).bind_fn(ANY, |_| Ok(()));
    let error = bound.expect_err("only the child knows the client");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = "max_per_ip and proxy_protocol do not work together";
    assert!(error.to_string().contains(text), "{error}");
}
