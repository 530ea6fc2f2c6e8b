//! Deadlines without number need one thread, and leave nothing behind. Alone in its process, whose
//! threads and memory it measures.

use std::fs;
use std::process;
use std::time::Duration;

use socketserver::prelude::*;

use support::process::resident;
use support::{ANY, connect, eventually, exchange, in_background};

fn threads_called(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.trim_end() == name).count()
}

#[test]
fn deadlines_need_one_thread_and_are_forgotten_with_their_connections() {
    let server = ThreadingTcpServer::builder()
        .max_lifetime(Duration::from_secs(3600))
        .idle_timeout(Duration::from_secs(3600))
        .max_threads(4)
        .bind_fn(ANY, |request| {
            let line = request.rfile.readline(100)?;
            Ok(request.wfile.write_all(&line)?)
        });
    let server = in_background(server);
    let churn = |connections| {
        for _ in 0..connections {
            let client = connect(server.server_address());
            assert_eq!(exchange(client, "hello\n"), "hello\n");
        }
    };
    assert_eq!(threads_called("timer"), 0);
    churn(2000);
    assert_eq!(threads_called("timer"), 1);
    let before = resident(process::id());
    churn(10_000);
    assert_eq!(threads_called("timer"), 1);
    // An alarm that stays, and the connection it holds, are about half a KiB: 5 MiB in all.
    let grown = resident(process::id()).saturating_sub(before);
    assert!(grown < 1500, "{grown} KiB more");
    server.stop().expect("it was asked to");
    eventually("the pool's threads end", || {
        threads_called("handler-0") == 0
    });
    assert_eq!(threads_called("timer"), 1);
}
