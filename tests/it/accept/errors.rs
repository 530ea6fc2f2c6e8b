//! Errors from `accept`: which are one client's, which are the system's, and which end the server.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parking_lot::Mutex;
use socketserver::dispatch::Inline;
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::server::{AfterError, on_accept_error};
use socketserver::{Address, Server, ServerHandle};

use support::logs::Logs;
use support::{ANY, LONG, connect, eventually, read_all};

#[test]
fn the_table_says_what_follows_each_error() {
    let after = |errno: Errno| on_accept_error(&io::Error::from_raw_os_error(errno as i32));
    assert_eq!(after(Errno::EAGAIN), AfterError::Wait);
    for errno in [
        Errno::EINTR,
        Errno::ECONNABORTED,
        Errno::ECONNRESET,
        Errno::ECONNREFUSED,
        Errno::EPERM,
        Errno::ETIMEDOUT,
        Errno::ENETDOWN,
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
    ] {
        assert_eq!(after(errno), AfterError::Retry, "{errno}");
    }
    for errno in [
        Errno::EBADF,
        Errno::EINVAL,
        Errno::ENOTSOCK,
        Errno::EOPNOTSUPP,
        Errno::EFAULT,
    ] {
        assert_eq!(after(errno), AfterError::Stop, "{errno}");
    }
    for errno in [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
        // Known to nobody here.
        Errno::EDQUOT,
    ] {
        assert_eq!(after(errno), AfterError::BackOff, "{errno}");
    }
}

#[test]
fn errors_of_a_listeners_own_follow_their_kind() {
    use io::ErrorKind::*;
    let after = |kind| on_accept_error(&io::Error::new(kind, "of my own making"));
    assert_eq!(after(WouldBlock), AfterError::Wait);
    assert_eq!(after(ConnectionAborted), AfterError::Retry);
    assert_eq!(after(InvalidInput), AfterError::Stop);
    assert_eq!(after(Other), AfterError::BackOff);
}

/// What the listener below does instead of accepting.
#[derive(Default)]
struct Faults {
    /// Each for one call.
    once: Mutex<Vec<Errno>>,
    /// For as long as it is set.
    lasting: Mutex<Option<Errno>>,
    calls: AtomicUsize,
    last_call: Mutex<Option<Instant>>,
}

impl Faults {
    fn next(&self) -> Option<Errno> {
        *self.last_call.lock() = Some(Instant::now());
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.once.lock().pop().or(*self.lasting.lock())
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// TCP that fails when it is told to.
struct Flaky {
    tcp: Tcp,
    faults: Arc<Faults>,
}

impl Listener for Flaky {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.tcp.server_activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        match self.faults.next() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno as i32)),
            None => self.tcp.accept(server),
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        self.tcp.local_address()
    }
}

impl AsFd for Flaky {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn hello(request: &mut StreamRequest) -> HandlerResult {
    Ok(request.wfile.write_all(b"hello")?)
}

fn flaky_server(faults: &Arc<Faults>) -> io::Result<Server<Flaky, Inline>> {
    let flaky = Flaky {
        tcp: TcpListener::bind(ANY)?.into(),
        faults: faults.clone(),
    };
    Server::builder().adopt(flaky, || hello)
}

#[test]
fn after_the_error_of_one_client_the_next_is_served_at_once() -> io::Result<()> {
    let faults = Arc::new(Faults::default());
    let errors = [Errno::ECONNABORTED, Errno::EINTR, Errno::EPERM].repeat(100);
    faults.once.lock().extend(errors);
    let server = flaky_server(&faults)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "hello");
    assert!(faults.calls() > 300);
    server.stop()
}

#[test]
fn while_descriptors_are_short_the_server_pauses_and_then_goes_on() -> io::Result<()> {
    let logs = Logs::from_here();
    let faults = Arc::new(Faults::default());
    *faults.lasting.lock() = Some(Errno::EMFILE);
    let begin = Instant::now();
    let server = flaky_server(&faults)?.serve_in_background()?;
    let address = server.server_address().clone();
    let client = connect(&address);
    eventually("it tries six times", || faults.calls() >= 6);
    // Five pauses: 5, 10, 20, 40 and 80 ms. On a machine that is busy they take longer.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(155), "{took:?}");
    *faults.lasting.lock() = None;
    assert_eq!(read_all(client), "hello");
    let again = format!("accepting again on {address}");
    eventually("it says that all is well", || {
        !logs.with(&again).is_empty()
    });
    server.stop()?;
    // The only test here with this error.
    let warnings = logs.with(": Too many open files");
    assert_eq!(warnings[0].0, log::Level::Warn);
    assert!(warnings.len() < faults.calls(), "{warnings:?}");
    assert_eq!(logs.with(&again).len(), 1);
    Ok(())
}

#[test]
fn a_shutdown_ends_a_pause() -> io::Result<()> {
    let faults = Arc::new(Faults::default());
    *faults.lasting.lock() = Some(Errno::ENFILE);
    let server = flaky_server(&faults)?.serve_in_background()?;
    // The pause after the ninth try is the first that lasts a whole second.
    eventually("it tries nine times", || faults.calls() >= 9);
    server.stop()?;
    let pause = faults.last_call.lock().expect("it tried").elapsed();
    assert!(pause < Duration::from_secs(1), "{pause:?}");
    Ok(())
}

#[test]
fn a_listening_socket_that_is_no_good_ends_serving_with_the_error() -> io::Result<()> {
    for errno in [Errno::EBADF, Errno::EINVAL, Errno::ENOTSOCK] {
        let faults = Arc::new(Faults::default());
        *faults.lasting.lock() = Some(errno);
        let server = flaky_server(&faults)?;
        for error in [server.serve_forever(), server.handle_request()] {
            assert_eq!(error.unwrap_err().raw_os_error(), Some(errno as i32));
        }
        assert_eq!(faults.calls(), 2);
        let background = server.serve_in_background()?;
        let error = background.join().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno as i32));
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
fn a_pause_is_cut_short_by_the_timeout_of_handle_request() -> io::Result<()> {
    let (sender, timeouts) = crossbeam_channel::unbounded();
    let faults = Arc::new(Faults::default());
    *faults.lasting.lock() = Some(Errno::ENOBUFS);
    let flaky = Flaky {
        tcp: TcpListener::bind(ANY)?.into(),
        faults: faults.clone(),
    };
    let server = Server::<Flaky, Inline>::builder()
        .hooks(Timeouts(sender))
        .timeout(Duration::from_millis(30))
        .adopt(flaky, || hello)?;
    let _client = connect(server.server_address());
    server.handle_request()?;
    timeouts.recv_timeout(LONG).expect("it is told");
    // 0, 5 and 15 ms after the beginning, and at its end; without pauses thousands of times.
    assert!(faults.calls() <= 4, "{}", faults.calls());
    Ok(())
}
