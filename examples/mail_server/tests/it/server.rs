//! Starts a `mail_server`, and speaks to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use support::example::Example;
use support::tls::{AUTHORITY, TlsClient, shake_hands, tls_client};
use support::{ANY, connect_to};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mail_server");

pub struct Server {
    pub example: Example,
    pub folder: TempDir,
}

impl Server {
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let path = folder.path().to_str().expect("the path is text");
        let example = Example::start(PROGRAM, &[&[ANY, "--folder", path], options].concat());
        Server { example, folder }
    }

    /// With a certificate for `localhost` and 127.0.0.1.
    pub fn start_with_certificate(options: &[&str]) -> Self {
        let (certificate, key) = AUTHORITY.certify("DNS:localhost,IP:127.0.0.1");
        let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("text"));
        let tls = ["--tls-cert", certificate, "--tls-key", key];
        Server::start(&[&tls, options].concat())
    }

    pub fn host_and_port(&self) -> (&str, &str) {
        self.example.address.split_once(':').expect("HOST:PORT")
    }

    /// The messages that it has kept, in the order of their arrival, as text with `\n`.
    pub fn messages(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).expect("the folder is there");
        let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        let read = |path| fs::read_to_string(path).expect("the message is text");
        let texts = files.iter().map(read);
        texts.map(|text| text.replace("\r\n", "\n")).collect()
    }

    /// A client that has read the greeting.
    pub fn connect(&self) -> Client<TcpStream> {
        let mut client = self.connect_unread();
        assert_eq!(client.reply(), "220 localhost ESMTP");
        client
    }

    pub fn connect_unread(&self) -> Client<TcpStream> {
        Client(BufReader::new(connect_to(&*self.example.address)))
    }

    /// A client that speaks TLS from the beginning.
    pub fn connect_with_tls(&self) -> Client<TlsClient> {
        Client(BufReader::new(tls_client(&self.address())))
    }

    /// A client that has begun TLS with STARTTLS.
    pub fn connect_and_start_tls(&self) -> Client<TlsClient> {
        let mut tls = tls_client(&self.address());
        let socket = tls.sock.try_clone().expect("the socket can be cloned");
        let mut plain = Client(BufReader::new(socket));
        assert_eq!(plain.reply(), "220 localhost ESMTP");
        assert_eq!(plain.run("STARTTLS"), "220 begin TLS");
        shake_hands(&mut tls).expect("the handshake succeeds");
        Client(BufReader::new(tls))
    }

    fn address(&self) -> socketserver::Address {
        self.example.address.parse().expect("an address")
    }
}

pub struct Client<S>(pub BufReader<S>);

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, data: impl AsRef<[u8]>) {
        let stream = self.0.get_mut();
        let sent = stream.write_all(data.as_ref());
        sent.and_then(|()| stream.flush())
            .expect("the server reads");
    }

    /// The next reply, with ` / ` between its lines.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("the server answers");
            let line = line.strip_suffix("\r\n").expect("a whole line");
            reply += line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply += " / ";
        }
    }

    pub fn run(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// The codes of the replies to commands that are sent together.
    pub fn codes(&mut self, commands: &[&str]) -> Vec<String> {
        self.send(commands.join("\r\n") + "\r\n");
        let codes = commands.iter().map(|_| self.reply()[..3].to_owned());
        codes.collect()
    }

    /// Up to the point where the message follows.
    pub fn begin_message(&mut self) {
        let commands = ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"];
        assert_eq!(self.codes(&commands), ["250", "250", "250", "354"]);
    }

    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}
