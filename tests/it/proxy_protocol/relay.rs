//! The example `relay`, which sends PROXY headers.

use std::io::Write;
use std::net::Shutdown;

use socketserver::proxy_protocol::ProxyProtocol;

use support::concurrent::ConcurrentTcpServer;
use support::example::{Example, run};
use support::{ANY, connect_from, in_background, read_all};

support::for_threads_and_green! {
    the_target_sees_the_client_of_the_relay
}

fn the_target_sees_the_client_of_the_relay(options: &[&str]) {
    let proxies = ProxyProtocol::required(["127.0.0.1"]).expect("the list is valid");
    let builder = ConcurrentTcpServer::builder().proxy_protocol(proxies);
    let target = in_background(builder.bind_fn(ANY, |request| {
        let header = request.proxy_header().expect("it is required");
        let destination = header.destination().expect("it is there");
        writeln!(request.wfile, "{} to {destination}", request.client_address)?;
        let text = std::io::read_to_string(&mut request.rfile)?;
        Ok(write!(request.wfile, "{text}")?)
    }));
    let address = target.server_address().to_string();
    for version in ["v1", "v2"] {
        let arguments = [&[ANY, &address, "--send-proxy", version], options].concat();
        let relay = Example::start("relay", &arguments);
        let host = [127, 0, 0, 7].into();
        let to = relay.address.parse().expect("an IP address");
        let mut client = connect_from(host, to).expect("the relay listens");
        client.write_all(b"hello").expect("the relay reads");
        client.shutdown(Shutdown::Write).expect("it is connected");
        let from = client.local_addr().expect("it is connected");
        let expected = format!("{from} to {}\nhello", relay.address);
        assert_eq!(read_all(client), expected, "{version}");
    }
}

#[test]
fn another_version_is_an_error() {
    let output = run("relay", &[ANY, "127.0.0.1:1", "--send-proxy", "v3"]);
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains(r#"--send-proxy: "v3" is neither v1 nor v2"#),
        "{log}"
    );
}
