//! Handlers that are stuck for ever when their server is shut down, a crowd of them. What becomes of
//! each kind is tested in `drain.rs`.

use std::time::{Duration, Instant};

use socketserver::prelude::*;

use crate::alone;

use support::handlers::{begin, block, counts};
use support::{ANY, in_background};

#[test]
#[ignore = "of full size"]
fn three_hundred_stuck_handlers() {
    let _alone = alone();
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, block));
    let orders = ["read", "write", "loop"].into_iter().cycle().take(300);
    let _stuck: Vec<_> = orders
        .map(|order| begin(server.server_address(), order))
        .collect();
    let started = Instant::now();
    let report = server.handle().shutdown_within(Duration::from_secs(1));
    let took = started.elapsed();
    println!("returned after {took:.2?}: {report:?}");
    assert_eq!(counts(report), (0, 200, 100));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
