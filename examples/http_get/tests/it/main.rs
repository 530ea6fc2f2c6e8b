//! Tests of the program `http_get`, which runs as a child process.

mod answers;
mod errors;
mod invalid_responses;
mod run;
mod tls;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_http_get");

/// The path of a script in the folder of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
