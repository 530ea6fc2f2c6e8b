//! Programs that the real `systemd-socket-activate` starts with their sockets.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use socketserver::listener::{Tcp, Udp, UnixDatagram as UnixDatagrams};
use socketserver::prelude::*;
use socketserver::systemd;

use support::child::{command_of, in_child, is_child};
use support::example::{Example, TCP_KINDS, command, path, with_default_signals};
use support::systemd::{Manager, activate, free_address};
use support::{ANY, LONG, connect_to, exchange, read_all, read_until, socket_path};

const UNIX_KINDS: &[&str] = &[
    "unix-stream",
    "threading-unix-stream",
    #[cfg(feature = "green")]
    "green-unix-stream",
    #[cfg(feature = "fork")]
    "forking-unix-stream",
];

fn ip_address() -> Vec<String> {
    vec![free_address()]
}

/// Ends the server. It must end as it does without systemd.
fn end(server: Example) {
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
}

#[test]
fn each_kind_of_tcp_server_takes_its_socket() {
    for kind in TCP_KINDS {
        let echo = command("echo_server", &["--server", kind, "systemd:echo"]);
        let (child, addresses) = activate(&["--fdname=echo"], ip_address, &echo);
        let client = connect_to(&*addresses[0]);
        let server = Example::of(child);
        assert_eq!(server.address, addresses[0], "{kind}");
        assert_eq!(exchange(client, "hello\n"), "hello\n", "{kind}");
        assert_eq!(exchange(connect_to(&*addresses[0]), "more\n"), "more\n");
        end(server);
    }
}

#[test]
fn each_kind_of_unix_server_takes_its_socket_and_leaves_the_path() {
    for kind in UNIX_KINDS {
        let (_folder, path) = socket_path();
        let address = || vec![path.to_string_lossy().into_owned()];
        let echo = command("echo_server", &["--server", kind, "systemd"]);
        let (child, _) = activate(&[], address, &echo);
        let client = UnixStream::connect(&path).expect("systemd listens");
        let set = client.set_read_timeout(Some(LONG));
        set.expect("the timeout is set");
        let server = Example::of(child);
        assert_eq!(exchange(client, "hello\n"), "hello\n", "{kind}");
        end(server);
        assert!(path.exists(), "the path is that of systemd");
    }
}

#[test]
fn a_udp_server_takes_its_socket() {
    for options in [
        &["systemd:dns"][..],
        &["--threading", "systemd"],
        #[cfg(feature = "green")]
        &["--green", "systemd"],
    ] {
        let echo = command("udp_echo_server", options);
        let (child, addresses) = activate(&["-d", "--fdname=dns"], ip_address, &echo);
        let client = UdpSocket::bind(ANY).expect("a port is free");
        client
            .set_read_timeout(Some(LONG))
            .expect("the timeout is set");
        client.connect(&addresses[0]).expect("it is an address");
        // The one that starts the server is answered too.
        client.send(b"first").expect("systemd has the socket");
        let server = Example::of(child);
        let mut buffer = [0; 100];
        let length = client.recv(&mut buffer).expect("the server answers");
        assert_eq!(&buffer[..length], b"first", "{options:?}");
        end(server);
    }
}

#[test]
fn a_unix_datagram_server_takes_its_socket() {
    let body = || {
        let socket = systemd::socket::<UnixDatagrams>("log").expect("systemd has it");
        let server = UnixDatagramServer::builder().adopt_fn(socket, |request| {
            request.server.shutdown();
            let answer = request.packet.to_ascii_uppercase();
            Ok(request.reply(&answer).map(drop)?)
        });
        server
            .expect("it is bound")
            .serve_forever()
            .expect("no error");
    };
    if is_child() {
        return body();
    }
    let (folder, path) = socket_path();
    let address = || vec![path.to_string_lossy().into_owned()];
    let (child, _) = activate(&["-d", "--fdname=log"], address, &command_of(&body));
    let client = UnixDatagram::bind(folder.path().join("client")).expect("the folder is writable");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    client
        .send_to(b"hello", &path)
        .expect("systemd has the socket");
    let mut buffer = [0; 100];
    let length = client.recv(&mut buffer).expect("the server answers");
    assert_eq!(&buffer[..length], b"HELLO");
    passed(child);
}

/// The test in the child process has passed.
fn passed(child: Child) {
    let output = child.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{log}");
    assert!(stdout.contains("running 1 test\n"), "{stdout}");
}

#[test]
fn of_several_sockets_the_name_selects_one() {
    let (_folder, path) = socket_path();
    let path = path.to_str().expect("the path is UTF-8");
    let addresses = || vec![free_address(), path.to_owned()];
    let options = ["--server", "unix-stream", "systemd:local"];
    let echo = command("echo_server", &options);
    let (child, addresses) = activate(&["--fdname=public:local"], addresses, &echo);
    let _waiting = connect_to(&*addresses[0]);
    let server = Example::of(child);
    assert_eq!(server.address, path);
    let client = UnixStream::connect(path).expect("the server listens");
    assert_eq!(exchange(client, "hello\n"), "hello\n");
    end(server);
}

/// A program that starts with this socket as its first one, as a service manager starts it.
fn start_with(socket: &TcpListener, manager: &Manager) -> Example {
    let socket = socket.try_clone().expect("a descriptor is free");
    let mut shell = Command::new("sh");
    let script =
        "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin exec \"$0\" systemd:web 3<&0 4<&0";
    shell.args(["-c", script]).arg(path("echo_server"));
    shell.env("NOTIFY_SOCKET", &manager.name);
    shell.stdin(OwnedFd::from(socket));
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    with_default_signals(&mut shell);
    Example::of(shell.spawn().expect("the shell can be started"))
}

#[test]
fn clients_wait_in_the_socket_while_the_server_is_replaced() {
    let socket = TcpListener::bind(ANY).expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    let manager = Manager::new();
    for _ in 0..3 {
        let waiting = connect_to(address);
        let server = start_with(&socket, &manager);
        assert_eq!(exchange(waiting, "hello\n"), "hello\n");
        server.signal(Signal::SIGTERM);
        let (status, _, log) = server.finish();
        assert!(status.success(), "{log}");
        let text = "no server has taken these sockets of the service manager, and their clients wait: admin";
        assert!(log.contains(text), "{log}");
    }
}

/// What programs see that this one starts.
fn sockets_of_a_child() -> usize {
    let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output();
    let output = output.expect("ls can be started").stdout;
    String::from_utf8_lossy(&output).matches("socket:").count()
}

#[test]
fn sockets_come_in_their_order_and_no_program_inherits_them() {
    let body = || {
        assert!(sockets_of_a_child() >= 2, "nothing was asked for yet");
        let first = systemd::socket::<Tcp>(None).expect("systemd has it");
        assert_eq!(sockets_of_a_child(), 0);
        let server = TcpServer::builder().adopt_fn(first, |_| Ok(()));
        let second = systemd::socket::<Tcp>(None).expect("systemd has it");
        let other = TcpServer::builder().adopt_fn(second, |_| Ok(()));
        let [server, other] = [server, other].map(|server| server.expect("it listens"));
        println!("{} {}.", server.server_address(), other.server_address());
        let error = systemd::socket::<Tcp>(None).expect_err("there were two");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = "the socket from the service manager is missing: LISTEN_FDS is \"2\", and no such descriptor is open or left";
        assert_eq!(error.to_string(), text);
    };
    if is_child() {
        return body();
    }
    let addresses = || vec![free_address(), free_address()];
    let (mut child, addresses) = activate(&[], addresses, &command_of(&body));
    let _client = connect_to(&*addresses[0]);
    let stdout = read_all(child.stdout.take().expect("the stream is piped"));
    assert!(stdout.contains(&addresses.join(" ")), "{stdout}");
    assert!(child.wait().expect("it ends").success(), "{stdout}");
}

/// What the program says that gets the wrong sockets.
fn error_of(options: &[&str], arguments: &[&str], connect: impl Fn(&str)) -> String {
    let echo = command(arguments[0], &arguments[1..]);
    let (mut child, addresses) = activate(options, ip_address, &echo);
    connect(&addresses[0]);
    let log = read_all(child.stderr.take().expect("the stream is piped"));
    assert!(!child.wait().expect("it ends").success(), "{log}");
    log
}

fn connect_tcp(address: &str) {
    let _ = TcpStream::connect(address).expect("systemd listens");
}

fn send_udp(address: &str) {
    let socket = UdpSocket::bind(ANY).expect("a port is free");
    socket
        .send_to(b"x", address)
        .expect("systemd has the socket");
}

#[test]
fn a_socket_of_the_wrong_type_is_named_with_both_types() {
    let log = error_of(
        &["-d", "--fdname=web"],
        &["echo_server", "systemd:web"],
        send_udp,
    );
    assert!(log.contains("\"web\""), "{log}");
    let types = "is an IP datagram socket, not an IP stream socket";
    assert!(log.contains(types), "{log}");
    let log = error_of(&[], &["udp_echo_server", "systemd"], connect_tcp);
    let types = "is an IP stream socket, not an IP datagram socket";
    assert!(log.contains(types), "{log}");
    let unix = ["echo_server", "--server", "unix-stream", "systemd"];
    let log = error_of(&[], &unix, connect_tcp);
    let types = "is an IP stream socket, not a Unix stream socket";
    assert!(log.contains(types), "{log}");
}

#[test]
fn a_name_that_is_missing_is_named_with_those_that_are_there() {
    let options = ["--fdname=web"];
    let log = error_of(&options, &["echo_server", "systemd:admin"], connect_tcp);
    let text = "the socket \"admin\" from the service manager is missing: the sockets have the names [\"web\"]";
    assert!(log.contains(text), "{log}");
}

/// `Accept=yes` in a unit.
#[test]
fn a_connection_is_not_a_socket_for_a_server() {
    let echo = command("echo_server", &["systemd"]);
    let (mut child, addresses) = activate(&["--accept"], ip_address, &echo);
    let _client = connect_to(&*addresses[0]);
    // The program ends. Its parent goes on listening.
    let log = read_until(child.stderr.take().expect("the stream is piped"), " died ");
    child.kill().expect("it runs");
    let _ = child.wait();
    assert!(
        log.contains("is the connection of one client (Accept=yes"),
        "{log}"
    );
}

#[test]
fn without_a_service_manager_the_error_says_what_is_missing() {
    let other = [("LISTEN_PID", "1"), ("LISTEN_FDS", "1")];
    for (environment, text) in [
        (&[][..], "LISTEN_PID is not set"),
        (&other[..1], "LISTEN_FDS is not set"),
        (&other, "LISTEN_PID is \"1\", and this is process "),
    ] {
        let mut echo = command("echo_server", &["systemd"]);
        echo.env_remove("LISTEN_PID").env_remove("LISTEN_FDS");
        let output = echo.envs(environment.iter().copied()).output();
        let output = output.expect("the program can be started");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && log.contains(text), "{log}");
    }
}

#[test]
fn a_listener_of_a_descriptor_is_checked_when_it_is_adopted() {
    in_child(|| {
        let socket = TcpListener::bind(ANY).expect("a port is free");
        let listener = Udp::from(OwnedFd::from(socket));
        let error = UdpServer::builder().adopt_fn(listener, |_| Ok(()));
        let error = error.expect_err("it is a stream socket");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
