//! The program `kv_server` as its users meet it: started as a process of its own.

mod clients;
mod commands;
mod keys;
mod kv;
mod limits;
mod resp;
mod sessions;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kv_server");

/// The path of a script in the folder of these tests.
fn beside(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
