//! The counterpart of Python's `test_write`: a write is sent at once, and completely even if a
//! signal interrupts it.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use socketserver::TcpServer;

use support::child::in_child;
use support::{ANY, connect, eventually, join_soon, next};

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

/// Installs a handler that counts the signal. It has no `SA_RESTART`, so the signal interrupts
/// system calls.
#[allow(unsafe_code)]
fn catch(signal: Signal) {
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler only increments an atomic.
    unsafe { sigaction(signal, &action) }.expect("the signal can be caught");
}

/// The number of caught signals.
fn caught() -> usize {
    CAUGHT.load(Ordering::SeqCst)
}

/// A size that is larger than any socket buffer.
const BIG: usize = 16 * 1024 * 1024;

fn interrupt(thread: Pthread) {
    let before = caught();
    pthread_kill(thread, Signal::SIGUSR1).expect("the thread runs");
    eventually("the signal arrives", || caught() > before);
}

/// Interrupts a thread until its write returns.
fn interrupt_until_short(thread: Pthread, written: &Receiver<usize>) -> usize {
    loop {
        interrupt(thread);
        if let Ok(length) = written.recv_timeout(Duration::from_millis(100)) {
            return length;
        }
    }
}

#[test]
fn test_write() {
    in_child(|| {
        catch(Signal::SIGUSR1);
        let (reporter, written) = channel();
        let server = TcpServer::bind_fn(ANY, move |request| {
            request.wfile.write_all(b"write data\n")?;
            assert_eq!(request.rfile.readline(100)?, b"client response\n");
            // A single write returns early, which shows that the signals interrupt system calls.
            reporter.send(request.wfile.write(&vec![b'1'; BIG])?)?;
            request.wfile.write_all(&vec![b'2'; BIG])?;
            Ok(reporter.send(BIG)?)
        });
        let server = server.expect("a port is free");
        let address = server.server_address().clone();
        let (tell_thread, thread) = channel();
        let serving = thread::spawn(move || {
            tell_thread
                .send(pthread_self())
                .expect("the test receives it");
            server.handle_request()
        });
        let serving_thread = next(&thread);

        let mut client = BufReader::new(connect(&address));
        let mut line = String::new();
        client
            .read_line(&mut line)
            .expect("the data is sent without a flush");
        assert_eq!(line, "write data\n");
        client
            .get_mut()
            .write_all(b"client response\n")
            .expect("the server reads");

        // Some bytes have arrived, so the server is in its write, and stays there until the client
        // reads.
        client.fill_buf().expect("the server writes");
        let short = interrupt_until_short(serving_thread, &written);
        assert!(0 < short && short < BIG, "{short} bytes were written");
        let mut first = vec![0; short];
        client
            .read_exact(&mut first)
            .expect("the written bytes arrive");
        assert!(first.iter().all(|byte| *byte == b'1'));

        client.fill_buf().expect("the server continues to write");
        for _ in 0..20 {
            interrupt(serving_thread);
        }
        let mut second = Vec::new();
        client.read_to_end(&mut second).expect("the server closes");
        assert_eq!(second.len(), BIG);
        assert!(second.iter().all(|byte| *byte == b'2'));
        assert_eq!(next(&written), BIG);
        join_soon(serving).expect("one request was served");
    })
}
