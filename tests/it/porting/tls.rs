//! Idiom 10 of the porting guide: `ssl`.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use socketserver::prelude::*;

use support::certificates::Authority;
use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::{ANY, connect, exchange, read_all};

/// Both directions of a request as one stream.
struct Both<'a>(&'a mut StreamRequest);

impl Read for Both<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.rfile.read(buffer)
    }
}

impl Write for Both<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.wfile.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.wfile.flush()
    }
}

fn encrypted(request: &mut StreamRequest, config: &Arc<ServerConfig>) -> HandlerResult {
    let mut connection = ServerConnection::new(config.clone())?;
    let mut both = Both(request);
    let mut stream = rustls::Stream::new(&mut connection, &mut both);
    let mut buffer = [0; 80];
    let received = stream.read(&mut buffer)?;
    stream.write_all(&buffer[..received])?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn starttls(request: &mut StreamRequest, config: &Arc<ServerConfig>) -> HandlerResult {
    if request.rfile.readline(80)? != b"STARTTLS\r\n" {
        return Ok(());
    }
    if !request.rfile.buffer().is_empty() {
        return Err("plain text was received after STARTTLS".into());
    }
    request.wfile.write_all(b"go ahead\r\n")?;
    encrypted(request, config)
}

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

fn configs() -> Result<Configs, HandlerError> {
    let authority = Authority::new("Authority");
    let (certificate, key) = authority.certify("DNS:localhost");
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.pem())?)?;
    let client = ClientConfig::builder().with_root_certificates(roots);
    let client = client.with_no_client_auth();
    Ok((Arc::new(server), Arc::new(client)))
}

/// Sends a line over TLS, and expects the same line and a close_notify.
fn hello(mut socket: TcpStream, config: Arc<ClientConfig>) -> HandlerResult {
    let mut connection = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"hello")?;
    assert_eq!(read_all(stream), "hello");
    Ok(())
}

#[test]
fn tls_from_the_start() -> HandlerResult {
    let (server, client) = configs()?;
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| encrypted(request, &server))?;
    let server = server.serve_in_background()?;
    hello(connect(server.server_address()), client)
}

#[test]
fn starttls_in_the_middle_of_a_connection() -> HandlerResult {
    let (server, client) = configs()?;
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| starttls(request, &server))?;
    let server = server.serve_in_background()?;
    let socket = connect(server.server_address());
    assert_eq!(exchange(&socket, "STARTTLS\r\n"), "go ahead\r\n");
    hello(socket, client)?;
    // Bytes that were received before the handshake are not a part of it.
    let socket = connect(server.server_address());
    (&socket).write_all(b"STARTTLS\r\nhello")?;
    assert_eq!(read_all(socket), "");
    Ok(())
}

/// A client that closes without a close_notify, in the handshake or after it, has disconnected.
#[test]
fn a_plain_close_inside_tls_is_a_disconnect() -> HandlerResult {
    let (server, client) = configs()?;
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let mut connection = ServerConnection::new(server.clone())?;
        let mut both = Both(request);
        let mut stream = rustls::Stream::new(&mut connection, &mut both);
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    drop(connect(server.server_address()));
    assert_eq!(settled(&server.handle(), 1).disconnected, 1);
    let mut socket = connect(server.server_address());
    let mut connection = ClientConnection::new(client, ServerName::try_from("localhost")?)?;
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"hello")?;
    // Closing it would reset the connection, because what the server has sent is not read.
    socket.shutdown(Shutdown::Write)?;
    assert_eq!(settled(&server.handle(), 2).disconnected, 2);
    Ok(())
}
