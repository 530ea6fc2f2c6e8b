//! The program `dns_server` as its users meet it: started as a process of its own.

mod client;
mod packets;
mod port;
mod queries;
mod zones;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dns_server");
