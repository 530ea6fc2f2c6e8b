//! What can go wrong where many handlers share a thread.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::dispatch::{Green, TaskInfo, TaskState};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, task};

use support::child::{in_child, output_of_child};
use support::gate::Gate;
use support::handlers::{echo_line, upper_lines};
use support::kind::LineRequest;
use support::logs::Logs;
use support::process;
use support::{
    ANY, LONG, connect, eventually, exchange, in_background, next, read_all, unacknowledged,
};

pub(super) type GreenBuilder = Builder<Tcp, Green>;

pub(super) fn with_workers(workers: usize) -> GreenBuilder {
    GreenTcpServer::builder().dispatch(Green::new().workers(workers))
}

#[test]
fn one_worker_serves_many_clients_at_once() {
    let server = in_background(with_workers(1).bind_fn(ANY, upper_lines));
    let clients: Vec<_> = (0..500).map(|_| connect(server.server_address())).collect();
    for _ in 0..3 {
        for client in &clients {
            assert_eq!(exchange(client, "hello\n"), "HELLO\n");
        }
    }
    drop(clients);
    server.stop().expect("a shutdown is not an error");
}

#[test]
fn tasks_sleep_at_the_same_time() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        task::sleep(Duration::from_millis(300));
        Ok(request.wfile.write_all(b"awake\n")?)
    });
    let server = in_background(server);
    let begin = Instant::now();
    let clients: Vec<_> = (0..50).map(|_| connect(server.server_address())).collect();
    for client in clients {
        assert_eq!(read_all(client), "awake\n");
    }
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300), "it took {took:?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

/// A lock that is held while a client is waited for.
#[test]
fn a_lock_is_held_over_a_wait() {
    let lock = Arc::new(task::Mutex::new(0));
    let server = with_workers(1).bind_fn(ANY, move |request| {
        let mut count = lock.lock();
        *count += 1;
        request.rfile.readline(100)?;
        Ok(writeln!(request.wfile, "{count}")?)
    });
    let server = in_background(server);
    let clients: Vec<_> = (0..10).map(|_| connect(server.server_address())).collect();
    for client in &clients {
        (&mut &*client)
            .write_all(b"go\n")
            .expect("the server reads");
    }
    let mut counts: Vec<_> = clients.into_iter().map(read_all).collect();
    counts.sort_by_key(String::len);
    assert_eq!(counts.last().map(String::as_str), Some("10\n"));
}

/// Each read of its data succeeds at once.
#[test]
fn a_client_that_has_sent_much_does_not_hold_up_the_others() {
    const MUCH: usize = 50_000;
    let (begin, go_on) = (Gate::default(), Gate::default());
    let gates = (begin.clone(), go_on.clone());
    let read = AtomicUsize::new(0);
    let server = with_workers(1).rbufsize(0).bind_fn(ANY, move |request| {
        if request.read_message()? == "other" {
            gates.1.hold("")?;
            return Ok(writeln!(request.wfile, "{}", read.load(Ordering::SeqCst))?);
        }
        gates.0.hold("")?;
        gates.1.release(1);
        let mut buffer = [0; 64];
        while read.load(Ordering::SeqCst) < MUCH {
            let length = request.rfile.read(&mut buffer)?;
            read.fetch_add(length, Ordering::SeqCst);
        }
        Ok(())
    });
    let server = in_background(server);
    let connect_as = |name: &str| {
        let mut client = connect(server.server_address());
        writeln!(client, "{name}").expect("the server reads");
        client
    };
    let (mut much, other) = (connect_as("much"), connect_as("other"));
    begin.next();
    go_on.next();
    much.write_all(&[b'x'; MUCH])
        .expect("the system buffers it");
    eventually("all has arrived", || unacknowledged(&much) == 0);
    begin.release(1);
    let before = read_all(other);
    let before: usize = before.trim().parse().expect("it is a number");
    assert!(before < MUCH, "{before} bytes were read first");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            let count = line.parse::<usize>()?;
            let answer = [&b"x".repeat(count)[..], b"\n"].concat();
            request.wfile.write_all(&answer)?;
        }
        Ok(())
    });
    let server = in_background(server);
    let mut slow = connect(server.server_address());
    slow.write_all(b"50000000\n").expect("the server reads");
    let fast = connect(server.server_address());
    for _ in 0..100 {
        assert_eq!(exchange(&fast, "3\n"), "xxx\n");
    }
    assert_eq!(
        read_all(&{
            slow.shutdown(std::net::Shutdown::Write).expect("open");
            slow
        })
        .len(),
        50_000_001
    );
}

struct WriteOnDrop<'a>(&'a mut StreamRequest);

impl Drop for WriteOnDrop<'_> {
    fn drop(&mut self) {
        // Waits for the client, while the panic unwinds.
        let data = b"x".repeat(20_000_000);
        self.0.wfile.write_all(&data).expect("the client reads");
    }
}

/// Two panics that unwind on one thread would end the process.
#[test]
fn a_task_that_panics_waits_while_another_panics() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        let _write = WriteOnDrop(request);
        panic!("on purpose");
    });
    let server = in_background(server);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = connect(server.server_address());
            thread::spawn(move || read_all(client).len())
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("it does not panic"), 20_000_000);
    }
    assert_eq!(server.handle().statistics().panicked, 4);
}

#[test]
fn a_worker_that_is_blocked_is_named_and_the_other_goes_on() {
    let logs = Logs::from_here();
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let server = with_workers(2).bind_fn(ANY, move |request| {
        while let Some(line) = request.next_line()? {
            if line == "block" {
                let gone = gone.lock().expect("no other handler has it");
                gone.recv_timeout(LONG)?;
            }
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    });
    let server = in_background(server);
    let mut blocked = connect(server.server_address());
    let other = connect(server.server_address());
    blocked.write_all(b"block\n").expect("the server reads");
    let me = blocked.local_addr().expect("it is connected").to_string();
    eventually("the log names the request", || {
        let lines = logs.with(&me);
        lines
            .iter()
            .any(|(_, line)| line.contains("has blocked worker "))
    });
    assert_eq!(server.handle().statistics().blocked_workers, 1);
    let states = |server: &BackgroundServer| {
        let tasks = server.handle().tasks();
        tasks.iter().map(|task| task.state).collect::<Vec<_>>()
    };
    eventually("the other waits for its client", || {
        states(&server) == [TaskState::Running, TaskState::Reading]
    });
    assert_eq!(exchange(&other, "hello\n"), "hello\n");
    go.send(()).expect("the handler waits");
    assert_eq!(exchange(&blocked, ""), "block\n");
}

#[test]
fn a_stack_overflow_ends_the_process_and_names_the_setting() {
    let output = output_of_child(|| {
        fn deep(depth: usize) -> usize {
            let space = std::hint::black_box([depth; 100]);
            if depth == 0 {
                0
            } else {
                deep(depth - 1) + space[50]
            }
        }
        let server = with_workers(1).bind_fn(ANY, |request| {
            Ok(writeln!(request.wfile, "{}", deep(usize::MAX))?)
        });
        let server = in_background(server);
        read_all(connect(server.server_address()));
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("Builder::stack_size"), "{error}");
}

#[inline(never)]
fn use_much_stack(n: usize) -> u8 {
    std::hint::black_box([n as u8; 64 << 10])[0]
}

/// In a process of its own, whose memory is measured.
#[test]
fn an_idle_task_gives_back_what_its_stack_has_used() {
    const CLIENTS: usize = 100;
    in_child(|| {
        let server = with_workers(1).bind_fn(ANY, |request| {
            while let Some(line) = request.next_line()? {
                writeln!(request.wfile, "{}", use_much_stack(line.len()))?;
            }
            Ok(())
        });
        let server = in_background(server);
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| connect(server.server_address()))
            .collect();
        let mut ask_all = || {
            for client in &mut clients {
                client.write_all(b"four\n").expect("the server reads");
                let mut answer = [0; 2];
                client.read_exact(&mut answer).expect("the server answers");
                assert_eq!(&answer, b"4\n");
            }
        };
        ask_all();
        let resident = || process::resident(std::process::id());
        let used = resident();
        let given_back = (CLIENTS * 50) as u64;
        eventually("the memory is given back", || {
            resident() + given_back < used
        });
        // What the tasks still need is there.
        ask_all();
    });
}

/// With a backtrace, in a debug build.
#[test]
fn a_panic_with_a_backtrace_fits_on_the_default_stack() {
    let output = output_of_child(|| {
        let server = with_workers(1).bind_fn(ANY, |_| {
            let text = std::backtrace::Backtrace::force_capture().to_string();
            panic!("on purpose, {} bytes", text.len());
        });
        let server = in_background(server);
        assert_eq!(read_all(connect(server.server_address())), "");
        server.stop().expect("a shutdown is not an error");
        std::process::exit(7);
    });
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

/// Waits in the way that the client's first line names. Five of them do not wait for the connection.
struct Waits {
    lock: task::Mutex<()>,
    empty: task::Receiver<()>,
    full: task::Sender<()>,
    upstream: std::net::SocketAddr,
}

impl Waits {
    fn wait(&self, how: &[u8], request: &mut StreamRequest) -> HandlerResult {
        let much = vec![0; 50 << 20];
        match how {
            b"read\n" => drop(request.rfile.readline(100)?),
            b"line\n" => drop(request.next_line()?),
            b"write\n" => request.wfile.write_all(&much)?,
            b"send\n" => request.connection()?.send_all(&much)?,
            b"queue\n" => {
                request.connection()?.outbox(60 << 20).push(much)?;
                request.wfile.flush()?;
            }
            b"both\n" => {
                let (mut rfile, wfile) = request.split();
                let (line, sent) = task::join(|| rfile.readline(100), || wfile.write_all(&much))?;
                line?;
                sent?;
            }
            b"lock\n" => {
                let _locked = self.lock.lock();
                request.rfile.readline(100)?;
            }
            b"empty\n" => self.empty.recv()?,
            b"full\n" => self.full.send(())?,
            b"upstream\n" => {
                task::connect(self.upstream, LONG)?.read_exact(&mut [0])?;
            }
            b"elsewhere\n" => task::blocking(|| self.empty.recv())?,
            _ => task::sleep(LONG * 100),
        }
        Ok(())
    }
}

#[test]
fn a_forced_shutdown_ends_tasks_wherever_they_wait() {
    let (sender, empty) = task::unbounded();
    let (full, receiver) = task::bounded(1);
    full.send(()).expect("there is a receiver");
    let silent = TcpListener::bind(ANY).expect("a port is free");
    let waits = Waits {
        lock: task::Mutex::new(()),
        empty,
        full,
        upstream: silent.local_addr().expect("it is bound"),
    };
    let server = with_workers(1).bind_fn(ANY, move |request| {
        let how = request.rfile.readline(100)?;
        request.wfile.write_all(b"begun\n")?;
        waits.wait(&how, request)
    });
    let server = in_background(server);
    let begin = |how: &str| {
        let mut client = connect(server.server_address());
        assert_eq!(exchange(&client, &format!("{how}\n")), "begun\n");
        // In the middle of a message the connection is not idle.
        client.write_all(b"half a line").expect("it is open");
        client
    };
    let forced = [
        "read", "line", "write", "send", "queue", "both", "lock", "lock",
    ];
    let unfinished = ["empty", "full", "upstream", "elsewhere", "sleep"];
    let _clients = (forced.map(begin), unfinished.map(begin));
    let handle = server.handle();
    let report = handle.shutdown_within(Duration::from_millis(200));
    let counted = (report.drained, report.forced, report.unfinished);
    assert_eq!(counted, (0, forced.len(), unfinished.len()));
    // Those that are left behind end once they need not wait any more; only one sleeps on.
    drop((sender, receiver, silent));
    eventually("they end", || handle.statistics().active == 1);
}

/// On a thread such a handler may wait for the others too.
#[test]
fn a_handler_that_waits_for_the_end_of_other_requests_does_not_hold_them_up() {
    type End = fn(&mut Servers);
    let ends: [End; 4] = [
        |servers| drop(servers.other.take()),
        |servers| drop(servers.background.take()),
        |servers| drop(servers.background.take().map(BackgroundServer::stop)),
        |servers| {
            let handle = servers.background.as_ref().map(BackgroundServer::handle);
            handle.expect("it is served").shutdown_within(LONG);
        },
    ];
    for end in ends {
        waits_for_the_others(end);
    }
}

/// Servers whose requests run on the same worker.
struct Servers {
    /// Served elsewhere until one client has come.
    other: Option<socketserver::Server<Tcp, Arc<Green>>>,
    background: Option<BackgroundServer>,
}

fn waits_for_the_others(end: fn(&mut Servers)) {
    let green = Arc::new(Green::new().workers(1));
    let builder = || socketserver::TcpServer::builder().dispatch(Arc::clone(&green));
    let other = builder().bind_fn(ANY, echo_line).expect("a port is free");
    let background = in_background(builder().bind_fn(ANY, echo_line));
    let half = |address| {
        let mut client = connect(address);
        client.write_all(b"hel").expect("the system buffers it");
        client
    };
    let mut clients = [other.server_address(), background.server_address()].map(half);
    other.handle_request().expect("a client has connected");
    let servers = [other.handle(), background.handle()];
    eventually("both requests run", || {
        servers
            .iter()
            .all(|server| server.statistics().bytes_in == 3)
    });
    let slot = std::sync::Mutex::new(Servers {
        other: Some(other),
        background: Some(background),
    });
    let (begun, begins) = channel();
    let server = builder().bind_fn(ANY, move |request| {
        request.rfile.readline(10)?;
        begun.send(())?;
        end(&mut slot.lock().expect("one client comes"));
        Ok(request.wfile.write_all(b"ended\n")?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"end\n").expect("the server reads");
    next(&begins);
    for other in &mut clients {
        assert_eq!(exchange(other, "lo\n"), "hello\n");
    }
    assert_eq!(read_all(client), "ended\n");
}

/// Each write to this client succeeds at once.
#[test]
fn a_client_that_reads_as_fast_as_its_handler_writes_does_not_starve_the_others() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        if request.next_line()?.as_deref() == Some("flood") {
            while request.wfile.write_all(b"x").is_ok() {}
        }
        Ok(request.wfile.write_all(b"answer\n")?)
    });
    let server = in_background(server);
    let mut flooded = connect(server.server_address());
    flooded.write_all(b"flood\n").expect("the server reads");
    let ends = Arc::new(AtomicBool::new(false));
    let (is_ended, mut buffer) = (Arc::clone(&ends), vec![0; 1 << 20]);
    let reading = thread::spawn(move || {
        while !is_ended.load(Ordering::SeqCst) {
            assert!(flooded.read(&mut buffer).expect("the server writes") > 0);
        }
    });
    for _ in 0..20 {
        let client = connect(server.server_address());
        assert_eq!(exchange(&client, "hello\n"), "answer\n");
    }
    ends.store(true, Ordering::SeqCst);
    reading.join().expect("the server writes");
}

#[test]
fn what_blocks_in_other_ways_runs_beside_the_tasks() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        let name = task::blocking(|| {
            thread::sleep(Duration::from_millis(200));
            thread::current().name().map(str::to_owned)
        });
        assert_eq!(name.as_deref(), Some("blocking"));
        Ok(request.wfile.write_all(b"done\n")?)
    });
    let server = in_background(server);
    let begin = Instant::now();
    let clients: Vec<_> = (0..20).map(|_| connect(server.server_address())).collect();
    for client in clients {
        assert_eq!(read_all(client), "done\n");
    }
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[test]
fn two_halves_of_one_request_run_at_once() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        let (mut rfile, wfile) = request.split();
        let (sender, lines) = task::bounded(1);
        let (read, written) = task::join(
            || {
                for line in &mut rfile {
                    if sender.send(line?).is_err() {
                        break;
                    }
                }
                drop(sender);
                std::io::Result::Ok(())
            },
            || {
                while let Ok(line) = lines.recv() {
                    wfile.write_all(&line)?;
                }
                std::io::Result::Ok(())
            },
        )?;
        read?;
        Ok(written?)
    });
    let server = in_background(server);
    let client = connect(server.server_address());
    for _ in 0..10 {
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
    }
}

#[test]
fn a_read_timeout_is_precise() {
    let (results, result) = channel();
    let timeout = Duration::from_millis(150);
    let server = with_workers(1)
        .read_timeout(timeout)
        .bind_fn(ANY, move |request| {
            // On a busy machine a worker may wait for its turn: the shortest counts.
            let took = (0..5).map(|_| {
                let begin = Instant::now();
                let error = request.rfile.readline(100).expect_err("nothing is sent");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                begin.elapsed()
            });
            Ok(results.send(took.min())?)
        });
    let server = in_background(server);
    let _client = connect(server.server_address());
    let took = next(&result).expect("there were reads");
    assert!(took >= timeout && took < 2 * timeout, "it took {took:?}");
}

/// A relay whose both directions are tasks of one worker, which also runs the server that it connects to.
#[test]
fn a_task_connects_to_a_server_on_its_own_worker() {
    let green = Arc::new(Green::new().workers(1));
    let builder = || socketserver::TcpServer::builder().dispatch(Arc::clone(&green));
    let upper = in_background(builder().bind_fn(ANY, upper_lines));
    let target = upper.server_address().clone();
    let relay = builder().bind_fn(ANY, move |request| {
        let target = task::connect(target.clone(), LONG)?;
        let (mut rfile, wfile) = request.split();
        let (there, back) = task::join(
            || {
                let copied = std::io::copy(&mut rfile, &mut &target);
                target.shutdown(std::net::Shutdown::Write)?;
                copied
            },
            || std::io::copy(&mut &target, wfile),
        )?;
        there?;
        back?;
        Ok(())
    });
    let relay = in_background(relay);
    let clients: Vec<_> = (0..20).map(|_| connect(relay.server_address())).collect();
    for _ in 0..3 {
        for client in &clients {
            assert_eq!(exchange(client, "hello\n"), "HELLO\n");
        }
    }
}

#[test]
fn a_refused_connect_names_the_address() {
    let server = with_workers(1).bind_fn(ANY, |request| {
        let error = task::connect("127.0.0.3:1", LONG).expect_err("nobody listens");
        Ok(writeln!(request.wfile, "{error}")?)
    });
    let server = in_background(server);
    let text = read_all(connect(server.server_address()));
    assert!(text.contains("127.0.0.3:1"), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn tasks_wait_for_descriptors_of_others() {
    let (mut ours, theirs) = UnixStream::pair().expect("there are descriptors");
    let server = with_workers(1).bind_fn(ANY, move |request| {
        let line = request.next_line()?;
        let timeout = (line.as_deref() == Some("soon")).then_some(Duration::from_millis(1));
        let is_readable = task::wait_readable(&theirs, timeout)?;
        Ok(writeln!(request.wfile, "{is_readable}")?)
    });
    let server = in_background(server);
    let mut clients: Vec<_> = (0..2).map(|_| connect(server.server_address())).collect();
    for client in &mut clients {
        client.write_all(b"wait\n").expect("the server reads");
    }
    eventually("both wait", || {
        let tasks = server.handle().tasks();
        let waits = |task: &TaskInfo| task.state != TaskState::Running && task.age > Duration::ZERO;
        tasks.len() == 2 && tasks.iter().all(waits)
    });
    assert_eq!(
        exchange(&connect(server.server_address()), "soon\n"),
        "false\n"
    );
    ours.write_all(b"hello").expect("it is open");
    for client in &clients {
        assert_eq!(exchange(client, ""), "true\n");
    }
}

#[test]
fn a_stack_that_is_too_small_is_refused() {
    let bound = GreenTcpServer::builder()
        .stack_size(100)
        .bind_fn(ANY, |_| Ok(()));
    let error = bound.expect_err("the stack is too small").to_string();
    assert_eq!(error, "stack_size is 100 bytes, and the least is 16384");
}
