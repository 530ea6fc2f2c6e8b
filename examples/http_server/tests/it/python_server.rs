//! Python's `http.server` as a child process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use support::program;

/// `python3 -m http.server`. It is killed when the value is dropped.
pub struct PythonServer {
    child: Child,
    pub address: String,
}

impl PythonServer {
    pub fn start(folder: &Path) -> Self {
        let mut child = program::installed("python3", "--version")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .arg("--directory")
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("the stream is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the output is text");
        let mut words = line.split(' ').skip_while(|word| *word != "port");
        let port = words.nth(1).expect(&line);
        let address = format!("127.0.0.1:{port}");
        PythonServer { child, address }
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
