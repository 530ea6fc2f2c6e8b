//! Unix clients without a name of their own, as most are.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Sender, channel};

use socketserver::prelude::*;
use socketserver::{Address, Builder, Dispatch, RequestError, Stage};
use socketserver::{dispatch::Inline, dispatch::ThreadPool, listener};

use support::{connect_unix, connect_unix_datagram, in_background, next, read_all, socket_path};

fn a_stream_client_without_a_name_is_served<D: Dispatch>(builder: Builder<listener::Unix, D>) {
    let (_folder, path) = socket_path();
    let server = builder.bind_fn(&path, |request| {
        assert_eq!(request.client_address, Address::Unnamed);
        Ok(write!(request.wfile, "hello, {}", request.client_address)?)
    });
    let server = in_background(server);
    assert_eq!(
        read_all(connect_unix(server.server_address())),
        "hello, (unnamed)"
    );
}

struct TellErrors(Sender<(Stage, Option<io::ErrorKind>)>);

impl Hooks<DatagramRequest> for TellErrors {
    fn handle_error(&self, request: &mut DatagramRequest, error: &RequestError) {
        assert_eq!(request.client_address, Address::Unnamed);
        let report = (error.stage(), error.io_kind());
        self.0.send(report).expect("the test listens");
    }
}

fn a_datagram_client_without_a_name_cannot_be_answered<D: Dispatch>(
    builder: Builder<listener::UnixDatagram, D>,
) {
    let (folder, path) = socket_path();
    let (tell, told) = channel();
    let server = builder.hooks(TellErrors(tell)).bind_fn(&path, |request| {
        request.wfile = request.packet.to_vec();
        Ok(())
    });
    let server = in_background(server);
    let nobody = UnixDatagram::unbound().expect("there are descriptors left");
    nobody
        .send_to(b"who am I", &path)
        .expect("the server is bound");
    assert_eq!(
        next(&told),
        (Stage::Finish, Some(io::ErrorKind::AddrNotAvailable))
    );

    let somebody = connect_unix_datagram(server.server_address(), folder.path(), "client");
    somebody.send(b"and I").expect("the server is bound");
    let mut packet = [0; 100];
    let length = somebody.recv(&mut packet).expect("the server answers");
    assert_eq!(&packet[..length], b"and I");
}

#[test]
fn unix_stream_server_serves_a_client_without_a_name() {
    a_stream_client_without_a_name_is_served::<Inline>(UnixStreamServer::builder());
}

#[test]
fn threading_unix_stream_server_serves_a_client_without_a_name() {
    a_stream_client_without_a_name_is_served::<ThreadPool>(ThreadingUnixStreamServer::builder());
}

#[test]
fn unix_datagram_server_reports_that_a_client_without_a_name_cannot_be_answered() {
    a_datagram_client_without_a_name_cannot_be_answered(UnixDatagramServer::builder());
}

#[test]
fn threading_unix_datagram_server_reports_that_a_client_without_a_name_cannot_be_answered() {
    a_datagram_client_without_a_name_cannot_be_answered(ThreadingUnixDatagramServer::builder());
}
