//! Every address family: binding, formatting, connecting, and the addresses that a handler gets.

use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};
use std::process;

use socketserver::dispatch::Inline;
use socketserver::listener::{self, Bind, Listener, Tcp, Udp, Unix};
use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, Builder, Server};

use support::{LONG, connect, connect_unix, eventually, in_background, read_all, socket_path};

/// A handler that sends the client's address and the server's address.
fn addresses(request: &mut StreamRequest) -> HandlerResult {
    let local = request.local_address()?;
    write!(request.wfile, "{} at {local}", request.client_address)?;
    Ok(())
}

fn serve(
    builder: Builder<socketserver::listener::Tcp, socketserver::dispatch::Inline>,
    address: &str,
) -> BackgroundServer {
    in_background(builder.bind_fn(address, addresses))
}

#[test]
fn an_ipv6_handler_gets_both_addresses() {
    let server = serve(TcpServer::builder(), "[::1]:0");
    let client = connect(server.server_address());
    let me = client.local_addr().expect("the socket is connected");
    assert!(me.is_ipv6());
    assert_eq!(
        read_all(client),
        format!("{me} at {}", server.server_address())
    );
}

#[test]
fn an_ipv6_server_accepts_ipv4_clients_only_with_dual_stack() {
    let server = serve(TcpServer::builder(), "[::]:0");
    let port = server
        .server_address()
        .port()
        .expect("the server has a TCP address");
    // Another test may listen on this port of 127.0.0.1.
    let refused = TcpStream::connect(("127.0.0.2", port)).expect_err("IPv6 only");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    connect(&(Ipv6Addr::LOCALHOST, port).into());
}

#[test]
fn a_dual_stack_server_accepts_both_families_and_unmaps_ipv4_addresses() {
    let server = TcpServer::builder()
        .dual_stack(true)
        .bind_fn("[::]:0", |request| {
            let ip = request
                .client_address
                .ip()
                .ok_or("a client of an IP server has an IP address")?;
            Ok(write!(request.wfile, "{ip}")?)
        });
    let server = in_background(server);
    let port = server
        .server_address()
        .port()
        .expect("the server has a TCP address");
    assert_eq!(
        read_all(connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())),
        "127.0.0.1"
    );
    assert_eq!(
        read_all(connect(&(Ipv6Addr::LOCALHOST, port).into())),
        "::1"
    );
}

#[test]
fn binds_to_the_first_free_address_of_a_list() {
    let taken = TcpServer::bind_fn("127.0.0.1:0", addresses).expect("loopback");
    let port = taken
        .server_address()
        .port()
        .expect("the server has a TCP address");
    // Other tests have clients on 127.0 and 127.1, and use ports of these networks.
    let candidates = [
        SocketAddr::from(([127, 0, 0, 1], port)),
        SocketAddr::from(([127, 2, 0, 1], port)),
    ];
    let server = TcpServer::bind_fn(&candidates[..], addresses).expect("one address is free");
    assert_eq!(server.server_address(), &Address::from(candidates[1]));
}

#[test]
fn a_tuple_and_a_host_name_are_accepted_as_address() {
    for server in [
        TcpServer::bind_fn(("127.0.0.1", 0), addresses),
        TcpServer::bind_fn("localhost:0", addresses),
    ] {
        let server = in_background(server);
        assert!(read_all(connect(server.server_address())).contains(" at "));
    }
}

#[test]
fn ipv6_datagrams_are_answered() {
    let server = in_background(UdpServer::bind_fn("[::1]:0", |request| {
        Ok(request.reply(&request.packet)?)
    }));
    let client = UdpSocket::bind("[::1]:0").expect("a port is free");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    client
        .send_to(b"hello", server.server_address())
        .expect("loopback");
    let mut buffer = [0; 16];
    let received = client.recv(&mut buffer).expect("an answer");
    assert_eq!(&buffer[..received], b"hello");
}

#[test]
fn an_abstract_address_creates_no_file() {
    let name = format!("socketserver-test-{}", process::id());
    let server =
        UnixStreamServer::bind_fn(format!("\0{name}"), addresses).expect("the name is free");
    assert_eq!(
        server.server_address(),
        &Address::Abstract(name.clone().into_bytes())
    );
    assert_eq!(server.server_address().to_string(), format!("@{name}"));
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    let address = UnixAddr::from_abstract_name(&name).expect("the name is short");
    let client = UnixStream::connect_addr(&address).expect("the server listens");
    assert_eq!(read_all(client), format!("(unnamed) at @{name}"));
    server.stop().expect("serving ends without an error");
    eventually("the name is free", || {
        UnixStream::connect_addr(&address).is_err()
    });
}

#[test]
fn a_datagram_client_with_an_abstract_address_is_answered() {
    let (_folder, path) = support::socket_path();
    let server = UnixDatagramServer::bind_fn(&path, |request| {
        Ok(request.reply(request.client_address.to_string().as_bytes())?)
    });
    let _server = in_background(server);
    let name = format!("socketserver-client-{}", process::id());
    let address = UnixAddr::from_abstract_name(&name).expect("the name is short");
    let client = UnixDatagram::bind_addr(&address).expect("the name is free");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    client
        .send_to(b"my address", &path)
        .expect("the server is bound");
    let mut buffer = [0; 128];
    let received = client.recv(&mut buffer).expect("an answer");
    assert_eq!(
        String::from_utf8_lossy(&buffer[..received]),
        format!("@{name}")
    );
}

#[test]
fn a_unix_address_does_not_connect_over_ip() {
    let error =
        TcpStream::connect(Address::Path("/run/app.sock".into())).expect_err("not an IP address");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("/run/app.sock"), "{error}");
}

fn an_unnamed_stream_client_is_served<D: socketserver::Dispatch>(
    builder: Builder<socketserver::listener::Unix, D>,
) {
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

#[test]
fn an_unnamed_unix_client_is_served() {
    an_unnamed_stream_client_is_served(UnixStreamServer::builder());
    an_unnamed_stream_client_is_served(ThreadingUnixStreamServer::builder());
}

/// A server that is bound to a parsed address, and the same address again.
fn bind_parsed<L>(text: &str) -> std::io::Result<Address>
where
    L: Listener + Bind<Address> + for<'a> Bind<&'a Address>,
{
    let bind = |address| Server::<L, Inline>::bind_fn(address, |_| Ok(()));
    let address = text.parse::<Address>()?;
    let server = Server::<L, Inline>::bind_fn(&address, |_| Ok(()))?;
    let bound = server.server_address().clone();
    drop(server);
    assert_eq!(
        bind(bound.to_string().parse::<Address>()?)?.server_address(),
        &bound
    );
    Ok(bound)
}

#[test]
fn a_parsed_address_can_be_bound_and_is_printed_again() {
    for text in ["127.0.0.1:0", "[::1]:0"] {
        let family = text.trim_end_matches('0');
        for bound in [bind_parsed::<Tcp>(text), bind_parsed::<Udp>(text)] {
            let bound = bound.expect("a port is free").to_string();
            assert!(bound.starts_with(family), "{bound}");
        }
    }
    let (_folder, path) = socket_path();
    let path = path.display().to_string();
    let name = format!("@socketserver-parsed-{}", process::id());
    for text in [path, name] {
        for bound in [
            bind_parsed::<Unix>(&text),
            bind_parsed::<listener::UnixDatagram>(&text),
        ] {
            assert_eq!(bound.expect("the address is free").to_string(), text);
        }
    }
}

#[test]
fn a_unix_server_is_not_bound_to_an_ip_address() {
    let address: Address = "127.0.0.1:80".parse().expect("the text is an address");
    let stream = UnixStreamServer::bind_fn(&address, |_| Ok(())).expect_err("an IP address");
    let datagram = UnixDatagramServer::bind_fn(address, |_| Ok(())).expect_err("an IP address");
    for error in [stream, datagram] {
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(
            error.to_string().starts_with("127.0.0.1:80 is an IP"),
            "{error}"
        );
    }
}

#[test]
fn the_error_of_text_that_is_no_address_says_what_is_accepted() {
    for (text, words) in [
        ("", "127.0.0.1:80, [::1]:80, a path with a /, or @name"),
        ("@", "@name"),
        (":80", "host names are not looked up"),
        ("localhost:80", "host names are not looked up"),
        ("127.0.0.1:99999", "127.0.0.1:80"),
        ("127.0.0.1", "no port, as in 127.0.0.1:80"),
        ("::1", "no port, as in [::1]:80"),
        ("app.sock", "./app.sock"),
        ("/run/a\0b", "a path with a /"),
        ("(unnamed)", "a path with a /"),
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("{text:?} is not an address: ")),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
    }
}
