//! The address of a server that has stopped listening: a TCP port stays reserved, a Unix
//! socket's path is moved aside and back; where neither can be done, clients wait.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;

use support::kind::{self, Client, Kind, Talk};
use support::logs::Logs;
use support::{
    ANY, LONG, connect, connect_unix, entries, eventually, exchange, in_background, socket_path,
    stale_socket,
};

fn echo<R: Talk>(request: &mut R) -> HandlerResult {
    let question = request.question()?;
    Ok(request.answer(&question)?)
}

fn serve_at(place: &str) -> BackgroundServer {
    in_background(ThreadingTcpServer::bind_fn(place, echo))
}

fn serve_path(path: &Path) -> BackgroundServer {
    in_background(UnixStreamServer::bind_fn(path, echo))
}

fn moved(path: &Path) -> PathBuf {
    path.with_file_name("socket.closed")
}

fn stop_listening_at(server: &ServerHandle, path: &Path) {
    server.stop_listening();
    eventually("the path is moved", || {
        moved(path).exists() && !path.exists()
    });
}

fn the_port_stays(place: &str) {
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
fn a_port_that_the_system_chose_stays_reserved() {
    the_port_stays(ANY);
    the_port_stays("[::1]:0");
}

#[test]
fn a_port_that_was_given_stays_reserved() {
    let free = TcpListener::bind(ANY).and_then(|socket| socket.local_addr());
    the_port_stays(&free.expect("a port is free").to_string());
}

#[test]
fn a_path_that_another_server_took_is_left_to_it_until_it_closes() {
    let logs = Logs::from_here();
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    let other = serve_path(&path);
    server.handle().resume();
    let complaint = format!("cannot accept on {}", path.display());
    eventually("it logs why it cannot resume", || {
        !logs.with(&complaint).is_empty()
    });
    let client = connect_unix(server.server_address());
    assert_eq!(exchange(client, "other\n"), "other\n");
    assert!(other.handle().statistics().bytes_in > 0);
    other.stop().expect("it was served well");
    eventually("the path is back", || path.exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
    assert!(!moved(&path).exists());
}

#[test]
fn a_stale_socket_that_took_the_path_is_replaced() {
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    stale_socket(&path, true);
    server.handle().resume();
    eventually("the path is back", || !moved(&path).exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
}

#[test]
fn a_file_that_took_the_path_is_not_harmed() {
    let (_folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    fs::write(&path, "precious").expect("the folder is ours");
    server.handle().resume();
    thread::sleep(Duration::from_millis(50));
    server.stop().expect("it was served well");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
    assert!(!moved(&path).exists());
}

#[test]
fn a_stale_socket_at_the_moved_path_is_replaced() {
    let (_folder, path) = socket_path();
    stale_socket(&moved(&path), true);
    let server = serve_path(&path);
    server.handle().stop_listening();
    eventually("the path is moved", || !path.exists());
    server.handle().resume();
    eventually("the path is back", || path.exists());
    assert_eq!(
        exchange(connect_unix(server.server_address()), "me\n"),
        "me\n"
    );
}

#[test]
fn a_socket_in_use_at_the_moved_path_is_kept_and_clients_wait() {
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
fn nothing_is_left_when_it_is_closed_while_it_does_not_listen() {
    let (folder, path) = socket_path();
    let server = serve_path(&path);
    stop_listening_at(&server.handle(), &path);
    let successor = serve_path(&path);
    server.stop().expect("it was served well");
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
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
    stop_listening_at(&server.handle(), &path);
    server.handle().resume();
    eventually("the path is back", || path.exists());
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// A client that cannot be refused is served after `resume`, and the log says so.
fn clients_wait<C: Client>(server: &ServerHandle, name: &str, connect: impl Fn(&Address) -> C) {
    let logs = Logs::from_here();
    server.stop_listening();
    let warning = format!("{name}: paused; new clients wait, because they cannot be refused");
    eventually("it logs that clients wait", || {
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
    let server = in_background(TcpServer::builder().adopt_fn(socket, echo::<StreamRequest>));
    let name = server.server_address().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::Tcp::connect,
    );
}

#[test]
fn udp_clients_wait() {
    let server = in_background(UdpServer::bind_fn(ANY, echo));
    let name = server.server_address().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::Udp::connect,
    );
}

#[test]
fn clients_of_unix_datagrams_wait() {
    let (_folder, path) = socket_path();
    let server = in_background(UnixDatagramServer::bind_fn(&path, echo));
    let name = path.display().to_string();
    clients_wait(
        &server.handle(),
        &name,
        socketserver::listener::UnixDatagram::connect,
    );
}

#[cfg(target_os = "linux")]
#[test]
fn clients_of_an_abstract_name_wait() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let name = format!("paused-{}", std::process::id());
    let server = in_background(UnixStreamServer::bind_fn(format!("\0{name}"), echo));
    clients_wait(&server.handle(), &format!("@{name}"), |_| {
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let client = UnixStream::connect_addr(&address).expect("the server listens");
        client.set_read_timeout(Some(LONG)).expect("it can be set");
        kind::Stream(std::io::BufReader::new(client))
    });
}

#[test]
fn a_resume_right_after_it_is_not_lost() {
    let server = in_background(UdpServer::bind_fn(ANY, echo));
    for _ in 0..200 {
        server.handle().stop_listening();
        // The serving thread notices that datagrams cannot be refused.
        thread::yield_now();
        server.handle().resume();
        assert!(!server.handle().is_paused());
    }
    thread::sleep(Duration::from_millis(20));
    assert!(!server.handle().is_paused());
}
