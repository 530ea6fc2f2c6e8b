//! Slow rejections: other clients do not wait for a slow client or a slow hook.

use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{OverloadPolicy, Stage};

use support::child::in_child;
use support::process;
use support::saturated::{Rejecting, SOON, Saturated};
use support::{LONG, connect, eventually, read_all};

fn read_line(request: &mut StreamRequest) -> HandlerResult {
    request.rfile.readline(100)?;
    Ok(())
}

fn sleep(_: &mut StreamRequest) -> HandlerResult {
    thread::sleep(2 * SOON);
    Ok(())
}

/// Checks that a server serves the next client while the hook runs for twenty clients, which are
/// more than the threads for rejections.
fn others_do_not_wait(reject: Rejecting, message: Option<&str>) {
    let saturated = Saturated::new(OverloadPolicy::Reject, reject);
    let clients: Vec<_> = (0..20)
        .map(|_| connect(saturated.server.server_address()))
        .collect();
    eventually("all clients are rejected", || {
        saturated.server.handle().statistics().rejected.overload == 20
    });
    if let Some(message) = message {
        let (stage, text) = saturated.errors.recv_timeout(LONG).expect("the hook fails");
        assert_eq!(stage, Stage::Reject);
        assert!(text.contains(message), "{text}");
    }
    let since = Instant::now();
    saturated.serves();
    assert!(since.elapsed() < SOON);
    drop(clients);
}

#[test]
fn others_do_not_wait_for_a_client_that_does_not_send() {
    others_do_not_wait(read_line, Some("within 1s"));
}

#[test]
fn others_do_not_wait_for_a_client_that_does_not_read() {
    let reject: Rejecting = |request| loop {
        request.wfile.write_all(&[b'.'; 65_536])?;
    };
    others_do_not_wait(reject, Some("within 1s"));
}

#[test]
fn others_do_not_wait_for_a_hook_that_sleeps() {
    others_do_not_wait(sleep, None);
}

#[test]
fn others_do_not_wait_for_a_hook_that_panics() {
    others_do_not_wait(|_| panic!("hook failed"), Some("hook failed"));
}

#[test]
fn others_do_not_wait_for_a_hook_that_fails() {
    others_do_not_wait(|_| Err("hook failed".into()), Some("hook failed"));
}

fn ends_after_a_second(reject: Rejecting) {
    let saturated = Saturated::new(OverloadPolicy::Reject, reject);
    let since = Instant::now();
    let mut client = connect(saturated.server.server_address());
    let mut sink = Vec::new();
    // A reset or the end of the stream: the connection is closed.
    let _ = client.read_to_end(&mut sink);
    let took = since.elapsed();
    let range = Duration::from_millis(900)..SOON;
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn the_connection_of_a_silent_client_is_closed_after_a_second() {
    ends_after_a_second(read_line);
}

#[test]
fn the_connection_of_a_sleeping_hook_is_closed_after_a_second() {
    ends_after_a_second(sleep);
}

#[test]
fn serving_continues_during_a_thousand_rejections() {
    in_child(|| {
        // Both ends of each connection are in this process.
        process::allow_descriptors(8192);
        let saturated = Saturated::new(OverloadPolicy::Reject, sleep);
        let clients: Vec<_> = (0..1200)
            .map(|_| connect(saturated.server.server_address()))
            .collect();
        eventually("many rejections run", || {
            saturated.server.handle().statistics().rejected.overload == 1024
        });
        // The next client is the first in the kernel's queue, and sends nothing.
        saturated.gate.release(1);
        assert_eq!(read_all(saturated.first), "first\n");
        eventually("the next client is accepted", || {
            saturated.server.handle().statistics().active == 1
        });
        assert_eq!(
            saturated.server.handle().statistics().rejected.overload,
            1024
        );
        drop(clients);
    })
}

#[test]
fn rejections_after_a_queue_timeout_are_limited() {
    in_child(|| {
        // Both ends of each connection are in this process.
        process::allow_descriptors(8192);
        let policy = OverloadPolicy::Queue {
            length: 50,
            timeout: Duration::from_millis(1),
        };
        let saturated = Saturated::new(policy, sleep);
        let _clients: Vec<_> = (0..1200)
            .map(|_| connect(saturated.server.server_address()))
            .collect();
        eventually("many rejections run", || {
            saturated
                .server
                .handle()
                .statistics()
                .rejected
                .queue_timeout
                >= 1024
        });
        thread::sleep(Duration::from_millis(100));
        let accepted = saturated.server.handle().statistics().accepted;
        assert!(accepted <= 1 + 1024 + 50, "{accepted}");
    })
}
