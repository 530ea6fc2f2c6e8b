//! The program `log_receiver` as its users meet it: started as a process of its own.

mod records;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_log_receiver");

/// The path of a script in the folder of these tests.
fn beside(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
