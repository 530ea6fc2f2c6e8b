//! Errors from `accept`: some are retried at once, some make the server back off, and some end
//! serving.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parking_lot::Mutex;
use socketserver::dispatch::{Dispatch, Inline, Job, Waker};
use socketserver::prelude::*;
use socketserver::{Builder, Listener, Server};

use support::listener::FakeListener;
use support::logs::Logs;
use support::{LONG, connect, eventually, read_all};

/// Errors of one client or of the network. The next `accept` may succeed.
const RETRY: [Errno; 9] = [
    Errno::EINTR,
    Errno::ECONNABORTED,
    Errno::ECONNRESET,
    Errno::ECONNREFUSED,
    Errno::EPERM,
    Errno::ETIMEDOUT,
    Errno::ENETDOWN,
    Errno::ENETUNREACH,
    Errno::EHOSTUNREACH,
];

/// Errors of the whole system, or errors with an unknown meaning.
const BACK_OFF: [Errno; 5] = [
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::ENOMEM,
    Errno::EDQUOT,
];

/// Errors of the listening socket.
const STOP: [Errno; 5] = [
    Errno::EBADF,
    Errno::EINVAL,
    Errno::ENOTSOCK,
    Errno::EOPNOTSUPP,
    Errno::EFAULT,
];

type Make = Arc<dyn Fn() -> io::Error + Send + Sync>;

fn os(errno: Errno) -> Make {
    Arc::new(move || io::Error::from_raw_os_error(errno as i32))
}

/// An error that the listener makes itself.
fn own(kind: ErrorKind) -> Make {
    Arc::new(move || io::Error::new(kind, "made by the listener"))
}

/// Errors that a listener returns instead of a connection.
#[derive(Default)]
struct Faults {
    /// Each of these errors is returned once.
    once: Mutex<Vec<Make>>,
    /// This error is returned again and again while it is set.
    lasting: Mutex<Option<Make>>,
    calls: AtomicUsize,
    last_call: Mutex<Option<Instant>>,
}

impl Faults {
    fn once(errors: impl IntoIterator<Item = Make>) -> Arc<Self> {
        let faults = Arc::<Faults>::default();
        faults.once.lock().extend(errors);
        faults
    }

    fn lasting(error: Make) -> Arc<Self> {
        let faults = Arc::<Faults>::default();
        *faults.lasting.lock() = Some(error);
        faults
    }

    fn next(&self) -> Option<io::Error> {
        *self.last_call.lock() = Some(Instant::now());
        self.calls.fetch_add(1, Ordering::SeqCst);
        let error = self.once.lock().pop();
        error
            .or_else(|| self.lasting.lock().clone())
            .map(|make| make())
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn serve(
    builder: Builder<FakeListener, Inline>,
    faults: &Arc<Faults>,
) -> io::Result<Server<FakeListener, Inline>> {
    let faults = Arc::clone(faults);
    let listener = FakeListener::new(move |tcp, server| match faults.next() {
        Some(error) => Err(error),
        None => tcp.accept(server),
    });
    builder.adopt(listener, || {
        |request: &mut StreamRequest| Ok(request.wfile.write_all(b"hello")?)
    })
}

/// If the server backed off after each of these errors, the test would take minutes.
#[test]
fn retries_at_once_after_an_error_of_one_client() -> io::Result<()> {
    let own = own(ErrorKind::ConnectionAborted);
    let faults = Faults::once(RETRY.map(os).into_iter().chain([own]).cycle().take(300));
    let server = serve(Server::builder(), &faults)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "hello");
    assert!(faults.calls() > 300);
    server.stop()
}

#[test]
fn an_aborted_connection_is_not_logged() -> io::Result<()> {
    let faults = Faults::once([os(Errno::EAGAIN), own(ErrorKind::WouldBlock)]);
    let server = serve(Server::builder(), &faults)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "hello");
    server.stop()
}

fn the_server_backs_off(error: Make) -> io::Result<()> {
    let logs = Logs::from_here();
    let faults = Faults::lasting(error);
    let begin = Instant::now();
    let server = serve(Server::builder(), &faults)?.serve_in_background()?;
    let address = server.server_address().clone();
    let client = connect(&address);
    eventually("six attempts to accept", || faults.calls() >= 6);
    // Five delays: 5, 10, 20, 40 and 80 ms. On a busy machine they take longer.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(155), "{took:?}");
    *faults.lasting.lock() = None;
    assert_eq!(read_all(client), "hello");
    let again = format!("accepting again on tcp {address}");
    eventually("the log reports that the server accepts again", || {
        !logs.with(&again).is_empty()
    });
    server.stop()?;
    let lines = logs.with(&address.to_string());
    let warnings = lines.iter().filter(|(level, _)| *level == log::Level::Warn);
    assert!((1..faults.calls()).contains(&warnings.count()), "{lines:?}");
    assert_eq!(logs.with(&again).len(), 1);
    Ok(())
}

#[test]
fn backs_off_after_a_system_error_and_logs_with_a_rate_limit() -> io::Result<()> {
    for error in BACK_OFF.map(os) {
        the_server_backs_off(error)?;
    }
    the_server_backs_off(own(ErrorKind::Other))
}

#[test]
fn each_client_that_is_accepted_ends_the_growth_of_the_back_off() -> io::Result<()> {
    const CLIENTS: usize = 20;
    let calls = AtomicUsize::new(0);
    // Every second call fails, and the listener never says that there is no client.
    let listener = FakeListener::new(move |tcp, server| {
        if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Err(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        }
        loop {
            match tcp.accept(server) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                accepted => return accepted,
            }
        }
    });
    let server = Server::<FakeListener, Inline>::builder()
        .adopt_fn(listener, |request| Ok(request.wfile.write_all(b"hello")?))?;
    let address = server.server_address().clone();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(&address)).collect();
    let begin = Instant::now();
    for _ in 0..2 * CLIENTS {
        server.handle_request()?;
        if server.handle().statistics().accepted == CLIENTS as u64 {
            break;
        }
    }
    for client in clients {
        assert_eq!(read_all(client), "hello");
    }
    // Each pause is the first and lasts 5 ms. If they grew, 20 of them would take 13 s.
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    Ok(())
}

#[test]
fn shutdown_interrupts_the_back_off() -> io::Result<()> {
    let faults = Faults::lasting(os(Errno::ENFILE));
    let server = serve(Server::builder(), &faults)?.serve_in_background()?;
    let _client = connect(server.server_address());
    // The delay after the ninth attempt is the first that lasts a whole second.
    eventually("nine attempts to accept", || faults.calls() >= 9);
    server.stop()?;
    let pause = faults
        .last_call
        .lock()
        .expect("accept was called")
        .elapsed();
    assert!(pause < Duration::from_secs(1), "{pause:?}");
    Ok(())
}

#[test]
fn serving_ends_with_an_error_of_the_listening_socket() -> io::Result<()> {
    let errors = STOP.map(os).into_iter();
    for make in errors.chain([own(ErrorKind::InvalidInput)]) {
        let expected = make().to_string();
        let faults = Faults::lasting(make);
        let server = serve(Server::builder(), &faults)?;
        let _client = connect(server.server_address());
        for error in [server.serve_forever(), server.handle_request()] {
            assert_eq!(error.unwrap_err().to_string(), expected);
        }
        assert_eq!(faults.calls(), 2);
        let background = server.serve_in_background()?;
        let error = background.join().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}

struct Timeouts(crossbeam_channel::Sender<()>);

impl Hooks for Timeouts {
    fn handle_timeout(&self, _: &ServerHandle) {
        let _ = self.0.send(());
    }
}

#[test]
fn the_timeout_of_handle_request_interrupts_the_back_off() -> io::Result<()> {
    let (sender, timeouts) = crossbeam_channel::unbounded();
    let faults = Faults::lasting(os(Errno::ENOBUFS));
    let builder = Server::builder().hooks(Timeouts(sender));
    let server = serve(builder.timeout(Duration::from_millis(30)), &faults)?;
    let _client = connect(server.server_address());
    server.handle_request()?;
    timeouts.recv_timeout(LONG).expect("the hook runs");
    // Attempts after 0, 5 and 15 ms, and at the timeout. Without a back-off there are thousands.
    assert!(faults.calls() <= 4, "{}", faults.calls());
    Ok(())
}

/// A dispatcher that counts the calls of `has_capacity`: one in each iteration of the accept loop.
struct CountIterations(Arc<AtomicUsize>);

impl Dispatch for CountIterations {
    fn dispatch(&self, job: Job) {
        job.run();
    }

    fn has_capacity(&self, _: &Waker) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[test]
fn a_paused_server_sleeps_after_an_accept_error() -> io::Result<()> {
    let iterations = Arc::<AtomicUsize>::default();
    let listener = FakeListener::new(|_, server| {
        server.pause();
        Err(io::Error::from_raw_os_error(Errno::EMFILE as i32))
    });
    let builder = Server::<FakeListener, Inline>::builder()
        .dispatch(CountIterations(Arc::clone(&iterations)));
    let server = builder.adopt_fn(listener, |_| Ok(()))?;
    let server = server.serve_in_background()?;
    eventually("the accept fails", || server.handle().is_paused());
    // Much longer than the back-off after the error.
    thread::sleep(Duration::from_millis(100));
    let iterations = iterations.load(Ordering::SeqCst);
    assert!(iterations < 10, "{iterations}");
    server.stop()
}
