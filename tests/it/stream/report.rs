//! Handlers that report to the test.

use std::io;

use crossbeam_channel::{Receiver, unbounded};
use socketserver::dispatch::ThreadPool;
use socketserver::listener::Tcp;
use socketserver::{BackgroundServer, Builder, StreamRequest};

use support::{ANY, LONG};

/// What each handler returned, in the order in which they ended.
pub struct Reports<T>(Receiver<io::Result<T>>);

/// Serves in the background; what `handle` returns is for the test, and no error for the server.
pub fn reporting<T: Send + 'static>(
    builder: Builder<Tcp, ThreadPool>,
    handle: impl Fn(&mut StreamRequest) -> io::Result<T> + Send + Sync + 'static,
) -> io::Result<(BackgroundServer, Reports<T>)> {
    let (report, reports) = unbounded();
    let server = builder.bind_fn(ANY, move |request| {
        let result = handle(request);
        Ok(report.send(result).map_err(|_| "the test is over")?)
    })?;
    Ok((server.serve_in_background()?, Reports(reports)))
}

impl<T> Reports<T> {
    /// Waits for the next report; fails after 20 s.
    pub fn next(&self) -> io::Result<T> {
        let report = self.0.recv_timeout(LONG);
        report.expect("the handler ends")
    }
}
