//! A whole server under the model, from accept to close: see [`crate::sync::model`]. Its listener and
//! requests have no sockets; the rest is what runs elsewhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Builder, Server};
use crate::dispatch::ThreadPool;
use crate::error::RequestError;
use crate::handle::{ConnectionEntry, GroupHandle};
use crate::limits::OverloadPolicy;
use crate::listener::Listener;
use crate::request::{Extensions, Lifecycle, Request};
use crate::statistics::Statistics;
use crate::sync::model::{RunLog, explore};
use crate::sync::{Mutex, thread};
use crate::{Address, ServerHandle};

type Settings = Builder<FakeListener, ThreadPool>;

fn threads(most: usize) -> Settings {
    Server::<FakeListener, ThreadPool>::builder()
        .dispatch(ThreadPool::new().thread_keep_alive(Duration::from_secs(1)))
        .max_threads(most)
        .shutdown_timeout(None)
}

/// Serves the clients during `meanwhile`, then shuts down, closes, and checks the statistics.
fn serve(
    settings: Settings,
    clients: &Clients,
    meanwhile: impl FnOnce(&ServerHandle),
) -> Statistics {
    let handled = clients.handled.clone();
    let handle_request = move |request: &mut FakeRequest| {
        handled.run(request.number);
        Ok(())
    };
    let server = settings.adopt_fn(clients.listener(), handle_request);
    let server = server.expect("nothing is opened that could fail");
    let handle = server.handle();
    let serving = thread::spawn(move || {
        server.serve_forever().expect("nothing fails");
        drop(server);
    });
    meanwhile(&handle);
    handle.shutdown();
    handle.wait();
    serving.join().expect("it does not panic");
    let statistics = handle.statistics();
    assert_balanced(&statistics, clients);
    statistics
}

/// No request was lost or handled twice, and none is left.
fn assert_balanced(statistics: &Statistics, clients: &Clients) {
    let (present, handled) = (clients.present.ended(), clients.handled.ended());
    assert!(handled.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(present.iter().copied().eq(0..present.len()));
    assert_eq!(statistics.accepted, present.len() as u64);
    assert_eq!(statistics.finished, handled.len() as u64);
    let ended = statistics.finished + statistics.rejected.total();
    assert_eq!(statistics.accepted, ended);
    let left = (statistics.active, statistics.queued, statistics.threads);
    assert_eq!(left, (0, 0, 0));
}

/// Serves this many clients until all have disconnected.
fn serve_all(settings: Settings, count: usize) -> (Statistics, Clients) {
    let clients = Clients::with(count);
    let statistics = serve(settings, &clients, |_| clients.present.wait_for(count));
    (statistics, clients)
}

#[test]
fn permits_limit_active_requests() {
    explore(|| {
        let (statistics, clients) = serve_all(threads(3).max_connections(2), 4);
        assert_eq!(statistics.finished, 4);
        assert!(statistics.peak_active <= 2);
        assert!(clients.present.take_peak() <= 2);
    });
}

#[test]
fn threads_limit_running_requests() {
    explore(|| {
        let (statistics, clients) = serve_all(threads(1).max_connections(3), 4);
        assert_eq!(statistics.finished, 4);
        assert_eq!(statistics.peak_threads, 1);
        assert_eq!(clients.handled.take_peak(), 1);
    });
}

#[test]
fn pending_requests_are_admitted_when_there_is_capacity() {
    const WITHOUT_LIMIT: OverloadPolicy = OverloadPolicy::Queue {
        length: 2,
        timeout: Duration::MAX,
    };
    explore(|| {
        let settings = threads(2).max_connections(1).overload(WITHOUT_LIMIT);
        let (statistics, clients) = serve_all(settings, 5);
        assert_eq!(statistics.finished, 5);
        assert!(statistics.peak_active <= 1);
        assert!(statistics.peak_queued <= 2);
        assert!(clients.present.take_peak() <= 3);
    });
}

#[test]
fn rejected_clients_are_closed() {
    explore(|| {
        let settings = threads(1).overload(OverloadPolicy::Reject);
        let (statistics, clients) = serve_all(settings, 4);
        assert_eq!(statistics.accepted, 4);
        assert!(statistics.finished >= 1);
        assert_eq!(clients.handled.take_peak(), 1);
    });
}

#[test]
fn clients_connect_while_the_server_waits() {
    explore(|| {
        let clients = Clients::with(1);
        let statistics = serve(threads(1), &clients, |server| {
            (1..4).for_each(|number| clients.connect(number, server));
            clients.present.wait_for(4);
        });
        assert_eq!(statistics.finished, 4);
    });
}

#[test]
fn limits_change_while_serving() {
    explore(|| {
        let clients = Clients::with(5);
        let statistics = serve(threads(2).max_connections(2), &clients, |server| {
            server.set_max_threads(1);
            server.set_max_connections(1);
            server.set_max_threads(3);
            server.set_max_connections(3);
            clients.present.wait_for(5);
        });
        assert_eq!(statistics.finished, 5);
        assert!(statistics.peak_active <= 3);
        assert!(clients.handled.take_peak() <= 3);
    });
}

#[test]
fn paused_and_resumed() {
    explore(|| {
        let clients = Clients::with(3);
        let statistics = serve(threads(2).max_connections(1), &clients, |server| {
            server.pause();
            server.resume();
            clients.present.wait_for(3);
        });
        assert_eq!(statistics.finished, 3);
    });
}

#[test]
fn shut_down_at_any_time() {
    const WITHOUT_LIMIT: OverloadPolicy = OverloadPolicy::Queue {
        length: 2,
        timeout: Duration::MAX,
    };
    explore(|| {
        for policy in [OverloadPolicy::Wait, OverloadPolicy::Reject, WITHOUT_LIMIT] {
            let settings = threads(2).max_connections(1).overload(policy);
            serve(settings, &Clients::with(3), |_| ());
        }
    });
}

#[test]
fn serving_stops_and_begins_again() {
    explore(|| {
        let clients = Clients::with(2);
        let handled = clients.handled.clone();
        let server = threads(2).adopt_fn(clients.listener(), move |request: &mut FakeRequest| {
            handled.run(request.number);
            Ok(())
        });
        let server = server.expect("nothing is opened that could fail");
        let handle = server.handle();
        let serving = thread::spawn(move || {
            while !server.handle().is_shutdown_begun() {
                server.serve_forever().expect("nothing fails");
            }
        });
        handle.stop_serving();
        clients.connect(2, &handle);
        handle.stop_serving();
        clients.present.wait_for(3);
        handle.shutdown();
        serving.join().expect("it does not panic");
        assert_balanced(&handle.statistics(), &clients);
    });
}

#[test]
fn two_servers_share_a_limit() {
    explore(|| share_a_limit(OverloadPolicy::Wait));
}

#[test]
fn two_servers_with_queues_share_a_limit() {
    explore(|| {
        share_a_limit(OverloadPolicy::Queue {
            length: 2,
            timeout: Duration::MAX,
        })
    });
}

/// All clients are served, one at a time.
fn share_a_limit(policy: OverloadPolicy) {
    let group = GroupHandle::new();
    group.set_max_connections(1);
    let running = RunLog::default();
    let both = [Clients::with(2), Clients::with(2)];
    let serving = both.each_ref().map(|clients| {
        let (handled, running) = (clients.handled.clone(), running.clone());
        let settings = threads(2).overload(policy);
        let server = settings.adopt_fn(clients.listener(), move |request: &mut FakeRequest| {
            running.run(request.number);
            handled.run(request.number);
            Ok(())
        });
        let server = server.expect("nothing is opened that could fail");
        group.add(server.handle());
        thread::spawn(move || server.serve_forever().expect("nothing fails"))
    });
    both.iter().for_each(|clients| clients.present.wait_for(2));
    group.shutdown();
    for serving in serving {
        serving.join().expect("it does not panic");
    }
    assert_eq!(running.take_peak(), 1);
    for (server, clients) in group.servers().iter().zip(&both) {
        assert_balanced(&server.statistics(), clients);
    }
}

/// The clients of one server. Clones share them.
#[derive(Clone, Default)]
struct Clients {
    waiting: Arc<Mutex<VecDeque<usize>>>,
    /// From accept to close.
    present: RunLog,
    handled: RunLog,
}

impl Clients {
    fn with(count: usize) -> Self {
        let clients = Clients::default();
        clients.waiting.lock().extend(0..count);
        clients
    }

    /// One more client connects. The notification replaces a readable descriptor.
    fn connect(&self, number: usize, server: &ServerHandle) {
        self.waiting.lock().push_back(number);
        server.poller().notify();
    }

    fn listener(&self) -> FakeListener {
        FakeListener {
            clients: self.clone(),
            descriptor: File::open("/dev/null").expect("every system has it"),
        }
    }
}

/// A listener without a socket.
struct FakeListener {
    clients: Clients,
    /// A descriptor for the poller.
    descriptor: File,
}

impl Listener for FakeListener {
    type Request = FakeRequest;

    fn accept(&self, server: &ServerHandle) -> io::Result<FakeRequest> {
        let first = self.clients.waiting.lock().pop_front();
        let number = first.ok_or(io::ErrorKind::WouldBlock)?;
        self.clients.present.begin();
        Ok(FakeRequest {
            number,
            present: self.clients.present.clone(),
            server: server.clone(),
            extensions: Extensions::default(),
        })
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(Address::Unnamed)
    }
}

impl AsFd for FakeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A request without a connection.
struct FakeRequest {
    number: usize,
    present: RunLog,
    server: ServerHandle,
    extensions: Extensions,
}

impl Drop for FakeRequest {
    fn drop(&mut self) {
        self.present.end(self.number);
    }
}

impl Request for FakeRequest {
    fn id(&self) -> u64 {
        self.number as u64
    }

    fn client_address(&self) -> &Address {
        &Address::Unnamed
    }

    fn server(&self) -> &ServerHandle {
        &self.server
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Lifecycle for FakeRequest {
    const OWNS_SOCKET: bool = true;

    fn connection_entry(&self) -> Option<ConnectionEntry> {
        None
    }

    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn begin_rejection(&mut self, _: Duration, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_disconnect(&self, _: &RequestError) -> bool {
        false
    }

    fn abandon(&mut self) {}

    fn byte_counts(&self) -> (u64, u64) {
        (0, 0)
    }
}
