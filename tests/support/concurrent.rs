//! Servers for tests of what threads and green tasks have in common.

#[cfg(feature = "green")]
use socketserver::dispatch::Green;
use socketserver::dispatch::{Dispatch, Job, ThreadGauge, ThreadPool, Waker};
use socketserver::listener::{Tcp, Udp, Unix, UnixDatagram};
use socketserver::{Server, ServerHandle};

pub type ConcurrentTcpServer = Server<Tcp, Concurrent>;
pub type ConcurrentUdpServer = Server<Udp, Concurrent>;
pub type ConcurrentUnixStreamServer = Server<Unix, Concurrent>;
pub type ConcurrentUnixDatagramServer = Server<UnixDatagram, Concurrent>;

/// Selects the dispatcher: `threads`, the default, or `green`.
const VARIABLE: &str = "SOCKETSERVER_TEST_DISPATCH";

/// Runs requests concurrently: on a thread each, or as green tasks on two threads.
pub struct Concurrent(Box<dyn Dispatch>);

impl Concurrent {
    /// With a limit of its own.
    pub fn at_most(requests: usize) -> Self {
        let name = std::env::var(VARIABLE);
        Concurrent(match name.as_deref().unwrap_or("threads") {
            "threads" => Box::new(ThreadPool::new().max_threads(requests)),
            #[cfg(feature = "green")]
            "green" => Box::new(Green::new().workers(2).max_tasks(requests)),
            other => panic!("{VARIABLE}={other} is unknown, or its feature is off"),
        })
    }
}

impl Default for Concurrent {
    fn default() -> Self {
        Concurrent::at_most(ThreadPool::DEFAULT_MAX_THREADS)
    }
}

impl Dispatch for Concurrent {
    fn dispatch(&self, job: Job) {
        self.0.dispatch(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        self.0.has_capacity(waker)
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        self.0.thread_gauge()
    }

    fn check(&self) -> std::io::Result<()> {
        self.0.check()
    }

    fn join(&self, server: &ServerHandle) {
        self.0.join(server);
    }
}
