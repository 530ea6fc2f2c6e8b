use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::arrival::Arrival;
#[cfg(feature = "fork")]
use super::away::Away;
use super::service::Service;
use crate::dispatch::{Dispatch, Job, Task, ThreadPool, Waker};
use crate::limits::RejectReason;
use crate::request::Request;
#[cfg(feature = "fork")]
use crate::{dispatch::Remote, sys::process::Pid};

/// Where rejected requests are told so: on a few threads of their own, so that nobody else waits for
/// it.
///
/// Where there may be no other threads, on the serving thread.
pub(super) struct Rejections(Option<ThreadPool>);

impl Rejections {
    /// More than this are not kept waiting for their turn.
    const MOST: usize = 1024;
    const THREADS: usize = 16;
    const KEEP_ALIVE: Duration = Duration::from_secs(1);
    /// How long each may take.
    const WITHIN: Duration = Duration::from_secs(1);

    pub(super) fn new(may_start_threads: bool) -> Self {
        let threads = || {
            ThreadPool::new()
                .max_threads(Self::THREADS)
                .thread_keep_alive(Self::KEEP_ALIVE)
                .thread_name("reject")
        };
        Rejections(may_start_threads.then(threads))
    }

    pub(super) fn has_capacity(&self, waker: &Waker) -> bool {
        let has_capacity = |threads: &ThreadPool| threads.has_fewer_than(Self::MOST, waker);
        self.0.as_ref().is_none_or(has_capacity)
    }

    pub(super) fn reject<R: Request>(
        &self,
        arrival: Arrival<R>,
        why: RejectReason,
        service: &Arc<Service<R>>,
    ) {
        let Some(threads) = &self.0 else {
            return service.reject(arrival, why, Self::WITHIN, true);
        };
        let service = Arc::clone(service);
        threads.dispatch(Job::new(Farewell {
            arrival,
            why,
            service,
        }));
    }

    pub(super) fn join(&self) {
        if let Some(threads) = &self.0 {
            threads.join();
        }
    }
}

/// A rejected request, to be told so and closed.
struct Farewell<R> {
    arrival: Arrival<R>,
    why: RejectReason,
    service: Arc<Service<R>>,
}

impl<R: Request> Task for Farewell<R> {
    fn run(self: Box<Self>) {
        let Farewell {
            arrival,
            why,
            service,
        } = *self;
        service.reject(arrival, why, Rejections::WITHIN, false);
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

    #[cfg(feature = "fork")]
    fn run_as_child(self: Box<Self>) -> bool {
        self.run();
        true
    }

    #[cfg(feature = "fork")]
    fn leave_to(self: Box<Self>, child: Pid) -> Box<dyn Remote> {
        Box::new(Away::new(self.arrival, child))
    }
}
