//! Runs the example `http_get` in a temporary folder, with test servers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use socketserver::prelude::*;
use socketserver::server::BackgroundServer;
use support::{ANY, example, in_background};

use crate::PROGRAM;

/// The result of a run: its status, its output and its files.
#[derive(Debug)]
pub struct Fetched {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The content of `index.html`.
    pub body: Option<Vec<u8>>,
    /// All files in the folder.
    pub files: Vec<String>,
}

/// Runs the program to its end.
pub fn fetch(url: &str, options: &[&str]) -> Fetched {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    fetch_in(folder.path(), url, options)
}

/// The same in a given folder.
pub fn fetch_in(folder: &Path, url: &str, options: &[&str]) -> Fetched {
    finish(folder, command(folder, url, options))
}

/// The command that runs the program.
pub fn command(folder: &Path, url: &str, options: &[&str]) -> Command {
    let mut command = example::command(PROGRAM, options);
    command.arg(url).current_dir(folder);
    command
}

pub fn finish(folder: &Path, mut command: Command) -> Fetched {
    let output = command.output().expect("the example is built");
    Fetched {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("the output is text"),
        stderr: String::from_utf8(output.stderr).expect("the output is text"),
        body: fs::read(folder.join("index.html")).ok(),
        files: files(folder),
    }
}

pub fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("the entry can be read").file_name());
    names.map(|name| name.to_string_lossy().into()).collect()
}

impl Fetched {
    /// Checks that the run succeeded and saved this body, and no other file.
    #[track_caller]
    pub fn saved(self, body: &[u8]) -> Self {
        assert_eq!((self.status, &*self.stderr), (Some(0), ""), "{self:?}");
        assert!(
            self.body.as_deref() == Some(body),
            "{} saved {:?} bytes of {}",
            self.stdout,
            self.body.as_ref().map(Vec::len),
            body.len()
        );
        assert_eq!(self.files, ["index.html"]);
        self
    }

    /// Checks that the run failed with one line that contains all of `words`, and saved no file.
    #[track_caller]
    pub fn failed(self, words: &[&str]) -> Self {
        assert_eq!(self.status, Some(1), "{self:?}");
        assert!(self.stderr.starts_with("http_get: "), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        assert!(self.files.is_empty(), "{self:?}");
        self
    }
}

/// A server that reads each request and answers with these bytes.
pub fn answering(answer: impl Into<Vec<u8>>) -> BackgroundServer {
    let answer = answer.into();
    serving(move |request| Ok(request.wfile.write_all(&answer)?))
}

/// A server that reads each request and answers with a function of the test.
pub fn serving(
    answer: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> BackgroundServer {
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        read_request(request)?;
        answer(request)
    });
    in_background(server)
}

pub fn url(server: &BackgroundServer) -> String {
    format!("http://{}/", server.server_address())
}

/// The lines of a request's header.
pub fn read_request(request: &mut StreamRequest) -> Result<Vec<String>, std::io::Error> {
    let lines = request.rfile.by_ref().lines();
    lines
        .take_while(|line| !matches!(line, Ok(line) if line.is_empty()))
        .collect()
}

/// A Python server that has printed its port. It is killed when the value is dropped.
pub struct Peer {
    child: Child,
    pub port: String,
}

impl Peer {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut port = String::new();
        let stdout = child.stdout.as_mut().expect("the stream is piped");
        BufReader::new(stdout)
            .read_line(&mut port)
            .expect("the output is text");
        let port = port.trim().to_owned();
        assert!(!port.is_empty(), "the server did not start");
        Peer { child, port }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
