//! Tests of the program `http_server`, which runs as a child process.

mod access_log;
mod chromium;
mod connections;
mod curl;
mod files;
mod folders;
mod limits;
mod load;
#[cfg(feature = "proxy-protocol")]
mod proxy;
mod python;
mod python_server;
mod relay;
mod site;
#[cfg(feature = "systemd")]
mod systemd;
#[cfg(feature = "tls")]
mod tls;
mod unreadable;

/// The path of the program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_http_server");

/// The path of a script in the folder of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"))
}
