//! A whole server under the model, from accept to close: see [`crate::sync::model`]. Its listener and
//! requests have no sockets; the rest is what runs elsewhere.

mod street;

use std::time::Duration;

use self::street::{Street, Visit, Visits};
use super::{Builder, Server};
use crate::ServerHandle;
use crate::dispatch::ThreadPool;
use crate::limits::OverloadPolicy;
use crate::statistics::Statistics;
use crate::sync::model::explore;
use crate::sync::thread;

type Settings = Builder<Visits, ThreadPool>;

fn threads(most: usize) -> Settings {
    Server::<Visits, ThreadPool>::builder()
        .dispatch(ThreadPool::new().thread_keep_alive(Duration::from_secs(1)))
        .max_threads(most)
        .shutdown_timeout(None)
}

/// Serves the street while something else is done, then shuts down, closes, and looks whether the
/// books are right.
fn serve(settings: Settings, street: &Street, meanwhile: impl FnOnce(&ServerHandle)) -> Statistics {
    let handled = street.handled.clone();
    let handle_request = move |visit: &mut Visit| {
        handled.run(visit.number);
        Ok(())
    };
    let server = settings.adopt_fn(street.listener(), handle_request);
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
    assert_balanced(&statistics, street);
    statistics
}

/// Nobody was lost or handled twice, and nobody is left.
fn assert_balanced(statistics: &Statistics, street: &Street) {
    let (present, handled) = (street.present.ended(), street.handled.ended());
    assert!(handled.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(present.iter().copied().eq(0..present.len()));
    assert_eq!(statistics.accepted, present.len() as u64);
    assert_eq!(statistics.finished, handled.len() as u64);
    let ended = statistics.finished + statistics.rejected.total();
    assert_eq!(statistics.accepted, ended);
    let left = (statistics.active, statistics.queued, statistics.threads);
    assert_eq!(left, (0, 0, 0));
}

/// Serves so many clients until all of them are gone.
fn serve_all(settings: Settings, clients: usize) -> (Statistics, Street) {
    let street = Street::with(clients);
    let statistics = serve(settings, &street, |_| street.present.wait_for(clients));
    (statistics, street)
}

#[test]
fn permits_bound_the_active() {
    explore(|| {
        let (statistics, street) = serve_all(threads(3).max_connections(2), 4);
        assert_eq!(statistics.finished, 4);
        assert!(statistics.peak_active <= 2);
        assert!(street.present.take_peak() <= 2);
    });
}

#[test]
fn threads_bound_the_running() {
    explore(|| {
        let (statistics, street) = serve_all(threads(1).max_connections(3), 4);
        assert_eq!(statistics.finished, 4);
        assert_eq!(statistics.peak_threads, 1);
        assert_eq!(street.handled.take_peak(), 1);
    });
}

#[test]
fn the_queue_is_admitted_as_there_is_room() {
    const FOR_EVER: OverloadPolicy = OverloadPolicy::Queue {
        length: 2,
        timeout: Duration::MAX,
    };
    explore(|| {
        let settings = threads(2).max_connections(1).overload(FOR_EVER);
        let (statistics, street) = serve_all(settings, 5);
        assert_eq!(statistics.finished, 5);
        assert!(statistics.peak_active <= 1);
        assert!(statistics.peak_queued <= 2);
        assert!(street.present.take_peak() <= 3);
    });
}

#[test]
fn rejected_clients_are_gone_too() {
    explore(|| {
        let settings = threads(1).overload(OverloadPolicy::Reject);
        let (statistics, street) = serve_all(settings, 4);
        assert_eq!(statistics.accepted, 4);
        assert!(statistics.finished >= 1);
        assert_eq!(street.handled.take_peak(), 1);
    });
}

#[test]
fn clients_come_late() {
    explore(|| {
        let street = Street::with(1);
        let statistics = serve(threads(1), &street, |server| {
            (1..4).for_each(|number| street.knock(number, server));
            street.present.wait_for(4);
        });
        assert_eq!(statistics.finished, 4);
    });
}

#[test]
fn the_bounds_move_meanwhile() {
    explore(|| {
        let street = Street::with(5);
        let statistics = serve(threads(2).max_connections(2), &street, |server| {
            server.set_max_threads(1);
            server.set_max_connections(1);
            server.set_max_threads(3);
            server.set_max_connections(3);
            street.present.wait_for(5);
        });
        assert_eq!(statistics.finished, 5);
        assert!(statistics.peak_active <= 3);
        assert!(street.handled.take_peak() <= 3);
    });
}

#[test]
fn suspended_and_resumed() {
    explore(|| {
        let street = Street::with(3);
        let statistics = serve(threads(2).max_connections(1), &street, |server| {
            server.pause();
            server.resume();
            street.present.wait_for(3);
        });
        assert_eq!(statistics.finished, 3);
    });
}

#[test]
fn shut_down_at_any_time() {
    const FOR_EVER: OverloadPolicy = OverloadPolicy::Queue {
        length: 2,
        timeout: Duration::MAX,
    };
    explore(|| {
        for policy in [OverloadPolicy::Wait, OverloadPolicy::Reject, FOR_EVER] {
            let settings = threads(2).max_connections(1).overload(policy);
            serve(settings, &Street::with(3), |_| ());
        }
    });
}
