//! Idioms 6, 19 and 20 of the porting guide: datagrams, several kinds of socket, and extensions.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Sender, unbounded};
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::request::DatagramSocket;
use socketserver::{Address, HandlerError, Server, ServerHandle};

use support::concurrent::{
    Concurrent, ConcurrentTcpServer, ConcurrentUdpServer, ConcurrentUnixStreamServer,
};
use support::{
    ANY, LONG, connect, connect_udp, connect_unix, connect_unix_datagram, exchange, read_all,
    socket_folder,
};

/// The address of a client, and the socket to send to it later.
type Subscribers = Arc<Mutex<Vec<(DatagramSocket, Address)>>>;

// 6. `data, socket = self.request`; `socket.sendto(..., self.client_address)`, now and later.
#[test]
fn a_datagram_is_answered_and_the_socket_is_used_later() -> io::Result<()> {
    let subscribers = Subscribers::default();
    let list = subscribers.clone();
    let server = UdpServer::bind_fn(ANY, move |request| {
        let answer = request.packet.to_ascii_uppercase();
        request.socket.send_to(&answer, &request.client_address)?;
        let subscriber = (request.socket.clone(), request.client_address.clone());
        list.lock().unwrap().push(subscriber);
        Ok(())
    })?;
    let clients = [(); 2].map(|()| connect_udp(server.server_address()));
    for client in &clients {
        client.send(b"subscribe")?;
        server.handle_request()?;
    }
    for (socket, address) in subscribers.lock().unwrap().drain(..) {
        socket.send_to(b"news", &address)?;
    }
    for client in &clients {
        let mut packet = [0; 100];
        let length = client.recv(&mut packet)?;
        assert_eq!(&packet[..length], b"SUBSCRIBE");
        let length = client.recv(&mut packet)?;
        assert_eq!(&packet[..length], b"news");
    }
    Ok(())
}

// 19. One handler for every kind of server.
#[derive(Clone)]
struct ReportAddress(Sender<Address>);

impl ReportAddress {
    fn answer(&self, line: &[u8], client: &Address) -> Result<Vec<u8>, HandlerError> {
        self.0.send(client.clone())?;
        Ok(line.to_ascii_uppercase())
    }
}

impl RequestHandler for ReportAddress {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let line = request.rfile.readline(512)?;
        let answer = self.answer(&line, &request.client_address)?;
        Ok(request.wfile.write_all(&answer)?)
    }
}

impl RequestHandler<DatagramRequest> for ReportAddress {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        request.wfile = self.answer(&request.packet, &request.client_address)?;
        Ok(())
    }
}

#[test]
fn one_handler_serves_tcp_unix_and_udp() -> io::Result<()> {
    let (seen, addresses) = unbounded();
    let next = || addresses.recv_timeout(LONG).expect("the handler ran");
    let make = || {
        let seen = seen.clone();
        move || ReportAddress(seen.clone())
    };
    let folder = socket_folder();

    let tcp = ConcurrentTcpServer::bind(ANY, make())?.serve_in_background()?;
    let client = connect(tcp.server_address());
    assert_eq!(exchange(&client, "tcp\n"), "TCP\n");
    assert_eq!(next(), client.local_addr()?);

    let unix = ConcurrentUnixStreamServer::bind(folder.path().join("stream"), make())?;
    let unix = unix.serve_in_background()?;
    assert_eq!(
        exchange(connect_unix(unix.server_address()), "unix\n"),
        "UNIX\n"
    );
    assert_eq!(next(), Address::Unnamed);

    let mut packet = [0; 3];
    let udp = ConcurrentUdpServer::bind(ANY, make())?.serve_in_background()?;
    let client = connect_udp(udp.server_address());
    client.send(b"udp")?;
    client.recv(&mut packet)?;
    assert_eq!(&packet, b"UDP");
    assert_eq!(next(), client.local_addr()?);

    let datagram = UnixDatagramServer::bind(folder.path().join("datagram"), make())?;
    let datagram = datagram.serve_in_background()?;
    let client = connect_unix_datagram(datagram.server_address(), folder.path(), "client");
    client.send(b"abc")?;
    client.recv(&mut packet)?;
    assert_eq!(&packet, b"ABC");
    assert_eq!(next(), Address::Path(folder.path().join("client")));
    Ok(())
}

#[test]
fn one_handler_serves_ipv4_and_ipv6() -> io::Result<()> {
    let (seen, addresses) = unbounded();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let seen = seen.clone();
        let server = ConcurrentTcpServer::bind(address, move || ReportAddress(seen.clone()));
        let server = server?.serve_in_background()?;
        let client = connect(server.server_address());
        assert_eq!(exchange(&client, "ip\n"), "IP\n");
        let seen = addresses.recv_timeout(LONG).expect("the handler ran");
        assert_eq!(seen, client.local_addr()?);
        assert!(seen.ip().is_some_and(|ip| ip.is_loopback()));
    }
    Ok(())
}

// 20. Values that the listener and `verify_request` add to the extensions are available in `finish`.
struct NumberConnections(Tcp);

#[derive(Debug, PartialEq)]
struct Number(u64);

#[derive(Debug, PartialEq)]
struct Trace(Vec<&'static str>);

impl Listener for NumberConnections {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.server_activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let mut request = self.0.accept(server)?;
        let ticket = Number(request.id() * 100);
        request.extensions.insert(ticket);
        request.extensions.insert(Trace(vec!["accept"]));
        Ok(request)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_address()
    }
}

impl AsFd for NumberConnections {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn trace(request: &mut StreamRequest, step: &'static str) -> HandlerResult {
    let trace = request.extensions.get_mut::<Trace>().ok_or("no trace")?;
    trace.0.push(step);
    Ok(())
}

struct Tracing;

impl Hooks for Tracing {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        trace(request, "verify_request")?;
        Ok(true)
    }
}

impl RequestHandler for Tracing {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        trace(request, "setup")
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        trace(request, "handle")
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let trace = request.extensions.remove::<Trace>().ok_or("no trace")?;
        let ticket = request.extensions.get::<Number>().ok_or("no ticket")?;
        Ok(write!(request.wfile, "{ticket:?} {}", trace.0.join(" "))?)
    }
}

#[test]
fn extensions_are_kept_from_accept_to_finish() -> io::Result<()> {
    let socket = std::net::TcpListener::bind(ANY)?;
    let server = Server::<NumberConnections, Concurrent>::builder()
        .hooks(Tracing)
        .adopt(NumberConnections(socket.into()), || Tracing)?;
    let server = server.serve_in_background()?;
    for number in 1..=3 {
        let expected = format!("Number({number}00) accept verify_request setup handle");
        assert_eq!(read_all(connect(server.server_address())), expected);
    }
    Ok(())
}
