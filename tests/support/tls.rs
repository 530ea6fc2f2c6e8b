//! TLS servers and their clients.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use socketserver::Address;
use socketserver::tls::TlsConfig;
use socketserver::tls::rustls::crypto::ring;
use socketserver::tls::rustls::pki_types::pem::PemObject;
use socketserver::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use socketserver::tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::Authority;
use crate::connect;

/// The authority that all test clients trust.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("Test"));

static SERVER: LazyLock<TlsConfig> = LazyLock::new(|| {
    let (certificate, key) = AUTHORITY.certify("DNS:localhost,IP:127.0.0.1");
    TlsConfig::from_pem_files(certificate, key).expect("the files are valid")
});

/// A server's configuration with a certificate for `localhost`.
pub fn server_config() -> TlsConfig {
    SERVER.clone()
}

/// A client that speaks TLS. Its reads and writes have a timeout.
pub type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// A client of `localhost`, before its handshake.
pub fn tls_client(address: &Address) -> TlsClient {
    tls_client_with(address, client_config(&AUTHORITY.pem()), "localhost")
}

pub fn tls_client_with(address: &Address, config: ClientConfig, name: &str) -> TlsClient {
    let name = ServerName::try_from(name.to_owned()).expect("the name is valid");
    let session =
        ClientConnection::new(Arc::new(config), name).expect("the configuration is valid");
    StreamOwned::new(session, connect(address))
}

/// What a client trusts.
pub fn client_config(authorities: &Path) -> ClientConfig {
    builder(authorities).with_no_client_auth()
}

/// The same, with a certificate of its own.
pub fn client_config_with(authorities: &Path, certificate: &Path, key: &Path) -> ClientConfig {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(key).expect("the key is valid");
    let chain = chain.expect("the certificate is valid");
    let config = builder(authorities).with_client_auth_cert(chain, key);
    config.expect("they belong together")
}

fn builder(
    authorities: &Path,
) -> socketserver::tls::rustls::ConfigBuilder<
    ClientConfig,
    socketserver::tls::rustls::client::WantsClientCert,
> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).expect("the file is there") {
        let added = roots.add(certificate.expect("the certificate is valid"));
        added.expect("the certificate is valid");
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_root_certificates(roots)
}

/// Finishes the handshake.
pub fn shake_hands(client: &mut TlsClient) -> io::Result<()> {
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock)?;
    }
    Ok(())
}

/// Sends a line, and receives one.
#[track_caller]
pub fn exchange(client: &mut TlsClient, line: &str) -> String {
    client
        .write_all(format!("{line}\n").as_bytes())
        .expect("the server reads");
    receive_line(client)
}

/// The next line, without its end; empty at the end of the stream.
#[track_caller]
pub fn receive_line(client: &mut TlsClient) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match client
            .read(&mut byte)
            .expect("the server answers or ends the stream")
        {
            0 => break,
            _ if byte == *b"\n" => break,
            _ => line.extend(byte),
        }
    }
    String::from_utf8(line).expect("the server sends text")
}

/// Tells the server that nothing follows.
pub fn close_notify(client: &mut TlsClient) -> io::Result<()> {
    client.conn.send_close_notify();
    client.flush()
}

/// A client whose handshake is done but for its last flight, and that flight.
pub fn before_the_last_flight(address: &Address) -> io::Result<(TlsClient, Vec<u8>)> {
    let mut client = tls_client(address);
    let mut flight = Vec::new();
    client.conn.write_tls(&mut flight)?;
    client.sock.write_all(&flight)?;
    flight.clear();
    while client.conn.is_handshaking() {
        client.conn.read_tls(&mut client.sock)?;
        client
            .conn
            .process_new_packets()
            .map_err(io::Error::other)?;
    }
    client.conn.write_tls(&mut flight)?;
    Ok((client, flight))
}
