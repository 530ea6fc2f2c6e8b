//! The write timeout limits a whole call, in handlers, hooks and through handles.

use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use socketserver::prelude::*;
use socketserver::{HandlerError, OverloadPolicy};

use support::child::in_child;
use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::{ANY, connect, exchange, in_background, join_soon, next, read_all};

const TIMEOUT: Duration = Duration::from_millis(900);

/// Less than twice the timeout, for a busy machine.
const LATEST: Duration = Duration::from_millis(1750);

/// Longer than all buffers on the way.
const LONG_MESSAGE: usize = 16 << 20;

/// How a handler sends a message.
type Send = fn(&mut StreamRequest, &[u8]) -> std::io::Result<()>;

fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = call();
    (begin.elapsed(), result)
}

fn assert_in_time((took, error): (Duration, ErrorKind)) {
    assert_eq!(error, ErrorKind::TimedOut);
    assert!(took >= TIMEOUT && took <= LATEST, "it took {took:?}");
}

/// The duration and error of a handler's write to a client that does not read.
fn blocked_write(wbufsize: usize, length: usize, send: Send) -> (Duration, ErrorKind) {
    let (results, result) = channel();
    let builder = ConcurrentTcpServer::builder()
        .wbufsize(wbufsize)
        .write_timeout(TIMEOUT);
    let server = builder.bind_fn(ANY, move |request| {
        // Until the buffers are full.
        let (took, error) = loop {
            let (took, sent) = timed(|| send(request, &vec![b'.'; length]));
            if let Err(error) = sent {
                break (took, error);
            }
        };
        Ok(results.send((took, error.kind()))?)
    });
    let server = in_background(server);
    let _client = connect(server.server_address());
    next(&result)
}

#[test]
fn a_write_of_any_length_ends_in_time() {
    for length in [1000, 100_000, LONG_MESSAGE] {
        assert_in_time(blocked_write(0, length, |request, data| {
            request.wfile.write_all(data)
        }));
    }
}

#[test]
fn a_file_ends_in_time() {
    assert_in_time(blocked_write(0, 0, |request, _| {
        let file = tempfile::tempfile()?;
        file.set_len(LONG_MESSAGE as u64)?;
        request.wfile.send_file(&file, ..).map(drop)
    }));
}

#[test]
fn a_vectored_write_ends_in_time() {
    assert_in_time(blocked_write(0, LONG_MESSAGE, |request, data| {
        let (first, second) = data.split_at(data.len() / 2);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        request.wfile.write_vectored(&slices).map(drop)
    }));
}

#[test]
fn a_buffered_write_ends_in_time() {
    for length in [1000, LONG_MESSAGE] {
        assert_in_time(blocked_write(65_536, length, |request, data| {
            request.wfile.write_all(data)
        }));
    }
}

#[test]
fn a_flush_ends_in_time() {
    assert_in_time(blocked_write(
        LONG_MESSAGE + 1,
        LONG_MESSAGE,
        |request, data| {
            request.wfile.write_all(data)?;
            request.wfile.flush()
        },
    ));
}

#[test]
fn a_write_through_a_handle_ends_in_time() {
    assert_in_time(blocked_write(0, LONG_MESSAGE, |request, data| {
        request.connection()?.send_all(data)
    }));
}

/// The first thread sends a part of its message. Nothing may follow that.
#[test]
fn a_write_that_waits_for_another_thread_ends_in_time() {
    let (took, error) = blocked_write(0, LONG_MESSAGE, |request, data| {
        let connection = request.connection()?;
        thread::scope(|scope| {
            let other = scope.spawn(|| connection.send_all(data));
            thread::sleep(TIMEOUT / 4);
            let sent = connection.send_all(data);
            let _ = other.join();
            sent
        })
    });
    assert_eq!(error, ErrorKind::BrokenPipe);
    assert!(took <= LATEST, "it took {took:?}");
}

/// The system takes 1,024 slices in one call.
#[test]
fn a_vectored_write_of_many_slices_is_one_message() {
    let server = ConcurrentTcpServer::bind_fn(ANY, |request| {
        let slices = [IoSlice::new(b"ab"); 5000];
        let sent = request.wfile.write_vectored(&slices)?;
        assert_eq!(sent, 10_000);
        Ok(())
    });
    let server = in_background(server);
    let received = read_all(connect(server.server_address()));
    assert_eq!(received, "ab".repeat(5000));
}

/// A client that takes a little now and then.
#[test]
fn a_client_that_reads_slowly_does_not_extend_a_write() {
    let (results, result) = channel();
    let builder = ConcurrentTcpServer::builder().write_timeout(TIMEOUT);
    let server = builder.bind_fn(ANY, move |request| {
        let (took, sent) = timed(|| request.wfile.write_all(&vec![b'.'; LONG_MESSAGE]));
        Ok(results.send((took, sent.expect_err("the client is slow").kind()))?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    let reading = thread::spawn(move || {
        let mut piece = vec![0; 100_000];
        while client.read(&mut piece).is_ok_and(|n| n > 0) {
            thread::sleep(TIMEOUT / 10);
        }
    });
    assert_in_time(next(&result));
    drop(server);
    join_soon(reading);
}

/// Hooks that refuse or reject with a long answer.
struct Refuse {
    results: std::sync::mpsc::Sender<(Duration, ErrorKind)>,
    refuses: bool,
}

impl Refuse {
    fn write(&self, request: &mut StreamRequest) -> HandlerResult {
        let (took, sent) = timed(|| request.wfile.write_all(&vec![b'.'; LONG_MESSAGE]));
        Ok(self
            .results
            .send((took, sent.expect_err("it does not read").kind()))?)
    }
}

impl Hooks for Refuse {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        if self.refuses {
            // The next client is served.
            let first = request.id() == 1;
            return if first {
                self.write(request).map(|()| false)
            } else {
                Ok(true)
            };
        }
        Ok(true)
    }

    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        self.write(request)
    }
}

fn refusing(
    refuses: bool,
    builder: ConcurrentBuilder,
) -> (BackgroundServer, Receiver<(Duration, ErrorKind)>) {
    let (results, result) = channel();
    let builder = builder.hooks(Refuse { results, refuses });
    let server = builder.bind_fn(ANY, |request| {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
        Ok(request.rfile.read_line(&mut String::new()).map(drop)?)
    });
    (in_background(server), result)
}

type ConcurrentBuilder = socketserver::Builder<socketserver::listener::Tcp, Concurrent>;

#[test]
fn a_refusal_in_verify_request_ends_in_time() {
    let builder = ConcurrentTcpServer::builder().write_timeout(TIMEOUT);
    let (server, result) = refusing(true, builder);
    let _silent = connect(server.server_address());
    assert_in_time(next(&result));
    assert_eq!(
        exchange(connect(server.server_address()), "next\n"),
        "next\n"
    );
}

/// Without a write timeout, a second is the limit for the thread of the accept loop.
#[test]
fn a_refusal_without_a_write_timeout_ends_after_a_second() {
    let (server, result) = refusing(true, ConcurrentTcpServer::builder());
    let _silent = connect(server.server_address());
    let (took, error) = next(&result);
    assert_eq!(error, ErrorKind::TimedOut);
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_millis(1950),
        "{took:?}"
    );
    assert_eq!(
        exchange(connect(server.server_address()), "next\n"),
        "next\n"
    );
}

#[test]
fn a_rejection_ends_in_time() {
    let builder = ConcurrentTcpServer::builder().max_connections(1);
    let builder = builder
        .overload(OverloadPolicy::Reject)
        .write_timeout(TIMEOUT);
    let (server, result) = refusing(false, builder);
    let first = connect(server.server_address());
    assert_eq!(exchange(&first, "first\n"), "first\n");
    let _silent = connect(server.server_address());
    assert_in_time(next(&result));
}

/// The client is gone, and the program has not ignored SIGPIPE as Rust programs do.
#[test]
fn no_write_raises_sigpipe() {
    in_child(|| {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action is no code of this program.
        #[allow(unsafe_code)]
        let set = unsafe { sigaction(Signal::SIGPIPE, &default) };
        set.expect("the action can be set");
        let (results, result) = channel();
        let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
            request.rfile.read_to_end(&mut vec![])?;
            let writes: [Send; 4] = [
                |request, data| {
                    request
                        .wfile
                        .write_vectored(&[IoSlice::new(data); 2])
                        .map(drop)
                },
                |request, data| request.wfile.write_all(data),
                |request, data| request.connection()?.send_all(data),
                |request, _| {
                    let file = File::open("/proc/self/exe")?;
                    request.wfile.send_file(&file, ..4).map(drop)
                },
            ];
            for write in writes {
                // The first one is answered with a reset.
                let failed = (0..1000).find_map(|_| {
                    thread::sleep(Duration::from_millis(1));
                    write(request, b"reply").err()
                });
                results.send(failed.is_some())?;
            }
            Ok(())
        });
        let server = in_background(server);
        drop(connect(server.server_address()));
        for _ in 0..4 {
            assert!(next(&result));
        }
    });
}
