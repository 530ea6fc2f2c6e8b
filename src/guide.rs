//! How to run a server: what the parts are called, what to limit, how to stop.
//!
//! - [`glossary`]: the words of these docs, with those of Python, tokio and nginx.
//! - [`limits`]: overload, slow clients, limits per IP, timeouts. What to set for a server that
//!   strangers can reach.
//! - [`shutdown`]: graceful shutdown and drain, SIGTERM, forced close.
//! - [`comparison`]: this crate beside Python's module.
//! - [`trials`]: measured behaviour under load, faults and attacks.
//!
//! [`porting`](crate::porting) shows how to port a program from Python.

// What the pages link to.
#[cfg(doc)]
use crate::dispatch::{Job, ThreadPool};
#[cfg(doc)]
use crate::framing::Framing;
#[cfg(doc)]
use crate::prelude::*;
#[cfg(doc)]
use crate::request::{Connection, Extensions, Reader, Writer};
#[cfg(doc)]
use crate::server::Builder;
#[cfg(doc)]
use crate::{Dispatch, DrainReport, Listener, RejectedCounts, Stage, Statistics};

#[doc = include_str!("guide/glossary.md")]
pub mod glossary {}

#[doc = include_str!("guide/limits.md")]
#[doc(alias = "slowloris")]
#[doc(alias = "denial of service")]
#[doc(alias = "rate limit")]
#[doc(alias = "client IP")]
#[doc(alias = "X-Forwarded-For")]
#[doc(alias = "worker_connections")]
#[doc(alias = "keep-alive")]
#[doc(alias = "keepalive")]
#[doc(alias = "keep alive")]
#[doc(alias = "backpressure")]
pub mod limits {}

#[doc = include_str!("guide/shutdown.md")]
#[doc(alias = "drain")]
#[doc(alias = "graceful")]
#[doc(alias = "graceful shutdown")]
#[doc(alias = "SIGTERM")]
#[doc(alias = "lame duck")]
pub mod shutdown {}

#[doc = include_str!("guide/comparison.md")]
pub mod comparison {}

#[doc = include_str!("guide/trials.md")]
#[doc(alias = "benchmark")]
pub mod trials {}
