//! A folder of files, the example `http_server` that serves it, and clients that send any bytes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::example::Example;
use tempfile::TempDir;

use crate::PROGRAM;

/// The content of `a.txt`.
pub const TEXT: &str = "0123456789\n";

/// A folder to serve, next to a file that must not be served.
pub struct Site(TempDir);

impl Site {
    pub fn new() -> Self {
        let site = Site(tempfile::tempdir().expect("the temporary folder is writable"));
        fs::create_dir(site.path()).expect("the temporary folder is writable");
        fs::write(site.0.path().join("secret.txt"), "a secret")
            .expect("the temporary folder is writable");
        site.add("a.txt", TEXT);
        site
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().join("site")
    }

    /// Adds a file and its parent folders.
    pub fn add(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        let folder = path.parent().expect("the path has a parent");
        fs::create_dir_all(folder).expect("the temporary folder is writable");
        fs::write(path, content).expect("the temporary folder is writable");
    }

    pub fn add_folder(&self, name: &str) {
        fs::create_dir_all(self.path().join(name)).expect("the temporary folder is writable");
    }

    pub fn link(&self, name: &str, to: &str) {
        symlink(to, self.path().join(name)).expect("the temporary folder is writable");
    }

    pub fn serve(&self) -> Example {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, options: &[&str]) -> Example {
        let path = self.path();
        let path = path.to_str().expect("the path is UTF-8");
        let arguments = [&["127.0.0.1:0", "--directory", path], options].concat();
        Example::start(PROGRAM, &arguments)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    fn read_head(from: &mut impl BufRead) -> Option<Self> {
        let mut lines = from.lines().map(|line| line.expect("a header is text"));
        let status = lines.next()?;
        let code = status.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
        let status = code.parse().expect("the text is a number");
        let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(": ").expect("the line is a header field");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Some(Answer {
            status,
            fields: fields.collect(),
            body: Vec::new(),
        })
    }
}

/// A connection for several requests.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn new(address: &str) -> Self {
        Client(BufReader::new(support::connect_to(address)))
    }

    pub fn send(&mut self, request: impl AsRef<[u8]>) {
        let stream = self.0.get_mut();
        stream
            .write_all(request.as_ref())
            .expect("the server reads");
    }

    /// The next answer, with a body of the announced length.
    pub fn receive(&mut self) -> Answer {
        let mut answer = self.receive_head();
        let length = answer
            .field("content-length")
            .expect("the answer has a length");
        answer.body = vec![0; length.parse().expect("the text is a number")];
        self.0
            .read_exact(&mut answer.body)
            .expect("the body is complete");
        answer
    }

    /// The next answer, without a body.
    pub fn receive_head(&mut self) -> Answer {
        Answer::read_head(&mut self.0).expect("the server answers")
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        self.receive()
    }

    /// So many bytes of a body.
    pub fn receive_bytes(&mut self, count: usize) {
        let read = self.0.read_exact(&mut vec![0; count]);
        read.expect("the body is longer");
    }

    /// All bytes up to the end of the stream.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the stream ends");
        rest
    }
}

/// One request on a new connection, and its answer. It is `None` if the server sends nothing.
/// `request` is `METHOD TARGET [VERSION]`, with a field on each further line.
pub fn ask(address: &str, request: &str) -> Option<Answer> {
    let mut lines = request.split('\n');
    let mut line = lines.next().unwrap_or_default().to_owned();
    if line.split(' ').count() == 2 {
        line += " HTTP/1.1";
    }
    let fields: String = lines.map(|field| format!("{field}\r\n")).collect();
    ask_raw(
        address,
        format!("{line}\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"),
    )
}

pub fn ask_raw(address: &str, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut client = Client::new(address);
    client.send(request);
    let mut answer = Answer::read_head(&mut client.0)?;
    answer.body = client.rest();
    Some(answer)
}
