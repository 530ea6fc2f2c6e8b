//! Publishes a server's statistics through the crate [`metrics`](https://docs.rs/metrics), to the recorder
//! that the program has installed, such as Prometheus. Feature `metrics`.
//!
//! | name | kind | other labels | field of [`Statistics`] |
//! |---|---|---|---|
//! | `socketserver_accepted_total` | counter | | `accepted` |
//! | `socketserver_rejected_total` | counter | `cause`: `refused`, `overload`, `queue_timeout`, `per_ip`, `shutdown`, `dispatch` | `rejected` |
//! | `socketserver_ended_total` | counter | `outcome`: `finished`, `failed`, `panicked`, `timed_out`, `disconnected` | the fields of these names |
//! | `socketserver_received_bytes_total` | counter | | `bytes_in` |
//! | `socketserver_sent_bytes_total` | counter | | `bytes_out` |
//! | `socketserver_active` | gauge | | `active` |
//! | `socketserver_queued` | gauge | | `queued` |
//! | `socketserver_lingering` | gauge | | `lingering` |
//! | `socketserver_threads` | gauge | | `threads` |
//! | `socketserver_blocked_workers_total` | counter | | `blocked_workers` |
//! | `socketserver_tls_handshakes_total` | counter | `result`: `done`, and the fields of [`TlsStatistics`](crate::tls::TlsStatistics) for those that failed | `tls`; only of TLS servers |
//! | `socketserver_tls_received_bytes_total` | counter | | `tls.bytes_in` |
//! | `socketserver_tls_sent_bytes_total` | counter | | `tls.bytes_out` |
//! | `socketserver_peak_active` | gauge | | `peak_active` |
//! | `socketserver_peak_queued` | gauge | | `peak_queued` |
//! | `socketserver_peak_threads` | gauge | | `peak_threads` |
//!
//! Each metric has the label `server`, the server's [name](ServerHandle::name). The counts of requests that are published
//! together are of the same moment.
//!
//! The example `status` serves them to a Prometheus, with the crate
//! [`metrics-exporter-prometheus`](https://docs.rs/metrics-exporter-prometheus) and a server of this crate.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::error::Panicked;
use crate::{RejectedCounts, ServerHandle, Statistics};

impl ServerHandle {
    /// Publishes the [statistics](Self::statistics) at once and then at each `interval`, on a separate
    /// thread. [`metrics`](crate::metrics) lists the names. Feature `metrics`.
    ///
    /// It ends when the returned guard is dropped, or when the server is closed and its last request has
    /// ended. In both cases it publishes a last time. Without the drop this may be up to `interval` later.
    ///
    /// Does not block.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// let _publisher = server.handle().publish_metrics(Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an interval of zero; the error of the system if it cannot start the thread.
    #[doc(alias = "prometheus")]
    pub fn publish_metrics(&self, interval: Duration) -> io::Result<MetricsPublisher> {
        if interval.is_zero() {
            let message = "the interval of publish_metrics is zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (stop, stopped) = mpsc::sync_channel(0);
        let publisher = Publisher {
            server: self.clone(),
            label: self.name(),
        };
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || publisher.run(interval, &stopped))?;
        Ok(MetricsPublisher {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Publishes a server's metrics until it is dropped. Made by [`ServerHandle::publish_metrics`].
///
/// Dropping it publishes a last time and blocks until that is done.
#[must_use = "publishing ends when the guard is dropped"]
pub struct MetricsPublisher {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for MetricsPublisher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If the recorder panicked, the panic hook has printed it.
            let _ = thread.join().map_err(Panicked::new);
        }
    }
}

impl fmt::Debug for MetricsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsPublisher")
    }
}

/// What the thread publishes.
struct Publisher {
    server: ServerHandle,
    label: String,
}

impl Publisher {
    fn run(&self, interval: Duration, stopped: &Receiver<()>) {
        describe();
        loop {
            let ended = self.server.is_finished();
            self.publish();
            if ended {
                return;
            }
            if stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected) {
                return self.publish();
            }
        }
    }

    fn publish(&self) {
        let statistics = self.server.statistics();
        self.publish_totals(&statistics);
        self.publish_by_cause(&statistics.rejected);
        self.publish_by_outcome(&statistics);
        self.publish_gauges(&statistics);
        #[cfg(feature = "tls")]
        if self.server.has_tls() {
            self.publish_tls(&statistics.tls);
        }
    }

    #[cfg(feature = "tls")]
    fn publish_tls(&self, tls: &crate::tls::TlsStatistics) {
        let results = [
            ("done", tls.handshakes),
            ("plain_text", tls.plain_text),
            ("timed_out", tls.timed_out),
            ("disconnected", tls.disconnected),
            ("incompatible", tls.incompatible),
            ("alpn", tls.alpn),
            ("server_name", tls.server_name),
            ("client_certificate", tls.client_certificate),
            ("refused_by_client", tls.refused_by_client),
            ("malformed", tls.malformed),
            ("internal", tls.internal),
        ];
        for (result, total) in results {
            let label = self.label.clone();
            counter!(TLS_HANDSHAKES, "server" => label, "result" => result).absolute(total);
        }
        counter!(TLS_RECEIVED, "server" => self.label.clone()).absolute(tls.bytes_in);
        counter!(TLS_SENT, "server" => self.label.clone()).absolute(tls.bytes_out);
    }

    fn publish_totals(&self, statistics: &Statistics) {
        let count = |name: &'static str, total| {
            counter!(name, "server" => self.label.clone()).absolute(total);
        };
        count(ACCEPTED, statistics.accepted);
        count(RECEIVED, statistics.bytes_in);
        count(SENT, statistics.bytes_out);
        count(BLOCKED_WORKERS, statistics.blocked_workers);
    }

    fn publish_by_cause(&self, rejected: &RejectedCounts) {
        let causes = [
            ("refused", rejected.refused),
            ("overload", rejected.overload),
            ("queue_timeout", rejected.queue_timeout),
            ("per_ip", rejected.per_ip),
            ("shutdown", rejected.shutdown),
            ("dispatch", rejected.dispatch),
        ];
        for (cause, total) in causes {
            counter!(REJECTED, "server" => self.label.clone(), "cause" => cause).absolute(total);
        }
    }

    fn publish_by_outcome(&self, statistics: &Statistics) {
        let outcomes = [
            ("finished", statistics.finished),
            ("failed", statistics.failed),
            ("panicked", statistics.panicked),
            ("timed_out", statistics.timed_out),
            ("disconnected", statistics.disconnected),
        ];
        for (outcome, total) in outcomes {
            counter!(ENDED, "server" => self.label.clone(), "outcome" => outcome).absolute(total);
        }
    }

    fn publish_gauges(&self, statistics: &Statistics) {
        let set = |name: &'static str, number: usize| {
            gauge!(name, "server" => self.label.clone()).set(number as f64);
        };
        set(ACTIVE, statistics.active);
        set(QUEUED, statistics.queued);
        set(LINGERING, statistics.lingering);
        set(THREADS, statistics.threads);
        set(PEAK_ACTIVE, statistics.peak_active);
        set(PEAK_QUEUED, statistics.peak_queued);
        set(PEAK_THREADS, statistics.peak_threads);
    }
}

const ACCEPTED: &str = "socketserver_accepted_total";
const REJECTED: &str = "socketserver_rejected_total";
const ENDED: &str = "socketserver_ended_total";
const RECEIVED: &str = "socketserver_received_bytes_total";
const SENT: &str = "socketserver_sent_bytes_total";
const ACTIVE: &str = "socketserver_active";
const QUEUED: &str = "socketserver_queued";
const LINGERING: &str = "socketserver_lingering";
const THREADS: &str = "socketserver_threads";
const BLOCKED_WORKERS: &str = "socketserver_blocked_workers_total";
#[cfg(feature = "tls")]
const TLS_HANDSHAKES: &str = "socketserver_tls_handshakes_total";
#[cfg(feature = "tls")]
const TLS_RECEIVED: &str = "socketserver_tls_received_bytes_total";
#[cfg(feature = "tls")]
const TLS_SENT: &str = "socketserver_tls_sent_bytes_total";
const PEAK_ACTIVE: &str = "socketserver_peak_active";
const PEAK_QUEUED: &str = "socketserver_peak_queued";
const PEAK_THREADS: &str = "socketserver_peak_threads";

fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "Requests accepted from the kernel");
    describe_counter!(
        REJECTED,
        Unit::Count,
        "Requests that were not handled, by cause"
    );
    describe_counter!(ENDED, Unit::Count, "Requests handled, by outcome");
    describe_counter!(RECEIVED, Unit::Bytes, "Bytes read from clients");
    describe_counter!(SENT, Unit::Bytes, "Bytes written to clients");
    describe_counter!(
        BLOCKED_WORKERS,
        Unit::Count,
        "How often a request has blocked a green worker"
    );
    describe_gauge!(ACTIVE, Unit::Count, "Requests being served");
    describe_gauge!(QUEUED, Unit::Count, "Requests in the pending queue");
    describe_gauge!(
        LINGERING,
        Unit::Count,
        "Closed connections whose clients may still send"
    );
    describe_gauge!(THREADS, Unit::Count, "Threads of the dispatcher");
    describe_gauge!(PEAK_ACTIVE, Unit::Count, "The most requests served at once");
    describe_gauge!(
        PEAK_QUEUED,
        Unit::Count,
        "The most requests in the pending queue at once"
    );
    #[cfg(feature = "tls")]
    {
        describe_counter!(TLS_HANDSHAKES, Unit::Count, "TLS handshakes, by result");
        describe_counter!(TLS_RECEIVED, Unit::Bytes, "Encrypted bytes received");
        describe_counter!(TLS_SENT, Unit::Bytes, "Encrypted bytes sent");
    }
    describe_gauge!(PEAK_THREADS, Unit::Count, "The most threads at once");
}
