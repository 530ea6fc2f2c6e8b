//! What a panic throws is dropped, and its drop may panic too.

use std::io;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socketserver::prelude::*;

use support::{ANY, connect, eventually, in_background, read_all};

struct Payload {
    dropped: Arc<AtomicUsize>,
    panics: bool,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            panic!("the drop of a payload");
        }
    }
}

fn is_dropped(panics: bool) -> io::Result<()> {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, move |_| {
        let dropped = Arc::clone(&counter);
        panic_any(Payload { dropped, panics })
    }));
    for _ in 0..3 {
        assert_eq!(read_all(connect(server.server_address())), "");
    }
    eventually("each request is counted", || {
        server.handle().statistics().panicked == 3
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    server.stop()
}

#[test]
fn a_payload_is_dropped() -> io::Result<()> {
    is_dropped(false)
}

#[test]
fn a_payload_whose_drop_panics_ends_its_request_only() -> io::Result<()> {
    is_dropped(true)
}
