use super::{Dispatch, Job};

/// Runs each request on the thread of the accept loop, one after the other: Python's servers without a
/// mix-in.
///
/// Right for short handlers and datagrams. While a handler waits for its client, all other clients wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Dispatch for Inline {
    fn dispatch(&self, job: Job) {
        job.run();
    }
}
