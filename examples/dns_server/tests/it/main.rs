//! Tests of the program `dns_server`, which runs as a child process.

mod client;
mod packets;
mod port;
mod queries;
mod zones;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dns_server");
