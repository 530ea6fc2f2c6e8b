//! Handlers that report their results to the test.

use std::io;

use crossbeam_channel::{Receiver, unbounded};
use socketserver::listener::Tcp;
use socketserver::{BackgroundServer, Builder, StreamRequest};

use support::concurrent::Concurrent;
use support::{ANY, LONG};

/// The results of the handlers, in the order in which they ended.
pub struct Reports<T>(Receiver<io::Result<T>>);

/// Serves in the background. The result of `handle` is sent to the test, and is not an error for
/// the server.
pub fn reporting<T: Send + 'static>(
    builder: Builder<Tcp, Concurrent>,
    handle: impl Fn(&mut StreamRequest) -> io::Result<T> + Send + Sync + 'static,
) -> io::Result<(BackgroundServer, Reports<T>)> {
    let (report, reports) = unbounded();
    let server = builder.bind_fn(ANY, move |request| {
        let result = handle(request);
        Ok(report.send(result).map_err(|_| "the test has ended")?)
    })?;
    Ok((server.serve_in_background()?, Reports(reports)))
}

impl<T> Reports<T> {
    /// Waits for the next report. It fails after 20 s.
    pub fn next(&self) -> io::Result<T> {
        let report = self.0.recv_timeout(LONG);
        report.expect("the handler ends")
    }
}
