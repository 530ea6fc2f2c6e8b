//! Every request has a number, which starts at 1 for each server.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use socketserver::dispatch::Inline;
use socketserver::request::Request;
use socketserver::{Dispatch, Server};

use support::concurrent::Concurrent;
use support::counts::settled;
use support::kind::{Client, Kind, LineRequest};
use support::{for_all_kinds, socket_folder};

/// The request numbers that handlers get.
fn numbers<L: Kind, D: Dispatch + Default>() -> io::Result<Vec<u64>> {
    let folder = socket_folder();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let place = L::address(folder.path());
    let server = Server::<L, D>::bind_fn(place, move |request: &mut L::Request| {
        see.lock()
            .expect("no thread panics while it holds the lock")
            .push(request.id());
        Ok(request.write_message("seen")?)
    })?;
    let server = server.serve_in_background()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = L::connect(server.server_address());
                    client.begin();
                    assert_eq!(client.receive_line(), "seen");
                }
            });
        }
    });
    settled(&server.handle(), 100);
    let numbers = seen
        .lock()
        .expect("no thread panics while it holds the lock");
    Ok(numbers.clone())
}

fn request_numbers_count_from_one<L: Kind>() {
    let inline = numbers::<L, Inline>().expect("the server serves");
    assert_eq!(inline, (1..=100).collect::<Vec<_>>());
    let threading = numbers::<L, Concurrent>().expect("the server serves");
    assert_eq!(threading.len(), 100);
    let threading: BTreeSet<_> = threading.into_iter().collect();
    assert_eq!(threading, (1..=100).collect());
}

for_all_kinds! { request_numbers_count_from_one }
