//! The names of servers in log lines.

use std::io;

use log::Level;
use socketserver::prelude::*;

use support::concurrent::ConcurrentTcpServer;
use support::logs::Logs;
use support::{ANY, connect, eventually, read_all, socket_path};

fn fail<R>(_: &mut R) -> HandlerResult {
    Err("requested by the test".into())
}

#[test]
fn the_default_name_is_the_kind_and_the_address() -> io::Result<()> {
    let tcp = TcpServer::bind_fn(ANY, |_| Ok(()))?;
    let address = tcp.server_address();
    assert_eq!(tcp.handle().name(), format!("tcp {address}"));
    let udp = UdpServer::bind_fn(address, |_| Ok(()))?;
    assert_eq!(udp.handle().name(), format!("udp {address}"));
    let (_folder, path) = socket_path();
    let name = format!("unix {}", path.display());
    let unix = UnixStreamServer::bind_fn(&path, |_| Ok(()))?;
    assert_eq!(unix.handle().name(), name);
    let datagram = path.with_extension("dgram");
    let name = format!("unix datagram {}", datagram.display());
    let unix = UnixDatagramServer::bind_fn(&datagram, |_| Ok(()))?;
    assert_eq!(unix.handle().name(), name);
    Ok(())
}

#[test]
fn log_lines_have_the_name() -> io::Result<()> {
    let logs = Logs::from_here();
    let builder = ConcurrentTcpServer::builder().name("front-17");
    let server = builder.bind_fn(ANY, fail)?.serve_in_background()?;
    let client = connect(server.server_address());
    let from = client.local_addr()?;
    assert_eq!(read_all(client), "");
    server.stop()?;
    let lines = logs.with("front-17");
    let has = |text: &str| lines.iter().any(|(_, line)| line.ends_with(text));
    assert!(has("serving on front-17"), "{lines:?}");
    assert!(has("stopped serving on front-17"), "{lines:?}");
    let error = format!("front-17: request 1 from {from}: handle failed: requested by the test");
    assert!(has(&error), "{lines:?}");
    Ok(())
}

/// Two servers on one port number count their requests each, and their lines can be told apart.
#[test]
fn requests_of_a_group_have_the_name_in_front() -> io::Result<()> {
    let logs = Logs::from_here();
    let (tcp, udp) = ServerGroup::same_port(
        || ConcurrentTcpServer::bind_fn(ANY, fail),
        |address| UdpServer::bind_fn(address, fail),
    )?;
    let address = tcp.server_address().clone();
    let mut group = ServerGroup::new();
    group.add(tcp);
    group.add(udp);
    let handle = group.handle();
    let serving = std::thread::spawn(move || group.serve_forever());
    assert_eq!(read_all(connect(&address)), "");
    support::connect_udp(&address).send(b"hello")?;
    eventually("both have failed", || handle.statistics().failed == 2);
    handle.shutdown();
    support::join_soon(serving)?;
    let lines = logs.with(&address.to_string());
    for name in [format!("tcp {address}"), format!("udp {address}")] {
        let begin = format!("socketserver::handler: {name}: request 1 from ");
        let is_error = |line: &&(Level, String)| line.1.starts_with(&begin);
        assert_eq!(lines.iter().filter(is_error).count(), 1, "{lines:?}");
    }
    Ok(())
}

#[test]
fn a_single_server_writes_no_name_in_front_of_requests() -> io::Result<()> {
    let logs = Logs::from_here();
    let server = ConcurrentTcpServer::bind_fn(ANY, fail)?.serve_in_background()?;
    let client = connect(server.server_address());
    let from = client.local_addr()?.to_string();
    assert_eq!(read_all(client), "");
    server.stop()?;
    let begin = "socketserver::handler: request 1 from ";
    let lines = logs.with(&from);
    assert!(
        lines.iter().any(|(_, line)| line.starts_with(begin)),
        "{lines:?}"
    );
    Ok(())
}
