//! Values of the program whose drop panics: what a panic throws, errors, handlers, extensions. Where
//! another panic may be on its way, the test runs in a separate process, which would be aborted.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socketserver::prelude::*;
use socketserver::{RequestError, Statistics};

use support::child::in_child;
use support::concurrent::ConcurrentTcpServer;
use support::counts::{outcomes, settled};
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
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, move |_| {
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

/// A value whose drop panics: an extension, an error, or a part of a handler.
#[derive(Debug)]
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

impl fmt::Display for PanicsInDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error whose drop panics")
    }
}

impl Error for PanicsInDrop {}

/// Serves three clients, which all see the end of the stream.
fn serve_three(server: io::Result<ConcurrentTcpServer>) -> Statistics {
    let server = in_background(server);
    for _ in 0..3 {
        assert_eq!(read_all(connect(server.server_address())), "");
    }
    let counted = settled(&server.handle(), 3);
    server.stop().expect("serving ends without an error");
    counted
}

#[test]
fn two_extensions_whose_drops_panic() {
    in_child(|| {
        let counted = serve_three(ConcurrentTcpServer::bind_fn(ANY, |request| {
            struct Second(#[allow(dead_code)] PanicsInDrop);
            request.extensions.insert(PanicsInDrop);
            request.extensions.insert(Second(PanicsInDrop));
            Ok(())
        }));
        assert_eq!(outcomes(&counted), [3, 0, 0, 0, 0]);
    });
}

#[test]
fn a_panic_in_handle_error_with_an_error_whose_drop_panics() {
    struct Panics;
    impl Hooks for Panics {
        fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
            panic!("in handle_error");
        }
    }
    in_child(|| {
        let builder = ConcurrentTcpServer::builder().hooks(Panics);
        let counted = serve_three(builder.bind_fn(ANY, |_| Err(PanicsInDrop.into())));
        assert_eq!(outcomes(&counted), [0, 3, 0, 0, 0]);
    });
}

#[test]
fn a_panic_in_setup_with_a_handler_whose_drop_panics() {
    struct Handler(#[allow(dead_code)] PanicsInDrop);
    impl RequestHandler for Handler {
        fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
            panic!("in setup");
        }
        fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
            Ok(())
        }
    }
    in_child(|| {
        let builder = ConcurrentTcpServer::builder();
        let counted = serve_three(builder.bind(ANY, || Handler(PanicsInDrop)));
        assert_eq!(outcomes(&counted), [0, 0, 3, 0, 0]);
    });
}
