//! The handshake: what was agreed on, and what becomes of clients that do not finish it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::tls::TlsConfig;
use socketserver::tls::rustls::crypto::ring;
use socketserver::tls::rustls::pki_types::pem::PemObject;
use socketserver::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socketserver::tls::rustls::server::{ClientHello, ResolvesServerCert};
use socketserver::tls::rustls::sign::CertifiedKey;
use socketserver::tls::rustls::{ProtocolVersion, ServerConfig};
use socketserver::{Dispatch, Server, ServerHandle};
use support::certificates::Authority;
use support::tls::{
    AUTHORITY, client_config, client_config_with, exchange, receive_line, server_config,
    shake_hands, tls_client, tls_client_with,
};
use support::{ANY, LONG, connect, eventually, in_background};

use socketserver::listener::Tcp;

support::for_each! {
    { a_handler_is_the_same_over_tls clients_that_stop_are_ended_and_others_are_served }
    inline: Inline;
    threads: ThreadPool;
}
#[cfg(feature = "green")]
support::for_each! {
    { a_handler_is_the_same_over_tls clients_that_stop_are_ended_and_others_are_served }
    green: Green;
}
fn echo(request: &mut StreamRequest) -> HandlerResult {
    for line in &mut request.rfile {
        request.wfile.write_all(&line?)?;
    }
    Ok(())
}

fn a_handler_is_the_same_over_tls<D: Dispatch + Default>() {
    let builder = Server::<Tcp, D>::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, echo));
    for round in 0..3 {
        let mut client = tls_client(server.server_address());
        assert_eq!(exchange(&mut client, "first"), "first");
        let long = round.to_string().repeat(50_000);
        assert_eq!(exchange(&mut client, &long), long);
        support::tls::close_notify(&mut client).expect("the server reads");
        assert_eq!(receive_line(&mut client), "");
    }
}

/// Clients that stop at each point of their handshake. The server has 0.3 s for each.
fn clients_that_stop_are_ended_and_others_are_served<D: Dispatch + Default>() {
    let timeout = Duration::from_millis(300);
    let builder = Server::<Tcp, D>::builder()
        .tls(server_config())
        .handshake_timeout(timeout);
    let server = in_background(builder.bind_fn(ANY, echo));
    let address = server.server_address();
    let mut hello = Vec::new();
    let mut silent = tls_client(address);
    silent
        .conn
        .write_tls(&mut hello)
        .expect("a vector takes all");
    // This one says nothing.
    let mut stopped = vec![silent.sock];
    for length in [1, 5, 50, hello.len() - 1, hello.len()] {
        let mut client = connect(address);
        client
            .write_all(&hello[..length])
            .expect("the server reads");
        stopped.push(client);
    }
    let begin = Instant::now();
    let mut client = tls_client(address);
    assert_eq!(exchange(&mut client, "served"), "served");
    drop(client);
    for mut client in stopped {
        // What the server has sent of its handshake comes first.
        let _ = io::copy(&mut client, &mut io::sink());
    }
    // One after the other without threads.
    assert!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
    eventually("all are counted", || {
        let statistics = server.handle().statistics();
        statistics.tls.timed_out == 6 && statistics.tls.handshakes == 1
    });
    eventually("none of them lingers", || {
        let statistics = server.handle().statistics();
        (statistics.active, statistics.lingering) == (0, 0)
    });
}

fn tls(server: &ServerHandle) -> socketserver::tls::TlsStatistics {
    server.statistics().tls
}

#[test]
fn a_handler_knows_what_was_agreed_on() -> io::Result<()> {
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    let config = TlsConfig::builder()
        .certificate(certificate, key)
        .alpn(["one", "two"])
        .build()?;
    let builder = ThreadingTcpServer::builder().tls(config);
    let server = in_background(builder.bind_fn(ANY, |request| {
        let tls = request.tls().ok_or("no TLS")?;
        let alpn = tls.alpn().map(String::from_utf8_lossy);
        let (name, version, cipher) = (tls.server_name(), tls.version(), tls.cipher());
        let certificates = tls.client_certificates().len();
        writeln!(
            request.wfile,
            "{name:?} {alpn:?} {version} {cipher} {certificates}"
        )?;
        Ok(())
    }));
    let mut config = client_config(&AUTHORITY.pem());
    config.alpn_protocols = vec![b"zero".into(), b"two".into()];
    let mut client = tls_client_with(server.server_address(), config, "localhost");
    let told = receive_line(&mut client);
    assert_eq!(
        client.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    let expected = r#"Some("localhost") Some("two") TLSv1.3 TLS_AES_256_GCM_SHA384 0"#;
    assert_eq!(told, expected);

    let mut config = client_config(&AUTHORITY.pem());
    config.alpn_protocols = vec![b"three".into()];
    let mut client = tls_client_with(server.server_address(), config, "localhost");
    let error = shake_hands(&mut client).expect_err("no protocol in common");
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    eventually("it is counted", || tls(&server.handle()).alpn == 1);
    Ok(())
}

#[test]
fn a_client_that_does_not_speak_tls_is_counted_and_closed() {
    let builder = ThreadingTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, echo));
    let mut client = connect(server.server_address());
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("the server reads");
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    eventually("it is counted", || {
        let statistics = server.handle().statistics();
        statistics.tls.plain_text == 1 && statistics.failed == 1
    });
}

#[test]
fn a_client_that_disconnects_is_counted() {
    let builder = ThreadingTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, echo));
    let client = connect(server.server_address());
    client.shutdown(Shutdown::Write).expect("it is connected");
    eventually("it is counted", || {
        let statistics = server.handle().statistics();
        statistics.tls.disconnected == 1 && statistics.disconnected == 1
    });
}

#[test]
fn client_certificates_are_required_or_optional() -> io::Result<()> {
    let own = Authority::new("Clients");
    let (certificate, key) = own.certify("DNS:client");
    let stranger = Authority::new("Strangers");
    let with = client_config_with(&AUTHORITY.pem(), &certificate, &key);
    let of_stranger = client_config_with(&AUTHORITY.pem(), &stranger.pem(), &stranger.key());
    let without = client_config(&AUTHORITY.pem());
    let (server_certificate, server_key) = AUTHORITY.certify("DNS:localhost");
    for is_required in [true, false] {
        let builder = TlsConfig::builder().certificate(&server_certificate, &server_key);
        let config = match is_required {
            true => builder.client_ca(own.pem()),
            false => builder.optional_client_ca(own.pem()),
        };
        let builder = ThreadingTcpServer::builder().tls(config.build()?);
        let server = in_background(builder.bind_fn(ANY, |request| {
            let tls = request.tls().ok_or("no TLS")?;
            writeln!(request.wfile, "{}", tls.client_certificates().len())?;
            Ok(())
        }));
        let ask = |config| {
            let mut client = tls_client_with(server.server_address(), config, "localhost");
            let mut answer = String::new();
            client.read_to_string(&mut answer).map(|_| answer)
        };
        assert_eq!(ask(with.clone())?, "1\n");
        assert!(ask(of_stranger.clone()).is_err());
        match is_required {
            true => assert!(ask(without.clone()).is_err()),
            false => assert_eq!(ask(without.clone())?, "0\n"),
        }
        eventually("all are counted", || {
            tls(&server.handle()).client_certificate == if is_required { 2 } else { 1 }
        });
    }
    Ok(())
}

/// Chooses a certificate slowly, and counts how many do so at once.
#[derive(Debug)]
struct Slow {
    key: Arc<CertifiedKey>,
    now: AtomicUsize,
    most: Arc<AtomicUsize>,
}

impl ResolvesServerCert for Slow {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        self.now.fetch_sub(1, Ordering::SeqCst);
        Some(Arc::clone(&self.key))
    }
}

#[test]
fn no_more_handshakes_compute_at_once_than_the_limit() -> io::Result<()> {
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    let certificate = CertificateDer::from_pem_file(certificate).expect("it is valid");
    let key = PrivateKeyDer::from_pem_file(key).expect("it is valid");
    let provider = ring::default_provider();
    let key = CertifiedKey::from_der(vec![certificate], key, &provider);
    let most = Arc::new(AtomicUsize::new(0));
    let resolver = Slow {
        key: Arc::new(key.expect("they belong together")),
        now: AtomicUsize::new(0),
        most: Arc::clone(&most),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let builder = ThreadingTcpServer::builder()
        .tls(TlsConfig::from(config))
        .max_handshakes(2);
    let server = in_background(builder.bind_fn(ANY, echo));
    let address = server.server_address();
    // Clients that have begun and wait do not count.
    let mut stopped = Vec::new();
    for _ in 0..5 {
        let mut client = tls_client(address);
        let mut hello = Vec::new();
        client.conn.write_tls(&mut hello)?;
        client.sock.write_all(&hello)?;
        client.sock.peek(&mut [0])?;
        stopped.push(client);
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(exchange(&mut tls_client(address), "served"), "served"));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
    Ok(())
}

#[cfg(feature = "fork")]
#[test]
fn a_server_that_forks_has_no_limit_of_handshakes() {
    let builder = ForkingTcpServer::builder()
        .tls(server_config())
        .max_handshakes(2);
    let error = builder.bind_fn(ANY, echo).expect_err("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// A hook that looks at the first bytes, and so receives them.
struct Sniffing;

impl Hooks for Sniffing {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(!request.rfile.fill_buf()?.is_empty())
    }
}

#[test]
fn what_a_hook_has_read_does_not_count_as_encrypted() -> io::Result<()> {
    let builder = ThreadingTcpServer::builder()
        .tls(server_config())
        .hooks(Sniffing);
    let server = in_background(builder.bind_fn(ANY, echo));
    let mut client = connect(server.server_address());
    client.write_all(b"injected\n")?;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
    eventually("it has failed", || server.handle().statistics().failed == 1);
    Ok(())
}

#[test]
fn certificates_are_replaced_while_clients_come() -> io::Result<()> {
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    let one = TlsConfig::from_pem_files(&certificate, &key)?;
    let other = Authority::new("Other");
    let (certificate, key) = other.certify("DNS:localhost");
    let two = TlsConfig::from_pem_files(&certificate, &key)?;
    let both = {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("both.pem");
        let pems = [std::fs::read(AUTHORITY.pem())?, std::fs::read(other.pem())?];
        std::fs::write(&path, pems.concat())?;
        client_config(&path)
    };
    let builder = ThreadingTcpServer::builder().tls(one.clone());
    let server = in_background(builder.bind_fn(ANY, echo));
    let (address, handle) = (server.server_address(), server.handle());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while tls(&handle).handshakes < 200 {
                        let mut client = tls_client_with(address, both.clone(), "localhost");
                        assert_eq!(exchange(&mut client, "ask"), "ask");
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for config in [&two, &one].into_iter().cycle().take(50) {
            handle.reload_tls(config.clone())?;
            thread::sleep(Duration::from_millis(2));
        }
        let served: u64 = clients
            .into_iter()
            .map(|client| client.join().expect("each request is answered"))
            .sum();
        assert_eq!(served, tls(&handle).handshakes);
        Ok::<_, io::Error>(())
    })?;
    handle.reload_tls(two)?;
    let trusts_other = client_config(&other.pem());
    let mut client = tls_client_with(address, trusts_other, "localhost");
    assert_eq!(exchange(&mut client, "the new one"), "the new one");
    // A client that does not trust it says so.
    let mut client = tls_client(address);
    shake_hands(&mut client).expect_err("it is not trusted");
    eventually("it is counted", || tls(&handle).refused_by_client == 1);
    Ok(())
}

#[test]
fn a_server_without_tls_has_nothing_to_replace() {
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, echo));
    let error = server.handle().reload_tls(server_config()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let address = server.server_address();
    assert_eq!(error.to_string(), format!("tcp {address} has no TLS"));
}

#[cfg(feature = "proxy-protocol")]
#[test]
fn a_proxy_header_comes_before_the_handshake() -> io::Result<()> {
    use socketserver::proxy_protocol::ProxyProtocol;
    use support::concurrent::ConcurrentTcpServer;
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .proxy_protocol(ProxyProtocol::required(["127.0.0.0/8"])?);
    let server = in_background(builder.bind_fn(ANY, |request| {
        request.next_line()?;
        writeln!(request.wfile, "{}", request.client_address)?;
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    let header = b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n";
    // The handshake comes in the same packet.
    let mut hello = header.to_vec();
    client.conn.write_tls(&mut hello)?;
    client.sock.write_all(&hello)?;
    assert_eq!(exchange(&mut client, "who am I"), "192.0.2.9:56324");
    Ok(())
}

#[test]
fn rejected_clients_are_closed_without_a_handshake() -> io::Result<()> {
    struct Busy;
    impl Hooks for Busy {
        fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
            Ok(request.wfile.write_all(b"server busy\n")?)
        }
    }
    let builder = ThreadingTcpServer::builder()
        .tls(server_config())
        .hooks(Busy)
        .max_connections(1)
        .overload(OverloadPolicy::Reject);
    let server = in_background(builder.bind_fn(ANY, echo));
    let mut first = tls_client(server.server_address());
    assert_eq!(exchange(&mut first, "served"), "served");
    for _ in 0..100 {
        // Neither what the hook writes, nor a part of a handshake.
        let mut client = connect(server.server_address());
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert_eq!(server.handle().statistics().rejected.overload, 100);
    Ok(())
}
