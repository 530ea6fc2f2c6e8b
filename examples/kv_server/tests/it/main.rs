//! Tests of the program `kv_server`, which runs as a child process.

mod clients;
mod commands;
mod keys;
mod kv;
mod limits;
mod memory;
mod resp;
mod sessions;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kv_server");

/// The path of a script in the folder of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
