//! Forking servers, and programs with signal handlers, in processes without other threads. The standard
//! test harness has threads, so this binary has its own harness, which runs each test in a separate process.

mod harness;
mod python;
mod servers;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run(&[servers::trials(), signals::trials(), python::trials()].concat())
}
