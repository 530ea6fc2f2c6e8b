//! The address of a server that has stopped listening. A TCP port stays reserved, and a Unix
//! socket's path is renamed and later renamed back. If neither is possible, new clients wait.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;

use support::concurrent::ConcurrentTcpServer;
use support::kind::{self, Client, Kind, echo_message};
use support::logs::Logs;
use support::{
    ANY, LONG, connect, connect_unix, entries, eventually, exchange, in_background, socket_path,
    stale_socket,
};

fn serve_at(place: &str) -> BackgroundServer {
    in_background(ConcurrentTcpServer::bind_fn(place, echo_message))
}

fn serve_path(path: &Path) -> BackgroundServer {
    in_background(UnixStreamServer::bind_fn(path, echo_message))
}

fn moved(path: &Path) -> PathBuf {
    path.with_file_name("socket.closed")
}

fn stop_listening_at(server: &ServerHandle, path: &Path) {
    server.stop_listening();
    eventually("the path is renamed", || {
        moved(path).exists() && !path.exists()
    });
}

fn the_port_stays_reserved(place: &str) {
    let server = serve_at(place);
    let _running = connect(server.server_address());
    let address = server.server_address().clone();
    for _ in 0..3 {
        server.handle().stop_listening();
        eventually("clients are refused", || {
            std::net::TcpStream::connect(&address).is_err()
        });
        let other = TcpListener::bind(&address).map_err(|e| e.kind());
        assert_eq!(other.err(), Some(ErrorKind::AddrInUse));
        server.handle().resume();
        eventually("clients are accepted", || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        assert_eq!(exchange(connect(&address), "back\n"), "back\n");
    }
}

#[test]
fn a_port_chosen_by_the_system_stays_reserved() {
    the_port_stays_reserved(ANY);
    the_port_stays_reserved("[::1]:0");
}

#[test]
fn a_given_port_stays_reserved() {
    let free = TcpListener::bind(ANY).and_then(|socket| socket.local_addr());
    the_port_stays_reserved(&free.expect("a port is free").to_string());
}

#[test]
fn resume_waits_while_another_server_uses_the_path() {
    let logs = Logs::from_here();
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    let other = serve_path(&path);
    server.handle().resume();
    let warning = format!("cannot accept on unix {}", path.display());
    eventually("the log reports why the server cannot resume", || {
        !logs.with(&warning).is_empty()
    });
    let client = connect_unix(server.server_address());
    assert_eq!(exchange(client, "other\n"), "other\n");
    assert!(other.handle().statistics().bytes_in > 0);
    other.stop().expect("serving ends without an error");
    eventually("the original path exists again", || path.exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
    assert!(!moved(&path).exists());
}

#[test]
fn a_stale_socket_at_the_path_is_replaced() {
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    stale_socket(&path, true);
    server.handle().resume();
    eventually("the original path exists again", || !moved(&path).exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
}

#[test]
fn a_file_at_the_path_is_not_overwritten() {
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    fs::write(&path, "file content").expect("the temporary folder is writable");
    server.handle().resume();
    thread::sleep(Duration::from_millis(50));
    server.stop().expect("serving ends without an error");
    assert_eq!(
        fs::read_to_string(&path).expect("the file exists"),
        "file content"
    );
    assert!(!moved(&path).exists());
}

#[test]
fn a_stale_socket_at_the_temporary_path_is_replaced() {
    let (_folder, path) = socket_path();
    stale_socket(&moved(&path), true);
    let server = serve_path(&path);
    server.handle().stop_listening();
    eventually("the path is renamed", || !path.exists());
    server.handle().resume();
    eventually("the original path exists again", || path.exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
}

#[test]
fn clients_wait_if_the_temporary_path_is_in_use() {
    let (_folder, path) = socket_path();
    let other = UnixListener::bind(moved(&path)).expect("the path is free");
    let server = serve_path(&path);
    clients_wait(&server.handle(), &path.display().to_string(), |address| {
        kind::Stream(std::io::BufReader::new(connect_unix(address)))
    });
    drop(server);
    assert!(moved(&path).exists());
    drop(other);
}

#[test]
fn close_while_not_listening_removes_both_paths() {
    let (folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    let successor = serve_path(&path);
    server.stop().expect("serving ends without an error");
    assert!(!moved(&path).exists());
    assert_eq!(
        exchange(connect_unix(successor.server_address()), "me\n"),
        "me\n"
    );
    drop(successor);
    assert_eq!(entries(folder.path()), 0);
}

#[test]
fn the_sockets_mode_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640))
        .expect("the temporary folder is writable");
    stop_listening_at(&server.handle(), &path);
    server.handle().resume();
    eventually("the original path exists again", || path.exists());
    let mode = fs::metadata(&path)
        .expect("the path exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// Checks that a client that cannot be refused is served after `resume`, and that the log reports
/// it.
fn clients_wait<C: Client>(server: &ServerHandle, name: &str, connect: impl Fn(&Address) -> C) {
    let logs = Logs::from_here();
    server.stop_listening();
    let warning = format!("{name}: paused; new clients wait, because they cannot be refused");
    eventually("the log reports that clients wait", || {
        !logs.with(&warning).is_empty()
    });
    assert!(server.is_paused());
    let mut client = connect(server.server_address());
    client.send_line("waiting");
    thread::sleep(Duration::from_millis(20));
    assert_eq!(server.statistics().accepted, 0);
    server.resume();
    assert_eq!(client.receive_line(), "waiting");
    assert_eq!(logs.with(&warning).len(), 1);
}

#[test]
fn clients_of_an_adopted_socket_wait() {
    let socket = TcpListener::bind(ANY).expect("a port is free");
    let server =
        in_background(TcpServer::builder().adopt_fn(socket, echo_message::<StreamRequest>));
    let name = server.server_address().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::Tcp::connect,
    );
}

#[test]
fn udp_clients_wait() {
    let server = in_background(UdpServer::bind_fn(ANY, echo_message));
    let name = server.server_address().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::Udp::connect,
    );
}

#[test]
fn clients_of_a_unix_datagram_socket_wait() {
    let (_folder, path) = socket_path();
    let server = in_background(UnixDatagramServer::bind_fn(&path, echo_message));
    let name = path.display().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::UnixDatagram::connect,
    );
}

#[cfg(target_os = "linux")]
#[test]
fn clients_of_an_abstract_address_wait() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let name = format!("paused-{}", std::process::id());
    let server = in_background(UnixStreamServer::bind_fn(format!("\0{name}"), echo_message));
    clients_wait(&server.handle(), &format!("@{name}"), |_| {
        let address = SocketAddr::from_abstract_name(&name).expect("the length fits");
        let client = UnixStream::connect_addr(&address).expect("the server listens");
        client
            .set_read_timeout(Some(LONG))
            .expect("the option is set");
        kind::Stream(std::io::BufReader::new(client))
    });
}

#[test]
fn resume_right_after_stop_listening_is_not_lost() {
    let server = in_background(UdpServer::bind_fn(ANY, echo_message));
    for _ in 0..200 {
        server.handle().stop_listening();
        // The acceptor finds out that datagrams cannot be refused.
        thread::yield_now();
        server.handle().resume();
        assert!(!server.handle().is_paused());
    }
    thread::sleep(Duration::from_millis(20));
    assert!(!server.handle().is_paused());
}
