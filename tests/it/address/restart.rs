//! Restarting a server while connections of the old one are in `TIME_WAIT`.

use std::io::{self, ErrorKind};

use socket2::{Domain, Socket, Type};
use socketserver::Builder;
use socketserver::dispatch::Inline;
use socketserver::listener::Tcp;
use socketserver::prelude::*;

use support::{ANY, connect, in_background, read_all};

/// The address of a stopped server, which has closed a connection before its client did.
fn address_in_time_wait(builder: Builder<Tcp, Inline>) -> io::Result<Address> {
    let server = in_background(builder.bind_fn(ANY, |_| Ok(())));
    let address = server.server_address().clone();
    let client = connect(&address);
    assert_eq!(read_all(&client), "");
    drop(client);
    server.stop()?;
    Ok(address)
}

#[test]
fn a_restarted_server_can_bind_at_once() -> io::Result<()> {
    let address = address_in_time_wait(TcpServer::builder())?;
    let server = in_background(TcpServer::bind_fn(address.to_string(), |_| Ok(())));
    assert_eq!(*server.server_address(), address);
    server.stop()
}

#[test]
fn without_allow_reuse_address_the_error_names_the_option() -> io::Result<()> {
    let builder = || TcpServer::builder().allow_reuse_address(false);
    let address = address_in_time_wait(builder())?;
    let error = builder()
        .bind_fn(address.to_string(), |_| Ok(()))
        .expect_err("connections are in TIME_WAIT");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("allow_reuse_address(true)"), "{text}");
    Ok(())
}

/// Otherwise one of two servers that ask for a free port at the same time could fail.
#[test]
fn a_free_port_is_not_shared_before_the_server_listens() -> io::Result<()> {
    let mut server = TcpServer::builder().unbound_fn(ANY, |_| Ok(()))?;
    server.server_bind()?;
    let other = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    other.set_reuse_address(true)?;
    let address = server
        .server_address()
        .socket_addr()
        .expect("an IP address");
    let error = other.bind(&address.into()).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    server.server_activate()
}
