//! Tests of the program `status`, which runs as a child process.

mod display;
mod metrics;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_status");
