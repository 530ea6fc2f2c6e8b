//! Many handlers that are blocked when their server is shut down. The outcome of each kind is
//! tested in `it/shutdown/drain.rs`.

use std::time::{Duration, Instant};

use socketserver::prelude::*;

use crate::exclusive;

use support::handlers::{begin, block, counts};
use support::{ANY, in_background};

#[test]
#[ignore = "full size"]
fn three_hundred_blocked_handlers() {
    let _exclusive = exclusive();
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, block));
    let orders = ["read", "write", "loop"].into_iter().cycle().take(300);
    let _blocked: Vec<_> = orders
        .map(|order| begin(server.server_address(), order))
        .collect();
    let started = Instant::now();
    let report = server.handle().shutdown_within(Duration::from_secs(1));
    let took = started.elapsed();
    println!("returned after {took:.2?}: {report:?}");
    assert_eq!(counts(report), (0, 200, 100));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
