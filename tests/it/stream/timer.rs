//! The time limits of any number of connections use one thread, and are freed with their
//! connections.

use std::process;
use std::time::Duration;

use socketserver::prelude::*;

use support::child::in_child;
use support::process::{resident, threads_named};
use support::{ANY, connect, eventually, exchange, in_background};

#[test]
fn time_limits_use_one_thread_and_are_freed_with_their_connections() {
    in_child(|| {
        let server = ThreadingTcpServer::builder()
            .max_lifetime(Duration::from_secs(3600))
            .idle_timeout(Duration::from_secs(3600))
            .max_threads(4)
            .bind_fn(ANY, |request| {
                let line = request.rfile.readline(100)?;
                Ok(request.wfile.write_all(&line)?)
            });
        let server = in_background(server);
        let serve = |connections| {
            for _ in 0..connections {
                let client = connect(server.server_address());
                assert_eq!(exchange(client, "hello\n"), "hello\n");
            }
        };
        assert_eq!(threads_named(process::id(), "timer"), 0);
        serve(2000);
        assert_eq!(threads_named(process::id(), "timer"), 1);
        let before = resident(process::id());
        serve(10_000);
        assert_eq!(threads_named(process::id(), "timer"), 1);
        // If timer entries kept their connections, at about half a KiB each, this would be 5 MiB.
        let grown = resident(process::id()).saturating_sub(before);
        assert!(grown < 1500, "{grown} KiB more");
        server.stop().expect("serving ends without an error");
        eventually("the pool's threads end", || {
            threads_named(process::id(), "handler-") == 0
        });
        assert_eq!(threads_named(process::id(), "timer"), 1);
    })
}
