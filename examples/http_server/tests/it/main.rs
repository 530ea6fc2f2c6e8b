//! The program `http_server` as its users meet it: started as a process of its own.

mod chromium;
mod connections;
mod curl;
mod files;
mod folders;
mod limits;
mod load;
mod python;
mod python_server;
mod relay;
mod site;
mod unreadable;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_http_server");

/// The path of a script in the folder of these tests.
fn beside(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
