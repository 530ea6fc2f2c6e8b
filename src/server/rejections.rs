use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::arrival::Arrival;
use super::service::Service;
use crate::dispatch::{Dispatch, Job, Task, ThreadPool, Waker};
use crate::limits::Rejection;
use crate::request::Request;

/// Where rejected requests are told so: on a few threads of their own, so that nobody else waits for
/// it.
pub(super) struct Rejections(ThreadPool);

impl Rejections {
    /// More than this are not kept waiting for their turn.
    const MOST: usize = 1024;
    const THREADS: usize = 16;
    const IDLE_TIME: Duration = Duration::from_secs(1);
    /// How long each may take.
    const WITHIN: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        let threads = ThreadPool::new()
            .max_threads(Self::THREADS)
            .idle_time(Self::IDLE_TIME)
            .thread_name("reject");
        Rejections(threads)
    }

    pub(super) fn has_room(&self, waker: &Waker) -> bool {
        self.0.has_fewer_than(Self::MOST, waker)
    }

    pub(super) fn reject<R: Request>(
        &self,
        arrival: Arrival<R>,
        why: Rejection,
        service: &Arc<Service<R>>,
    ) {
        let service = Arc::clone(service);
        self.0.dispatch(Job::new(Farewell {
            arrival,
            why,
            service,
        }));
    }

    pub(super) fn join(&self) {
        self.0.join();
    }
}

/// A rejected request, to be told so and closed.
struct Farewell<R> {
    arrival: Arrival<R>,
    why: Rejection,
    service: Arc<Service<R>>,
}

impl<R: Request> Task for Farewell<R> {
    fn run(self: Box<Self>) {
        let Farewell {
            arrival,
            why,
            service,
        } = *self;
        let server = arrival.ticket.server().clone();
        let _here = server.registry().run_here();
        service.reject(arrival, why, Rejections::WITHIN);
    }

    /// No thread could be had to say it.
    fn refuse(self: Box<Self>, _: io::Error) {
        let Farewell {
            arrival,
            why,
            service,
        } = *self;
        service.close_rejected(arrival, why);
    }
}
