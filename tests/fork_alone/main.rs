//! Forking servers in processes that have no other thread. The harness of other tests has threads,
//! so this binary has a harness of its own that runs each test in a process of its own.

mod harness;
mod python;
mod servers;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run(&[servers::trials(), python::trials()].concat())
}
