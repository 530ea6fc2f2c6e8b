use super::{Dispatch, Job};

/// Runs each request on the serving thread, one after the other: Python's servers without a mix-in.
///
/// Right for short handlers and datagrams. A handler that waits for its client keeps everybody else
/// waiting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Dispatch for Inline {
    fn dispatch(&self, job: Job) {
        job.run();
    }
}
