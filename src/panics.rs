//! What catches panics. The three differ in what becomes of a panic: an error of the request, a line in
//! the log, or nothing.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{HandlerError, Panicked, RequestError, Stage};

/// Runs a step of a request. A panic becomes its error: Python's `except Exception`.
pub(crate) fn catch_as_error<T>(
    stage: Stage,
    step: impl FnOnce() -> Result<T, HandlerError>,
) -> Result<T, RequestError> {
    let result = catch(step).unwrap_or_else(|panicked| Err(panicked.into()));
    result.map_err(|error| RequestError::new(stage, error))
}

/// Runs what must not end the server. A panic is logged, and `None` returned.
pub(crate) fn catch_and_log<T>(what: impl fmt::Display, run: impl FnOnce() -> T) -> Option<T> {
    let log = |panicked| log::error!(target: "socketserver::server", "{what} {panicked}");
    catch(run).map_err(log).ok()
}

/// Runs what may panic in the code that reports panics. Returns `None` then.
pub(crate) fn catch_silently<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch(run).ok()
}

/// What may be broken after a panic belongs to the request, which is closed, or to the handler, which is
/// dropped.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload: Box<dyn Any + Send>| {
        let panicked = Panicked::new(&*payload);
        // Its drop could panic again.
        mem::forget(payload);
        panicked
    })
}
