//! A process is replaced while clients are served.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::Signal;

#[cfg(feature = "tls")]
use support::certificates::Authority;
use support::generations::Generations;
use support::process::descriptors;
use support::{ANY, eventually, example, socket_path};

#[cfg(feature = "tls")]
use super::clients::tls;
use super::clients::{Clients, Connect, tcp, unix};

const RESTARTS: usize = 3;
const CLIENTS: [usize; 2] = [8, 8];

/// No client is refused or reset, and each message is answered.
fn restart_under_load(
    server: &mut Generations,
    connect: &Arc<Connect>,
    restarts: usize,
    clients: [usize; 2],
) -> io::Result<usize> {
    let clients = Clients::start(connect, clients);
    for _ in 0..restarts {
        let before = clients.answers();
        eventually("clients are served", || clients.answers() > before + 50);
        server.restart();
    }
    server.wait_for_predecessor();
    clients.finish()
}

fn echo_server(arguments: &[&str]) -> Generations {
    Generations::start(example::command(
        "echo_server",
        &[&["--restart"], arguments].concat(),
    ))
}

/// A folder with `echo_server` as `server`, which a test can replace.
fn own_program() -> io::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("server");
    symlink(example::path("echo_server"), &program)?;
    Ok((folder, program))
}

/// Written by another process. A child that a test of this process starts meanwhile would have the open file for a moment, and
/// then it cannot be started.
fn write_script(path: &Path, text: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""]);
    let status = command.arg(path).arg(text).status();
    assert!(status.expect("there is a shell").success());
}

fn check_tcp(kind: &str, restarts: usize, clients: [usize; 2]) -> io::Result<()> {
    let mut server = echo_server(&["--server", kind, ANY]);
    let connect = tcp(&server.address());
    let answers = restart_under_load(&mut server, &connect, restarts, clients)?;
    println!("{kind}: {restarts} restarts, {answers} answers");
    Ok(())
}

#[test]
fn threads() -> io::Result<()> {
    check_tcp("threading-tcp", RESTARTS, CLIENTS)
}

#[cfg(feature = "green")]
#[test]
fn green() -> io::Result<()> {
    check_tcp("green-tcp", RESTARTS, CLIENTS)
}

/// A child ends its connection when its parent ends.
#[cfg(feature = "fork")]
#[test]
fn forking() -> io::Result<()> {
    check_tcp("forking-tcp", 2, [2, 0])
}

#[cfg(feature = "tls")]
fn check_tls(kind: &str, restarts: usize, clients: [usize; 2]) -> io::Result<()> {
    let authority = Authority::new("Test");
    let (certificate, key) = authority.certify("DNS:localhost");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("text"));
    let arguments = [
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
        "--server",
        kind,
        ANY,
    ];
    let mut server = echo_server(&arguments);
    let connect = tls(&server.address(), &authority);
    let answers = restart_under_load(&mut server, &connect, restarts, clients)?;
    println!("{kind} over TLS: {restarts} restarts, {answers} answers");
    Ok(())
}

#[cfg(feature = "tls")]
#[test]
fn encrypted() -> io::Result<()> {
    check_tls("threading-tcp", RESTARTS, CLIENTS)?;
    #[cfg(feature = "green")]
    check_tls("green-tcp", RESTARTS, CLIENTS)?;
    Ok(())
}

/// SIGHUP: new connections get the new certificate, and the open one goes on.
#[cfg(feature = "tls")]
#[test]
fn sighup_reads_the_certificate_again() -> io::Result<()> {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let (certificate, key) = old.certify("DNS:localhost");
    let paths = [&certificate, &key].map(|path| path.to_str().expect("text"));
    let server = echo_server(&["--tls-cert", paths[0], "--tls-key", paths[1], ANY]);
    let open = tls(&server.address(), &old)()?;
    let (next, next_key) = new.certify("DNS:localhost");
    fs::copy(next_key, &key)?;
    server.signal(Signal::SIGHUP);
    // The key does not belong to the certificate.
    server.wait_for("not reloaded: ");
    fs::copy(next, &certificate)?;
    server.signal(Signal::SIGHUP);
    server.wait_for(": reloaded");
    for connect in [tls(&server.address(), &new)(), Ok(open)] {
        let mut client = connect?;
        client.write_all(b"hello")?;
        let mut answer = [0; 5];
        client.read_exact(&mut answer)?;
        assert_eq!(answer, *b"hello");
    }
    Ok(())
}

#[test]
#[ignore = "takes a minute"]
fn twenty_times_with_128_clients() -> io::Result<()> {
    check_tcp("threading-tcp", 20, [64, 64])?;
    #[cfg(feature = "green")]
    check_tcp("green-tcp", 20, [64, 64])?;
    #[cfg(feature = "tls")]
    check_tls("threading-tcp", 20, [64, 64])?;
    Ok(())
}

#[test]
fn a_unix_socket_keeps_its_path() -> io::Result<()> {
    let (_folder, path) = socket_path();
    let path = path.to_str().expect("text");
    let mut server = echo_server(&["--server", "threading-unix-stream", path]);
    let answers = restart_under_load(&mut server, &unix(path), RESTARTS, CLIENTS)?;
    assert!(answers > 0);
    server.signal(Signal::SIGTERM);
    eventually("the last process removes the path", || {
        !fs::exists(path).unwrap_or(true)
    });
    Ok(())
}

#[test]
fn the_new_process_runs_the_binary_that_is_there_then() -> io::Result<()> {
    let (folder, program) = own_program()?;
    let mut command = Command::new("./server");
    command.current_dir(folder.path()).args(["--restart", ANY]);
    let mut server = Generations::start(command);
    fs::remove_file(&program)?;
    let real = example::path("echo_server");
    let script = format!(
        "#!/bin/sh\necho version 2 >&2\nexec {} \"$@\"\n",
        real.display()
    );
    write_script(&program, &script);
    server.restart();
    assert_eq!(server.lines("version 2").len(), 1);
    let answers = Clients::start(&tcp(&server.address()), [1, 0]).finish()?;
    assert!(answers > 0);
    Ok(())
}

#[test]
fn sigterm_ends_the_new_process_too_while_it_starts() -> io::Result<()> {
    let (_folder, program) = own_program()?;
    let mut command = Command::new(&program);
    command.args(["--restart", ANY]);
    let server = Generations::start(command);
    fs::remove_file(&program)?;
    write_script(&program, "#!/bin/sh\necho starts $$ >&2\nexec sleep 100\n");
    server.signal(Signal::SIGUSR2);
    let line = server.wait_for("starts ");
    let pid = line[0].rsplit(' ').next().and_then(|pid| pid.parse().ok());
    let pid = nix::unistd::Pid::from_raw(pid.expect("a number"));
    server.signal(Signal::SIGTERM);
    eventually("the new process ends", || {
        nix::sys::signal::kill(pid, None).is_err()
    });
    Ok(())
}

/// Nothing of the old process but the socket, and nothing of the restart.
#[test]
fn the_new_process_has_no_other_descriptors() {
    let mut server = echo_server(&[ANY]);
    let count = |server: &Generations| descriptors(server.current().as_raw().unsigned_abs());
    let client = std::net::TcpStream::connect(server.address()).expect("the server listens");
    eventually("the client is served", || {
        let mut client = &client;
        client.write_all(b"x").is_ok() && client.read(&mut [0]).is_ok()
    });
    let before = count(&server);
    server.restart();
    drop(client);
    server.wait_for_predecessor();
    let again = std::net::TcpStream::connect(server.address()).expect("the server listens");
    eventually("the client is served", || {
        let mut client = &again;
        client.write_all(b"x").is_ok() && client.read(&mut [0]).is_ok()
    });
    eventually("as many descriptors as before", || count(&server) == before);
}

#[test]
fn a_program_that_shuts_down_is_not_restarted() {
    let server = echo_server(&["--drain-delay", "1", ANY]);
    server.signal(Signal::SIGTERM);
    server.wait_for("shutting down in 1s");
    server.signal(Signal::SIGUSR2);
    server.wait_for("not restarted: this process shuts down");
    server.wait_for("stopped serving");
    assert!(server.lines("starting the program again").is_empty());
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_serving() -> io::Result<()> {
    let (_folder, program) = own_program()?;
    let mut command = Command::new(&program);
    command.args(["--restart", ANY]);
    let server = Generations::start(command);
    let clients = Clients::start(&tcp(&server.address()), [1, 1]);
    fs::remove_file(&program)?;
    // The file is missing.
    server.signal(Signal::SIGUSR2);
    server.wait_for("not restarted, this process goes on: cannot start ");
    // It ends at once.
    write_script(&program, "#!/bin/sh\nexit 3\n");
    server.signal(Signal::SIGUSR2);
    server.wait_for("ended before it served: exit status: 3");
    let before = clients.answers();
    eventually("clients are served", || clients.answers() > before + 50);
    clients.finish().map(drop)
}
