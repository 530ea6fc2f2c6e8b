//! HAProxy and nginx in front of a server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;

use socketserver::BackgroundServer;
use socketserver::prelude::*;
use socketserver::proxy_protocol::ProxyProtocol;

use support::certificates::Authority;
use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::event_log::EventLog;
use support::logs::Logs;
use support::program::installed;
use support::proxy::Proxy;
use support::{ANY, eventually, in_background, read_all};

const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// HAProxy in front of the server, with these options for the client's side and the server's.
fn haproxy_with(server: &BackgroundServer, bind: &str, options: &str) -> Proxy {
    let mut command = installed("haproxy", "-v");
    command.args(["-db", "-q", "-f", "haproxy.cfg"]);
    let server = server.server_address();
    Proxy::start(command, "haproxy.cfg", |address| {
        format!(
            "defaults\n  mode tcp\n  timeout connect 9s\n  timeout client 9s\n  timeout server 9s\n\
             listen it\n  bind {address} {bind}\n  server it {server} {options}\n"
        )
    })
}

fn nginx_stream(server: &BackgroundServer) -> Proxy {
    let mut command = installed("nginx", "-v");
    if fs::exists(NGINX_STREAM).is_ok_and(|exists| !exists) {
        support::program::missing(
            "nginx's stream module",
            "apt-get install libnginx-mod-stream",
        );
    }
    command.args(["-p", ".", "-e", "stderr", "-c", "nginx.conf"]);
    let server = server.server_address();
    Proxy::start(command, "nginx.conf", |address| {
        format!(
            "load_module {NGINX_STREAM};\ndaemon off;\nmaster_process off;\npid nginx.pid;\n\
             events {{}}\nstream {{ server {{\n  listen {address};\n  proxy_pass {server};\n  \
             proxy_protocol on;\n}} }}\n"
        )
    })
}

/// A server behind the proxy, which answers one line with another.
fn serve(
    answer: impl Fn(&StreamRequest) -> String + Send + Sync + 'static,
    per_ip: Option<usize>,
) -> BackgroundServer {
    let proxies = ProxyProtocol::required(["127.0.0.1"]).expect("the list is valid");
    let builder = ConcurrentTcpServer::builder()
        .proxy_protocol(proxies)
        .max_per_ip(per_ip)
        .hooks(AnswerReason);
    in_background(builder.bind_fn(ANY, move |request| {
        writeln!(request.wfile, "{}", answer(request))?;
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }))
}

struct AnswerReason;

impl Hooks for AnswerReason {
    fn reject_request(&self, request: &mut StreamRequest, why: RejectReason) -> HandlerResult {
        Ok(writeln!(request.wfile, "{why}")?)
    }
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).expect("the proxy passes it on");
    line.trim_end().to_owned()
}

/// The server sees the clients of this proxy, in the log and for the limit per IP.
fn expect_clients(proxy: impl FnOnce(&BackgroundServer) -> Proxy) {
    let logs = Logs::from_here();
    let server = serve(|request| request.client_address.to_string(), Some(1));
    let proxy = proxy(&server);
    for number in 1..=3 {
        let host = [127, 0, 0, 10 + number];
        let mut client = BufReader::new(proxy.connect(host));
        let address = client.get_ref().local_addr().expect("it is connected");
        assert_eq!(line(&mut client), address.to_string());
        let sent = client.get_mut().write_all(b"hello\n");
        sent.expect("the proxy reads");
        assert_eq!(line(&mut client), "hello");
        assert_eq!(read_all(proxy.connect(host)), "too many per IP\n");
        drop(client);
        let end = format!("from {address}: finished after ");
        eventually("it is logged", || !logs.with(&end).is_empty());
    }
    let statistics = settled(&server.handle(), 6);
    assert_eq!((statistics.finished, statistics.rejected.per_ip), (3, 3));
}

#[test]
fn haproxy_with_version_1() {
    expect_clients(|server| haproxy_with(server, "", "send-proxy"));
}

#[test]
fn haproxy_with_version_2_and_a_checksum() {
    let options = "send-proxy-v2 proxy-v2-options crc32c,unique-id";
    expect_clients(|server| haproxy_with(server, "", options));
}

#[test]
fn nginx() {
    expect_clients(nginx_stream);
}

#[test]
fn haproxy_checks_with_a_local_header() {
    let (events, logs) = (EventLog::default(), Logs::from_here());
    let recorded = events.clone();
    let server = serve(
        move |request| {
            let header = request.proxy_header().expect("it is required");
            recorded.record(if header.is_local() { "check" } else { "client" });
            request.client_address.to_string()
        },
        None,
    );
    let options = "send-proxy-v2 check inter 20ms check-send-proxy";
    let proxy = haproxy_with(&server, "", options);
    events.wait_for("check");
    let mut client = BufReader::new(proxy.connect([127, 0, 0, 9]));
    assert!(line(&mut client).starts_with("127.0.0.9:"));
    events.wait_for("client");
    let name = server.handle().name();
    assert_eq!(server.handle().statistics().failed, 0);
    assert!(
        logs.with(&name)
            .iter()
            .all(|(level, _)| *level > log::Level::Warn)
    );
}

#[test]
fn haproxy_tells_about_tls() {
    let authority = Authority::new("proxy");
    let (certificate, key) = authority.certify("DNS:app.example.com");
    let both = [certificate, key].map(|path| fs::read_to_string(path).expect("it was made"));
    let pem = authority.pem().with_file_name("both.pem");
    fs::write(&pem, both.concat()).expect("the temporary folder is writable");
    let server = serve(
        |request| {
            let header = request.proxy_header().expect("it is required");
            let ssl = header.ssl().expect("HAProxy sends it");
            let version = ssl.version().unwrap_or_default();
            let host = header.authority().unwrap_or_default();
            let (is_tls, is_verified) = (ssl.is_tls(), ssl.is_verified());
            format!("{host} {version} {is_tls} {is_verified}")
        },
        None,
    );
    let options = "send-proxy-v2-ssl proxy-v2-options authority,crc32c";
    let bind = format!("ssl crt {}", pem.display());
    let proxy = haproxy_with(&server, &bind, options);
    let mut client = installed("openssl", "version");
    client.args([
        "s_client",
        "-quiet",
        "-servername",
        "app.example.com",
        "-tls1_3",
    ]);
    client.args(["-connect", &proxy.address.to_string()]);
    let client = client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client
        .stderr(Stdio::null())
        .spawn()
        .expect("it is installed");
    let mut answer = String::new();
    let output = client.stdout.as_mut().expect("it is piped");
    BufReader::new(output)
        .read_line(&mut answer)
        .expect("it is text");
    client.kill().expect("it runs");
    client.wait().expect("it was killed");
    assert_eq!(answer, "app.example.com TLSv1.3 true false\n");
}
