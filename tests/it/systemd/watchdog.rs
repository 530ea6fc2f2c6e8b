//! The watchdog is fed while the accept loop turns, and only then.

use std::io::{Read, Write};

use socketserver::prelude::*;
use support::child::in_child_with;
use support::example::{Example, TCP_KINDS, command};
use support::gate::Gate;
use support::systemd::{Manager, WATCHDOG, WATCHDOG_USEC};
use support::{ANY, connect_to, read_until, socket_path};

const FED: &str = "WATCHDOG=1";

fn echo_server(manager: &Manager, kind: &str, watchdog_pid: Option<&str>) -> Example {
    let mut command = command("echo_server", &["--server", kind, ANY]);
    command.env("NOTIFY_SOCKET", &manager.name);
    command.envs([WATCHDOG_USEC]);
    command.envs(watchdog_pid.map(|process| ("WATCHDOG_PID", process)));
    Example::launch(command)
}

#[test]
fn it_is_fed_again_and_again() {
    for kind in TCP_KINDS {
        let manager = Manager::new();
        let _server = echo_server(&manager, kind, None);
        assert!(manager.next().starts_with("READY=1"), "{kind}");
        for _ in 0..10 {
            assert_eq!(manager.next(), FED, "{kind}");
        }
    }
}

#[test]
fn it_is_not_fed_while_a_handler_holds_up_the_accept_loop() {
    let manager = Manager::new();
    let mut server = echo_server(&manager, "tcp", None);
    manager.wait_for(FED);
    let mut client = connect_to(&*server.address);
    client.write_all(b"x").expect("the server reads");
    client.read_exact(&mut [0]).expect("the handler runs");
    manager.wait_for_silence(WATCHDOG);
    let log = server.child.stderr.take().expect("the stream is piped");
    read_until(log, "its accept loop does not turn");
    drop(client);
    manager.wait_for(FED);
}

/// A group of two, one of which hangs in a hook.
#[test]
fn it_is_not_fed_if_one_of_several_servers_hangs() {
    struct Hangs(Gate);

    impl Hooks<DatagramRequest> for Hangs {
        fn verify_request(&self, _: &mut DatagramRequest) -> Result<bool, HandlerError> {
            self.0.hold("client")?;
            Ok(false)
        }
    }

    let (_folder, path) = socket_path();
    let environment = [
        ("NOTIFY_SOCKET", path.as_os_str()),
        (WATCHDOG_USEC.0, WATCHDOG_USEC.1.as_ref()),
    ];
    in_child_with(&environment, || {
        let manager = Manager::at_environment();
        let gate = Gate::default();
        let mut group = ServerGroup::new();
        let tcp = ThreadingTcpServer::bind_fn(ANY, |_| Ok(()));
        group.add(tcp.expect("a port is free"));
        let udp = UdpServer::builder().hooks(Hangs(gate.clone()));
        let udp = group.add(udp.bind_fn(ANY, |_| Ok(())).expect("a port is free"));
        group.notify_systemd().expect("there is a manager");
        let handle = group.handle();
        let serving = std::thread::spawn(move || group.serve_forever());
        manager.wait_for("READY=1");
        manager.wait_for(FED);
        let client = support::connect_udp(udp.server_address());
        client.send(b"x").expect("the server is bound");
        manager.wait_for_silence(WATCHDOG);
        gate.release(1);
        manager.wait_for(FED);
        handle.shutdown();
        support::join_soon(serving).expect("a shutdown is not an error");
    });
}

#[test]
fn a_server_that_is_not_served_is_not_watched() {
    let (_folder, path) = socket_path();
    let environment = [
        ("NOTIFY_SOCKET", path.as_os_str()),
        (WATCHDOG_USEC.0, WATCHDOG_USEC.1.as_ref()),
    ];
    in_child_with(&environment, || {
        let manager = Manager::at_environment();
        let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        server.notify_systemd().expect("there is a manager");
        manager.wait_for_silence(WATCHDOG);
        server.handle().stop_serving();
        server.serve_forever().expect("no error");
        for _ in 0..10 {
            manager.wait_for(FED);
        }
        drop(server);
        manager.wait_for_silence(WATCHDOG);
    });
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let _server = echo_server(&manager, "threading-tcp", Some("1"));
    manager.wait_for("READY=1");
    assert!(manager.next_within(2 * WATCHDOG).is_err());
}
