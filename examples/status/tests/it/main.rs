//! The program `status` as its users meet it: started as a process of its own.

mod display;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_status");
