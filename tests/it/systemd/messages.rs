//! What a server reports to the service manager.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
#[cfg(feature = "fork")]
use nix::sys::signal::kill;
#[cfg(feature = "fork")]
use nix::unistd::Pid;
use socketserver::prelude::*;
use support::child::in_child_with;
use support::concurrent::ConcurrentTcpServer;
use support::example::{Example, command};
use support::gate::Gate;
#[cfg(feature = "fork")]
use support::process::children;
use support::process::threads_named;
use support::systemd::{Manager, WATCHDOG_USEC};
use support::{ANY, connect, connect_to, eventually, exchange, join_soon, read_until, socket_path};

const EXTEND: &str = "EXTEND_TIMEOUT_USEC=10000000";

/// A server that reports to the manager.
fn echo_server(manager: &Manager, arguments: &[&str]) -> Example {
    let mut command = command("echo_server", arguments);
    command.env("NOTIFY_SOCKET", &manager.name);
    Example::launch(command)
}

/// A client that keeps the handler busy, because it reads nothing.
fn deaf_client(address: &str) -> std::net::TcpStream {
    let mut client = connect_to(address);
    let short = Some(Duration::from_millis(300));
    client.set_write_timeout(short).expect("the timeout is set");
    let written = client.write_all(&vec![b'x'; 64 << 20]);
    written.expect_err("the server waits until its client reads");
    client
}

fn lines(message: &str) -> Vec<&str> {
    message.lines().collect()
}

#[test]
fn a_server_is_ready_then_stops_and_asks_for_time_while_it_drains() {
    let name = format!("socketserver-test-{}", std::process::id());
    for manager in [Manager::new(), Manager::with_abstract_name(&name)] {
        let server = echo_server(&manager, &[ANY]);
        let status = format!("STATUS=serving on tcp {}", server.address);
        assert_eq!(lines(&manager.next()), ["READY=1", &status]);
        let client = deaf_client(&server.address);
        assert_eq!(manager.arrived(), [""; 0], "nothing happens");
        server.signal(Signal::SIGTERM);
        let running = "STATUS=shutting down; running requests: 1";
        assert_eq!(lines(&manager.next()), ["STOPPING=1", EXTEND, running]);
        for _ in 0..2 {
            assert_eq!(lines(&manager.next()), ["STOPPING=1", EXTEND, running]);
        }
        drop(client);
        assert!(server.finish().0.success());
    }
}

#[test]
fn nothing_is_asked_for_after_the_time_of_the_shutdown() {
    let (_folder, path) = socket_path();
    // Without threads: the accept loop is in the handler, and the server is not closed.
    in_child_with(&[("NOTIFY_SOCKET", path.as_os_str())], || {
        let manager = Manager::at_environment();
        let gate = Gate::default();
        let opened = gate.clone();
        let server = TcpServer::builder()
            .shutdown_timeout(Duration::from_millis(100))
            .bind_fn(ANY, move |request| {
                writeln!(request.wfile, "begun")?;
                request.wfile.flush()?;
                opened.hold("client")
            })
            .expect("a port is free");
        server.notify_systemd().expect("there is a manager");
        let server = server.serve_in_background().expect("a thread starts");
        let client = connect(server.server_address());
        assert_eq!(exchange(client, ""), "begun\n");
        manager.wait_for("READY=1");
        server.handle().shutdown();
        manager.wait_for("STOPPING=1");
        // Longer than the time until the next message.
        thread::sleep(Duration::from_secs(4));
        assert_eq!(manager.arrived(), [""; 0]);
        gate.release(1);
        // It may say that the handler has not ended in time.
        let _ = server.join();
    });
}

#[test]
fn nothing_happens_without_a_manager() {
    let plain = Example::start("echo_server", &["--server", "tcp", ANY]);
    assert_eq!(threads_named(plain.pid(), "timer"), 0);
    let manager = Manager::new();
    let mut command = command("echo_server", &["--server", "tcp", ANY]);
    command.env("NOTIFY_SOCKET", &manager.name);
    let watched = Example::launch({
        command.envs([WATCHDOG_USEC]);
        command
    });
    assert_eq!(
        threads_named(watched.pid(), "timer"),
        1,
        "it feeds the watchdog"
    );
}

#[test]
fn a_manager_that_is_gone_is_logged_once() {
    let (_folder, path) = socket_path();
    let mut command = command("echo_server", &[ANY]);
    command.env("NOTIFY_SOCKET", path);
    let server = Example::launch(command);
    let client = connect_to(&*server.address);
    assert_eq!(exchange(client, "hello\n"), "hello\n");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    let text = "cannot send to the service manager";
    assert_eq!(log.matches(text).count(), 1, "{log}");
}

/// The server serves and stops as without one.
#[test]
fn a_manager_that_does_not_read_holds_up_nothing() {
    let manager = Manager::new();
    let mut command = command("echo_server", &[ANY]);
    command.env("NOTIFY_SOCKET", &manager.name);
    // A message each millisecond, until the queue is full.
    command.env("WATCHDOG_USEC", "8000");
    let mut server = Example::launch(command);
    let mut log = server.child.stderr.take().expect("the stream is piped");
    read_until(&mut log, "cannot send to the service manager");
    server.child.stderr = Some(log);
    let client = connect_to(&*server.address);
    assert_eq!(exchange(client, "hello\n"), "hello\n");
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

#[test]
fn a_name_that_is_none_is_an_error() {
    let environment = [("NOTIFY_SOCKET", OsStr::new("vsock:2:1"))];
    in_child_with(&environment, || {
        let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        let error = server.notify_systemd().expect_err("it is no address");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("vsock:2:1"), "{error}");
    });
}

#[cfg(feature = "fork")]
#[test]
fn a_child_of_a_forking_server_reports_nothing() {
    let manager = Manager::new();
    let server = echo_server(&manager, &["--server", "forking-tcp", ANY]);
    manager.wait_for("READY=1");
    let mut idle = connect_to(&*server.address);
    idle.write_all(b"x").expect("the server reads");
    idle.read_exact(&mut [0]).expect("the child answers");
    let child = children(server.pid())[0].try_into().expect("a pid");
    idle.set_nonblocking(true).expect("the option is set");
    // In the child the signal begins a shutdown. It must interrupt a system call.
    eventually("the child ends", || {
        let _ = kill(Pid::from_raw(child), Signal::SIGTERM);
        idle.read(&mut [0]).is_ok_and(|length| length == 0)
    });
    assert_eq!(manager.arrived(), [""; 0]);
    server.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
}

#[test]
fn a_group_is_ready_when_all_its_servers_serve() {
    let (_folder, path) = socket_path();
    in_child_with(&[("NOTIFY_SOCKET", path.as_os_str())], || {
        let manager = Manager::at_environment();
        let mut group = ServerGroup::new();
        let builder = ConcurrentTcpServer::builder().name("a\nSTOPPING=1");
        group.add(builder.bind_fn(ANY, |_| Ok(())).expect("a port is free"));
        let builder = UdpServer::builder().name("b");
        group.add(builder.bind_fn(ANY, |_| Ok(())).expect("a port is free"));
        group.notify_systemd().expect("there is a manager");
        assert_eq!(manager.arrived(), [""; 0], "none serves");
        let handle = group.handle();
        let serving = thread::spawn(move || group.serve_forever());
        let status = "STATUS=serving on a\\nSTOPPING=1, b";
        assert_eq!(lines(&manager.next()), ["READY=1", status]);
        handle.shutdown();
        assert_eq!(lines(&manager.next())[0], "STOPPING=1");
        join_soon(serving).expect("a shutdown is not an error");
        assert_eq!(manager.arrived(), [""; 0]);
    });
}

#[test]
fn the_service_stops_when_the_last_of_its_servers_does() {
    let (_folder, path) = socket_path();
    in_child_with(&[("NOTIFY_SOCKET", path.as_os_str())], || {
        let manager = Manager::at_environment();
        let servers = [(); 2].map(|()| {
            let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
            server.notify_systemd().expect("there is a manager");
            server
        });
        let mut served =
            servers.map(|server| server.serve_in_background().expect("a thread starts"));
        manager.wait_for("READY=1");
        let [first, second] = &mut served;
        first.handle().shutdown();
        first.handle().wait();
        assert_eq!(manager.arrived(), [""; 0], "the second serves");
        second.handle().shutdown();
        manager.wait_for("STOPPING=1");
    });
}

/// A program that serves again was ready before.
#[test]
fn a_server_is_ready_once() {
    let (_folder, path) = socket_path();
    in_child_with(&[("NOTIFY_SOCKET", path.as_os_str())], || {
        let manager = Manager::at_environment();
        let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        server.notify_systemd().expect("there is a manager");
        for _ in 0..2 {
            server.handle().stop_serving();
            server.serve_forever().expect("no error");
        }
        drop(server);
        let messages = manager.arrived();
        let kinds: Vec<_> = messages.iter().map(|text| lines(text)[0]).collect();
        assert_eq!(kinds, ["READY=1", "STOPPING=1"]);
    });
}

#[test]
fn a_server_that_was_not_registered_reports_nothing() {
    let (_folder, path) = socket_path();
    in_child_with(&[("NOTIFY_SOCKET", path.as_os_str())], || {
        let manager = Manager::at_environment();
        let server = || TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        let registered = server();
        registered.notify_systemd().expect("there is a manager");
        drop(registered);
        manager.wait_for("STOPPING=1");
        let other = server();
        other.handle().stop_serving();
        other.serve_forever().expect("no error");
        drop(other);
        assert_eq!(manager.arrived(), [""; 0]);
    });
}

/// While it drains, the time limit of the shutdown applies instead of the watchdog.
#[test]
fn the_watchdog_is_fed_while_a_server_without_threads_drains() {
    let manager = Manager::new();
    let mut command = command("echo_server", &["--server", "tcp", ANY]);
    command
        .env("NOTIFY_SOCKET", &manager.name)
        .envs([WATCHDOG_USEC]);
    let server = Example::launch(command);
    manager.wait_for("WATCHDOG=1");
    let client = deaf_client(&server.address);
    server.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    drop(client);
    let mut server = server;
    eventually("the server ends", || !server.is_running());
}
