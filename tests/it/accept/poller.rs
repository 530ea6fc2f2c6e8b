//! Errors of the poller, such as ENOSPC from `epoll_ctl`: the server goes on without it, and pauses between
//! its attempts to accept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socketserver::dispatch::Inline;
use socketserver::prelude::*;
use socketserver::{Listener, Server};

use support::listener::FakeListener;
use support::logs::Logs;
use support::{connect, eventually, read_all};

/// A server whose poller fails while the flag is set, and the number of its attempts to accept.
fn start(fails: &Arc<AtomicBool>) -> io::Result<(BackgroundServer, Arc<AtomicUsize>)> {
    let calls = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&calls);
    let listener = FakeListener::new(move |tcp, server| {
        count.fetch_add(1, Ordering::SeqCst);
        tcp.accept(server)
    });
    let listener = listener.with_failing_poller(Arc::clone(fails));
    let hello = |request: &mut StreamRequest| Ok(request.wfile.write_all(b"hello")?);
    let server = Server::<FakeListener, Inline>::builder().adopt_fn(listener, hello)?;
    Ok((server.serve_in_background()?, calls))
}

#[test]
fn the_server_backs_off_and_goes_on() -> io::Result<()> {
    let logs = Logs::from_here();
    let fails = Arc::new(AtomicBool::new(true));
    let begin = Instant::now();
    let (server, calls) = start(&fails)?;
    let address = server.server_address().clone();
    eventually("six attempts to accept", || {
        calls.load(Ordering::SeqCst) >= 6
    });
    // Five pauses: 5, 10, 20, 40 and 80 ms. On a busy machine they take longer.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(155), "{took:?}");
    assert_eq!(read_all(connect(&address)), "hello");

    let lines = logs.with(&address.to_string());
    let warnings = lines.iter().filter(|(level, _)| *level == log::Level::Warn);
    assert!(
        (1..calls.load(Ordering::SeqCst)).contains(&warnings.count()),
        "{lines:?}"
    );
    let again = format!("accepting again on tcp {address}");
    assert_eq!(logs.with(&again), []);
    fails.store(false, Ordering::SeqCst);
    // It is logged when the poller has reported a client.
    eventually("the log reports that the server accepts again", || {
        assert_eq!(read_all(connect(&address)), "hello");
        !logs.with(&again).is_empty()
    });
    server.stop()
}

#[test]
fn shutdown_interrupts_the_pause() -> io::Result<()> {
    let (server, calls) = start(&Arc::new(AtomicBool::new(true)))?;
    // The pause after the ninth attempt is the first that lasts a whole second.
    eventually("nine attempts to accept", || {
        calls.load(Ordering::SeqCst) >= 9
    });
    let stopped = Instant::now();
    server.stop()?;
    assert!(stopped.elapsed() < Duration::from_millis(900));
    Ok(())
}
