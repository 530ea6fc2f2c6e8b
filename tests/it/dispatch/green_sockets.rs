//! How green tasks wait for sockets, where it is not the handler's own connection on its own worker, or not plain data.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::SockRef;
use socketserver::dispatch::TaskState;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, task};

use support::{ANY, LONG, connect, connect_unix, eventually, exchange, in_background, socket_path};

use super::green::with_workers;

/// What the tasks of a server do.
fn states(server: &BackgroundServer) -> Vec<TaskState> {
    let tasks = server.handle().tasks();
    tasks.iter().map(|task| task.state).collect()
}

/// A client that has sent a line.
fn asked(server: &BackgroundServer, line: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    writeln!(client, "{line}").expect("the server reads");
    client
}

#[test]
fn tasks_share_a_stream_to_another_server() {
    const MUCH: usize = 20 << 20;
    let upstream = TcpListener::bind(ANY).expect("a port is free");
    let address = upstream.local_addr().expect("it is bound");
    let stream = task::connect(address, LONG).expect("it listens");
    let server = with_workers(1).bind_fn(ANY, move |request| {
        match request.next_line()?.as_deref() {
            Some("write") => (&stream).write_all(&vec![0; MUCH])?,
            _ => assert_eq!((&stream).read(&mut [0])?, 0),
        }
        Ok(writeln!(request.wfile, "done")?)
    });
    let server = in_background(server);
    let (mut upstream, _) = upstream.accept().expect("a client has connected");
    let writers = ["write", "write"].map(|line| asked(&server, line));
    eventually("both wait", || states(&server) == [TaskState::Writing; 2]);
    upstream
        .read_exact(&mut vec![0; 2 * MUCH])
        .expect("both write");
    writers
        .iter()
        .for_each(|client| assert_eq!(exchange(client, ""), "done\n"));
    let readers = ["read", "read"].map(|line| asked(&server, line));
    eventually("both wait", || states(&server) == [TaskState::Reading; 2]);
    upstream.shutdown(Shutdown::Both).expect("it is connected");
    readers
        .iter()
        .for_each(|client| assert_eq!(exchange(client, ""), "done\n"));
}

/// Its first handler waits on one worker, and the second one reads and writes on the other.
#[test]
fn a_detached_connection_goes_on_on_another_worker() {
    const MUCH: usize = 20 << 20;
    let (give, given) = task::unbounded();
    let (end, ended) = task::unbounded::<()>();
    let server = with_workers(2).bind_fn(ANY, move |request| {
        if request.next_line()?.as_deref() == Some("give") {
            give.send(request.detach())
                .expect("the server has the receiver");
            return Ok(ended.recv_timeout(LONG)?);
        }
        let mut other = given.recv_timeout(LONG)?;
        let (mut rfile, wfile) = other.split();
        let (read, written) = task::join(
            || rfile.read_until(b'\n', &mut Vec::new()),
            || wfile.write_all(&vec![0; MUCH]),
        )?;
        written?;
        Ok(writeln!(request.wfile, "{}", read?)?)
    });
    let server = in_background(server);
    let mut first = connect(server.server_address());
    eventually("the first one waits", || {
        states(&server) == [TaskState::Reading]
    });
    first.write_all(b"give\n").expect("the server reads");
    eventually("it has given", || states(&server) == [TaskState::Waiting]);
    let second = asked(&server, "take");
    // The read waits too, because nothing was sent.
    eventually("the second one waits", || {
        states(&server).contains(&TaskState::Reading)
    });
    first
        .read_exact(&mut vec![0; MUCH])
        .expect("the server writes");
    first.write_all(b"answer\n").expect("the server reads");
    assert_eq!(exchange(&second, ""), "7\n");
    end.send(()).expect("the first handler waits");
}

#[test]
fn a_handler_waits_for_its_non_blocking_socket_itself() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        let mut data = [0; 100];
        let length = request.rfile.read(&mut data)?;
        assert_eq!(&data[..length], b"one\n");
        SockRef::from(&*request).set_nonblocking(true)?;
        request.wfile.write_all(b"two?\n")?;
        let length = loop {
            match request.rfile.read(&mut data) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    task::wait_readable(&*request, LONG)?;
                }
                received => break received?,
            }
        };
        Ok(request.wfile.write_all(&data[..length])?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    eventually("it waits", || states(&server) == [TaskState::Reading]);
    client.write_all(b"one\n").expect("the server reads");
    client.read_exact(&mut [0; 5]).expect("the server asks");
    assert_eq!(exchange(&client, "two\n"), "two\n");
}

/// The worker lends them the same buffer.
#[test]
fn the_debug_output_of_a_request_shows_no_data_of_another_client() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            let shown = format!("{request:?} {:?}", request.rfile);
            let secret = format!("{:?}", b"secret").replace(['[', ']'], "");
            let is_shown = shown.contains("secret") || shown.contains(&secret);
            writeln!(request.wfile, "{} {is_shown}", line.len())?;
        }
        Ok(())
    });
    let server = in_background(server);
    let (first, second) = (
        connect(server.server_address()),
        connect(server.server_address()),
    );
    let long = format!("{}secret\n", "-".repeat(50));
    assert_eq!(exchange(&first, &long), "56 false\n");
    assert_eq!(exchange(&second, "hello\n"), "5 false\n");
}

/// Echoes lines on a worker on which another handler calls this again and again.
fn echo_beside(busy: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = with_workers(1).bind_fn(ANY, move |request| {
        for line in &mut request.rfile {
            let line = line?;
            request.wfile.write_all(&line)?;
            while line == b"busy\n" && !stopped.load(Ordering::Relaxed) {
                busy()?;
            }
        }
        Ok(())
    });
    let server = in_background(server);
    let first = connect(server.server_address());
    assert_eq!(exchange(&first, "busy\n"), "busy\n");
    let second = connect(server.server_address());
    assert_eq!(exchange(&second, "hello\n"), "hello\n");
    stop.store(true, Ordering::Relaxed);
    assert_eq!(exchange(&first, "hello\n"), "hello\n");
}

#[test]
fn a_descriptor_that_is_always_readable_leaves_time_for_others() {
    let (mut ours, theirs) = UnixStream::pair().expect("a descriptor is free");
    ours.write_all(b"never read")
        .expect("the system buffers it");
    let theirs = Arc::new(theirs);
    echo_beside(move || {
        let _is_open = &ours;
        assert!(task::wait_readable(&*theirs, None)?);
        Ok(())
    });
}

#[test]
fn a_queue_that_is_never_empty_leaves_time_for_others() {
    let (sender, receiver) = task::unbounded();
    echo_beside(move || {
        sender.send(()).expect("there is a receiver");
        receiver.recv().map_err(io::Error::other)
    });
}

/// Echoes lines. After the line `stop` it does something else until it is released.
fn echo_with_stops(release: task::Receiver<()>) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        for line in &mut request.rfile {
            let line = line?;
            request.wfile.write_all(&line)?;
            if line == b"stop\n" {
                release.recv_timeout(LONG)?;
            }
        }
        Ok(())
    }
}

/// Sends `stop`, and returns once the handler does something else. Its socket was waited for before.
fn stop(client: &mut (impl Read + Write), server: &BackgroundServer) {
    eventually("the handler waits for the client", || {
        states(server) == [TaskState::Reading]
    });
    client.write_all(b"stop\n").expect("the server reads");
    client.read_exact(&mut [0; 5]).expect("the server answers");
    eventually("the handler waits", || {
        states(server) == [TaskState::Waiting]
    });
}

/// A read ends there, and the rest comes without another event.
#[test]
fn urgent_data_does_not_stop_a_connection() {
    let (release, released) = task::unbounded();
    let server = in_background(with_workers(1).bind_fn(ANY, echo_with_stops(released)));
    let mut client = connect(server.server_address());
    stop(&mut client, &server);
    client.write_all(b"abc").expect("the system buffers it");
    SockRef::from(&client)
        .send_out_of_band(b"!")
        .expect("the system buffers it");
    client.write_all(b"d\n").expect("the system buffers it");
    eventually("all has arrived", || support::unacknowledged(&client) == 0);
    release.send(()).expect("the handler waits");
    assert_eq!(exchange(&client, ""), "abcd\n");
}

#[test]
fn a_passed_descriptor_does_not_stop_a_connection() {
    let (release, released) = task::unbounded();
    let (_folder, path) = socket_path();
    let server = GreenUnixStreamServer::builder().workers(1);
    let server = in_background(server.bind_fn(&path, echo_with_stops(released)));
    let mut client = connect_unix(server.server_address());
    stop(&mut client, &server);
    send_with_descriptor(&client, b"abc");
    client.write_all(b"d\n").expect("the system buffers it");
    release.send(()).expect("the handler waits");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"abcd\n");
}

fn send_with_descriptor(client: &UnixStream, data: &[u8]) {
    let descriptors = [client.as_raw_fd()];
    let passed = [ControlMessage::ScmRights(&descriptors)];
    let flags = MsgFlags::empty();
    let sent = sendmsg::<()>(
        client.as_raw_fd(),
        &[IoSlice::new(data)],
        &passed,
        flags,
        None,
    );
    assert_eq!(sent, Ok(data.len()));
}

/// The listening socket's timeout, which its connections inherit on Linux.
struct SetTimeout;

impl Hooks for SetTimeout {
    fn server_bind(&self, socket: BorrowedFd<'_>) -> std::io::Result<()> {
        SockRef::from(&socket).set_read_timeout(Some(Duration::from_millis(50)))
    }
}

#[test]
fn a_timeout_that_is_inherited_applies() {
    let server = with_workers(1).hooks(SetTimeout).bind_fn(ANY, |request| {
        let timed_out = request.rfile.readline(100).map_err(|error| error.kind());
        Ok(writeln!(
            request.wfile,
            "{timed_out:?} {}",
            request.read_timeout()?.is_some()
        )?)
    });
    let server = in_background(server);
    assert_eq!(
        exchange(&connect(server.server_address()), ""),
        "Err(TimedOut) true\n"
    );
}

/// One task takes the lock again and again, and waits while it has it.
#[test]
fn nobody_waits_for_a_lock_that_another_takes_again_and_again() {
    let (lock, taken) = (task::Mutex::new(()), OnceLock::new());
    let server = with_workers(1).bind_fn(ANY, move |request| {
        if request.next_line()?.as_deref() == Some("once") {
            let got = lock.try_lock_for(LONG).is_some();
            taken.get_or_init(|| ());
            return Ok(writeln!(request.wfile, "{got}")?);
        }
        while taken.get().is_none() {
            let _locked = lock.lock();
            task::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let server = in_background(server);
    let _again = asked(&server, "again");
    eventually("the first one has it", || {
        states(&server) == [TaskState::Sleeping]
    });
    assert_eq!(exchange(asked(&server, "once"), ""), "true\n");
}

#[test]
fn a_client_of_a_unix_socket_that_floods_does_not_hold_up_the_others() {
    let count = Arc::new(AtomicUsize::new(0));
    let (_folder, path) = socket_path();
    let counted = Arc::clone(&count);
    let server = GreenUnixStreamServer::builder()
        .workers(1)
        .bind_fn(&path, move |request| {
            for line in &mut request.rfile {
                if line? == b"ping\n" {
                    writeln!(request.wfile, "{}", counted.load(Ordering::SeqCst))?;
                } else {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(())
        });
    let server = in_background(server);
    let mut other = connect_unix(server.server_address());
    let mut flood = connect_unix(server.server_address());
    let flooding = thread::spawn(move || {
        // Until the server closes the connection.
        while flood.write_all(&[b'\n'; 10_000]).is_ok() {}
    });
    eventually("it floods", || count.load(Ordering::SeqCst) > 100_000);
    let before = count.load(Ordering::SeqCst);
    other.write_all(b"ping\n").expect("the server reads");
    let mut answer = String::new();
    std::io::BufReader::new(&other)
        .read_line(&mut answer)
        .expect("the server answers");
    let meanwhile = answer.trim().parse::<usize>().expect("a number") - before;
    // Some rounds of at most 8 reads of 8 KiB each. Before that the test's thread may not run at once.
    assert!(meanwhile < 2_000_000, "{meanwhile} lines");
    server.handle().shutdown_within(Duration::ZERO);
    flooding.join().expect("it ends");
}

/// The second half of a `join` is not the request's own task.
#[test]
fn a_half_that_blocks_its_worker_is_counted() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        task::join(|| (), || thread::sleep(Duration::from_millis(500)))?;
        Ok(request.wfile.write_all(b"done\n")?)
    });
    let server = in_background(server);
    assert_eq!(exchange(&connect(server.server_address()), ""), "done\n");
    assert_eq!(server.handle().statistics().blocked_workers, 1);
}
