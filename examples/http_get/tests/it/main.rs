//! The program `http_get` as its users meet it: started as a process of its own.

mod answers;
mod errors;
mod run;
mod tls;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_http_get");

/// The path of a script in the folder of these tests.
fn beside(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
