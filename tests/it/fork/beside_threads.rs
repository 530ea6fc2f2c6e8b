//! Forking servers in a process with threads. Each test runs in a separate process, because a
//! forked child has copies of the sockets of all tests in its process.
#![cfg(feature = "fork")]

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use socketserver::dispatch::Fork;
use socketserver::prelude::*;
use socketserver::{Address, Stage};

use support::child::in_child;
use support::{
    ANY, connect, connect_udp, connect_unix, connect_unix_datagram, eventually, exchange,
    in_background, read_all, socket_folder,
};

/// The test harness has threads. The forked children use no lock except the allocator's.
#[allow(unsafe_code)]
fn beside_threads() -> Fork {
    // SAFETY: the handlers below log nothing and share nothing with other threads.
    unsafe { Fork::new().beside_threads() }
}

fn pid(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(100)?;
    request.wfile.write_all(&line)?;
    Ok(writeln!(request.wfile, "{}", std::process::id())?)
}

#[test]
fn a_process_with_threads_is_not_forked() {
    in_child(|| {
        use std::sync::mpsc;

        struct ReportErrors(mpsc::Sender<(Stage, String)>);

        impl Hooks for ReportErrors {
            fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
                let reports = self.0.send((error.stage(), error.to_string()));
                reports.expect("the test receives it");
            }
        }

        let (reporter, reports) = mpsc::channel();
        let server = ForkingTcpServer::builder()
            .hooks(ReportErrors(reporter))
            .bind_fn(ANY, pid);
        let server = in_background(server);
        assert_eq!(read_all(connect(server.server_address())), "");
        let (stage, text) = reports
            .recv_timeout(support::LONG)
            .expect("the error is reported");
        assert_eq!(stage, Stage::Dispatch);
        assert!(text.contains("cannot fork: this process has"), "{text}");
        eventually("the error is counted", || {
            server.handle().statistics().rejected.dispatch == 1
        });
        assert_eq!(server.handle().statistics().accepted, 1);
    })
}

#[test]
fn tcp() {
    in_child(|| {
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, pid);
        let server = in_background(server);
        let mut client = connect(server.server_address());
        client.write_all(b"hello\n").expect("the server reads");
        let answer = read_all(client);
        let (hello, child) = answer.split_once('\n').expect("two lines");
        assert_eq!(hello, "hello");
        assert_ne!(child.trim(), std::process::id().to_string());
        eventually("the child is counted", || {
            server.handle().statistics().finished == 1
        });
        assert_eq!(server.handle().statistics().active, 0);
    })
}

#[test]
fn unix_stream() {
    in_child(|| {
        let folder = socket_folder();
        let path = folder.path().join("server");
        let server = UnixStreamServer::builder().dispatch(beside_threads());
        let server = in_background(server.bind_fn(&path, pid));
        assert_eq!(
            exchange(connect_unix(server.server_address()), "hello\n"),
            "hello\n"
        );
    })
}

fn upper(request: &mut DatagramRequest) -> HandlerResult {
    request.wfile = request.packet.to_ascii_uppercase();
    Ok(())
}

#[test]
fn udp() {
    in_child(|| {
        let server = UdpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, upper);
        let server = in_background(server);
        let client = connect_udp(server.server_address());
        let mut answer = [0; 100];
        for text in ["hello", "again"] {
            client.send(text.as_bytes()).expect("the datagram is sent");
            let length = client.recv(&mut answer).expect("the server answers");
            assert_eq!(answer[..length], *text.to_uppercase().as_bytes());
        }
        eventually("both requests are counted", || {
            server.handle().statistics().finished == 2
        });
    })
}

#[test]
fn unix_datagram() {
    in_child(|| {
        let folder = socket_folder();
        let path = folder.path().join("server");
        let server = UnixDatagramServer::builder().dispatch(beside_threads());
        let server = in_background(server.bind_fn(&path, upper));
        let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
        client.send(b"hello").expect("the server is bound");
        let mut answer = [0; 100];
        let length = client.recv(&mut answer).expect("the server answers");
        assert_eq!(answer[..length], *b"HELLO");
    })
}

#[test]
fn the_childs_exit_status_determines_the_counted_outcome() {
    in_child(|| {
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, |request| match &request.rfile.readline(100)?[..] {
                b"fail\n" => Err("requested by the test".into()),
                b"abort\n" => std::process::abort(),
                _ => Ok(()),
            });
        let server = in_background(server);
        for command in ["finish\n", "fail\n", "abort\n"] {
            let mut client = connect(server.server_address());
            client
                .write_all(command.as_bytes())
                .expect("the server reads");
            let _ = client.read_to_end(&mut Vec::new());
        }
        eventually("all requests are counted", || {
            server.handle().statistics().active == 0
        });
        let statistics = server.handle().statistics();
        let counts = (statistics.finished, statistics.failed, statistics.panicked);
        assert_eq!(counts, (1, 1, 1), "{statistics:?}");
    })
}

#[test]
fn other_children_of_the_program_are_not_reaped() {
    in_child(|| {
        let mut own = Command::new("true").spawn().expect("`true` is installed");
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, pid);
        let server = in_background(server);
        exchange(connect(server.server_address()), "hello\n");
        eventually("the child is counted", || {
            server.handle().statistics().finished == 1
        });
        server.stop().expect("serving ends without an error");
        let status = own.wait().expect("the child was not reaped by the server");
        assert!(status.success());
    })
}

#[test]
fn changes_in_a_handler_are_limited_to_its_process() {
    in_child(|| {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU32, Ordering};

        let count = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&count);
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, move |request| {
                let n = shared.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(writeln!(request.wfile, "{n}")?)
            });
        let server = in_background(server);
        for _ in 0..3 {
            assert_eq!(read_all(connect(server.server_address())), "1\n");
        }
        assert_eq!(count.load(Ordering::Relaxed), 0);
    })
}

#[test]
fn max_children_of_one_serves_one_client_at_a_time() {
    in_child(|| {
        let fork = beside_threads().max_children(1);
        let server = in_background(TcpServer::builder().dispatch(fork).bind_fn(ANY, pid));
        let clients: Vec<_> = (0..10).map(|_| connect(server.server_address())).collect();
        for client in clients {
            assert_eq!(exchange(client, "hello\n"), "hello\n");
        }
        eventually("all requests are counted", || {
            server.handle().statistics().finished == 10
        });
        assert_eq!(server.handle().statistics().peak_active, 1);
    })
}

#[test]
fn max_children_can_be_changed() {
    in_child(|| {
        let fork = beside_threads().max_children(1);
        let server = TcpServer::builder().dispatch(fork).bind_fn(ANY, pid);
        let server = server
            .expect("a port is free")
            .serve_in_background()
            .expect("a thread can be started");
        let _first = connect(server.server_address());
        eventually("the first client is served", || {
            server.handle().statistics().active == 1
        });
        let second = connect(server.server_address());
        server.handle().set_max_children(2);
        assert_eq!(exchange(second, "hello\n"), "hello\n");
        assert_eq!(server.handle().statistics().peak_active, 2);
    })
}

#[test]
fn shutdown_within_kills_unfinished_children() {
    in_child(|| {
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, |request| {
                request.wfile.write_all(b"begun\n")?;
                loop {
                    std::thread::park();
                }
            });
        let server = in_background(server);
        let client = connect(server.server_address());
        assert_eq!(exchange(&client, "x"), "begun\n");
        let report = server.handle().shutdown_within(Duration::from_millis(100));
        assert_eq!(
            (report.drained, report.forced, report.unfinished),
            (0, 1, 0)
        );
    })
}

/// Sends a long message that the handler does not read, and returns the reply.
fn upload(address: &Address) -> String {
    let mut client = connect(address);
    client.write_all(b"put\n").expect("the server reads");
    client
        .write_all(&vec![b'x'; 1_000_000])
        .expect("the server discards what it does not read");
    read_all(client)
}

/// The child keeps the connection open for a while, and discards what arrives.
#[test]
fn an_early_reply_arrives_while_the_client_sends() {
    in_child(|| {
        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .bind_fn(ANY, |request| {
                request.rfile.readline(100)?;
                Ok(request.wfile.write_all(b"stored\n")?)
            });
        let server = in_background(server);
        for _ in 0..50 {
            assert_eq!(upload(server.server_address()), "stored\n");
        }
        server.stop().expect("a shutdown is not an error");
    })
}

/// The server itself keeps the connections of rejected clients open, and still forks.
#[test]
fn a_rejected_client_that_sent_first_gets_the_answer() {
    in_child(|| {
        struct Busy;

        impl Hooks for Busy {
            fn reject_request(
                &self,
                request: &mut StreamRequest,
                _: RejectReason,
            ) -> HandlerResult {
                Ok(request.wfile.write_all(b"server busy\n")?)
            }
        }

        let server = TcpServer::builder()
            .dispatch(beside_threads())
            .hooks(Busy)
            .max_connections(1)
            .overload(OverloadPolicy::Reject)
            .bind_fn(ANY, |request| {
                request.wfile.write_all(b"served\n")?;
                Ok(request.rfile.read_line(&mut String::new()).map(drop)?)
            });
        let server = in_background(server);
        for _ in 0..3 {
            let served = connect(server.server_address());
            assert_eq!(exchange(&served, ""), "served\n");
            for _ in 0..20 {
                assert_eq!(upload(server.server_address()), "server busy\n");
            }
            // Not by closing it: the child has a copy of the client's socket.
            (&served).write_all(b"end\n").expect("the child reads");
            eventually("the child has ended", || {
                server.handle().statistics().active == 0
            });
        }
        server.stop().expect("a shutdown is not an error");
    })
}

/// A child that lingers counts, so it does that for a short time only, whatever its client sends.
#[test]
fn a_client_that_sends_on_does_not_keep_its_child() {
    in_child(|| {
        for max_lingering in [0, 1024] {
            let server = TcpServer::builder()
                .dispatch(beside_threads())
                .max_lingering(max_lingering)
                .bind_fn(ANY, pid);
            let server = in_background(server);
            let mut client = connect(server.server_address());
            client.write_all(b"hello\n").expect("the server reads");
            let begun = std::time::Instant::now();
            eventually("the child has ended", || {
                let _ = client.write_all(b"x");
                server.handle().statistics().finished == 1
            });
            // The limit of a connection that lingers is 30 s.
            assert!(begun.elapsed() < Duration::from_secs(15));
            server.stop().expect("a shutdown is not an error");
        }
    })
}
