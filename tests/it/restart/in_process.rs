//! Programs that replace themselves by `ServerHandle::restart`. The new process runs the same test again.

use std::env;
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socketserver::prelude::*;
use socketserver::restart::PidFile;

use support::child::in_child;
use support::{ANY, LONG, connect, eventually, set_timeouts};

/// Whether this is the new process.
fn is_new() -> bool {
    env::var_os("SOCKETSERVER_READY_FD").is_some()
}

/// The new process serves until a client sends `stop`.
fn answer(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        if line == "stop" {
            request.server.shutdown();
        }
        writeln!(request.wfile, "{} {}", process::id(), line)?;
    }
    Ok(())
}

fn ask(address: &socketserver::Address, line: &str) -> String {
    support::exchange(connect(address), &format!("{line}\n"))
}

#[test]
fn restart_returns_when_the_new_process_serves() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?;
        let address = server.server_address().clone();
        if is_new() {
            return server.serve_forever();
        }
        let server = server.serve_in_background()?;
        assert!(ask(&address, "before").starts_with(&process::id().to_string()));
        server.handle().restart()?;
        let again = server.handle().restart().unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::ResourceBusy);
        server.join()?;
        let answer = ask(&address, "stop");
        assert!(answer.ends_with(" stop\n"), "{answer}");
        assert!(!answer.starts_with(&process::id().to_string()), "{answer}");
        Ok(())
    })
}

#[test]
fn a_new_process_that_does_not_serve_is_killed() -> io::Result<()> {
    in_child(|| {
        if is_new() {
            thread::sleep(support::HOUR);
        }
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?.serve_in_background()?;
        let restarted = server.handle().restart_within(Duration::from_millis(300));
        let error = restarted.unwrap_err().to_string();
        assert!(error.contains("did not serve within 0."), "{error}");
        assert!(ask(server.server_address(), "after").ends_with(" after\n"));
        server.stop()
    })
}

#[test]
fn a_new_process_that_cannot_bind_leaves_the_old_one_serving() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?;
        if is_new() {
            let other = env::var("OTHER").expect("the old process has set it");
            ThreadingTcpServer::bind_fn(&*other, answer)?;
            unreachable!("the address is in use");
        }
        let other = TcpListener::bind(ANY)?;
        // The test has a process of its own, whose only other thread waits for this one.
        #[allow(unsafe_code)]
        // SAFETY: no other thread reads the environment now.
        unsafe {
            env::set_var("OTHER", other.local_addr()?.to_string())
        };
        let server = server.serve_in_background()?;
        let error = server.handle().restart().unwrap_err().to_string();
        assert!(
            error.contains("ended before it served: exit status: "),
            "{error}"
        );
        assert!(ask(server.server_address(), "after").ends_with(" after\n"));
        server.stop()
    })
}

/// The new process has taken the path over when it ends.
#[test]
fn a_new_process_that_fails_leaves_the_path_of_a_unix_socket() -> io::Result<()> {
    in_child(|| {
        let folder = env::temp_dir().join(format!("socketserver-restart-{}", parent_of_all()));
        let path = folder.join("socket");
        if is_new() {
            drop(ThreadingUnixStreamServer::bind_fn(&path, answer)?);
            process::exit(1);
        }
        fs::create_dir(&folder)?;
        let server = ThreadingUnixStreamServer::bind_fn(&path, answer)?.serve_in_background()?;
        let error = server.handle().restart().unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
        UnixStream::connect(&path)?;
        server.stop()?;
        fs::remove_dir(&folder)
    })
}

/// The number of the first process of this test.
fn parent_of_all() -> u32 {
    match is_new() {
        true => std::os::unix::process::parent_id(),
        false => process::id(),
    }
}

#[test]
fn a_reload_may_restart_the_process() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?;
        let address = server.server_address().clone();
        if is_new() {
            return server.serve_forever();
        }
        let (sender, restarted) = mpsc::channel();
        server.reload_on_sighup(move |server| {
            let result = server.restart().map_err(|error| error.kind());
            sender.send(result).map_err(io::Error::other)
        })?;
        let server = server.serve_in_background()?;
        kill(Pid::this(), Signal::SIGHUP)?;
        assert_eq!(support::next(&restarted), Ok(()));
        server.join()?;
        assert!(ask(&address, "stop").ends_with(" stop\n"));
        Ok(())
    })
}

/// Both processes have the same socket.
#[test]
fn the_old_process_cannot_stop_the_new_one_from_listening() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?;
        let address = server.server_address().clone();
        if is_new() {
            return server.serve_forever();
        }
        let server = server.serve_in_background()?;
        server.handle().restart()?;
        server.handle().stop_listening();
        server.join()?;
        assert!(ask(&address, "stop").ends_with(" stop\n"));
        Ok(())
    })
}

/// The limit is over before the new process serves, which is ended.
#[test]
fn no_time_to_serve() -> io::Result<()> {
    in_child(|| {
        while is_new() {
            thread::park();
        }
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?.serve_in_background()?;
        let error = server.handle().restart_within(Duration::ZERO).unwrap_err();
        assert!(
            error.to_string().contains("did not serve within"),
            "{error}"
        );
        let own = process::id().to_string();
        for _ in 0..20 {
            assert!(ask(server.server_address(), "after").starts_with(&own));
        }
        server.stop()
    })
}

#[test]
fn an_adopted_socket_is_not_handed_over() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::builder().adopt_fn(TcpListener::bind(ANY)?, answer)?;
        let server = server.serve_in_background()?;
        let error = server.handle().restart().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("was adopted"), "{error}");
        assert!(ask(server.server_address(), "after").ends_with(" after\n"));
        server.stop()
    })
}

/// Each datagram is answered by one process or the other.
#[test]
fn no_datagram_is_lost() -> io::Result<()> {
    in_child(|| {
        let server = UdpServer::bind_fn(ANY, |request| {
            if *request.packet == *b"stop" {
                request.server.shutdown();
            }
            request.wfile = request.packet.to_vec();
            Ok(())
        })?;
        let address = server.server_address().clone();
        if is_new() {
            return server.serve_forever();
        }
        let server = server.serve_in_background()?;
        let handle = server.handle();
        let restart = thread::spawn(move || handle.restart());
        let client = UdpSocket::bind(ANY)?;
        client.connect(&address)?;
        client.set_read_timeout(Some(LONG))?;
        let mut number = 0u64;
        while !restart.is_finished() || !server.is_finished() {
            // Several are in the system's queue at any time.
            for next in number..number + 8 {
                client.send(&next.to_be_bytes())?;
            }
            let mut answers: Vec<u64> = Vec::new();
            for _ in 0..8 {
                let mut answer = [0; 8];
                assert_eq!(client.recv(&mut answer)?, 8);
                answers.push(u64::from_be_bytes(answer));
            }
            // Two processes may answer at once.
            answers.sort_unstable();
            assert!(
                answers.iter().copied().eq(number..number + 8),
                "{answers:?}"
            );
            number += 8;
        }
        restart.join().expect("it does not panic")?;
        server.join()?;
        client.send(b"stop")?;
        let mut answer = [0; 8];
        assert_eq!(client.recv(&mut answer)?, 4);
        println!("{number} datagrams");
        Ok(())
    })
}

#[test]
fn the_pid_file_has_the_number_of_the_process_that_serves() -> io::Result<()> {
    in_child(|| {
        let server = ThreadingTcpServer::bind_fn(ANY, answer)?;
        let address = server.server_address().clone();
        let path = env::temp_dir().join(format!(
            "socketserver-test-{}.pid",
            address.port().expect("TCP")
        ));
        let read = || fs::read_to_string(&path).unwrap_or_default();
        let before = read();
        let pid_file = PidFile::create(&path)?;
        if is_new() {
            assert_eq!(read(), before, "it does not serve yet");
            return server.serve_forever();
        }
        let own = format!("{}\n", process::id());
        assert_eq!(read(), own);
        let server = server.serve_in_background()?;
        server.handle().restart()?;
        eventually("the new process writes its number", || read() != own);
        let new = read();
        server.join()?;
        drop(pid_file);
        assert_eq!(read(), new, "it is the new process's");
        assert!(ask(&address, "stop").starts_with(new.trim_end()));
        eventually("the new process removes it", || !path.exists());
        Ok(())
    })
}

/// Two servers of a group: both sockets are handed over.
#[test]
fn a_group_is_replaced() -> io::Result<()> {
    in_child(|| {
        let mut group = ServerGroup::new();
        let tcp = group.add(ThreadingTcpServer::bind_fn(ANY, answer)?);
        let other = group.add(TcpServer::bind_fn("127.0.0.2:0", answer)?);
        if is_new() {
            return group.serve_forever();
        }
        let (first, second) = (tcp.server_address().clone(), other.server_address().clone());
        let serving = thread::spawn(move || group.serve_forever());
        let mut client = connect(&first);
        set_timeouts(&client);
        client.write_all(b"before\n")?;
        client.read_exact(&mut [0; 1])?;
        tcp.restart()?;
        serving.join().expect("it does not panic")?;
        let own = process::id().to_string();
        assert!(!ask(&second, "after").starts_with(&own));
        assert!(!ask(&first, "stop").starts_with(&own));
        Ok(())
    })
}
