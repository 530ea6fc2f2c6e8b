//! Tests of the program `log_receiver`, which runs as a child process.

mod limits;
mod records;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_log_receiver");

/// The path of a script in the folder of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
