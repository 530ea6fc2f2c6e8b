//! A RESP2 client of `kv_server`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: &str) -> Self {
        let stream = support::connect_to(address);
        stream.set_nodelay(true).expect("the option is set");
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, data: impl AsRef<[u8]>) {
        let stream = self.stream.get_mut();
        stream.write_all(data.as_ref()).expect("the server reads");
    }

    /// The next reply in a short form: `OK`, `(error) …`, `7`, `"text"`, `nil`, `[1, "two"]`.
    pub fn reply(&mut self) -> String {
        let line = self.line();
        let (kind, rest) = line.split_at_checked(1).expect("the server answers");
        let length = || rest.parse::<usize>();
        match (kind, length()) {
            ("+", _) => rest.to_owned(),
            ("-", _) => format!("(error) {rest}"),
            (":", _) => rest.to_owned(),
            ("$" | "*", Err(_)) => "nil".to_owned(),
            ("$", Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                self.stream
                    .read_exact(&mut bytes)
                    .expect("the server answers");
                assert!(bytes.ends_with(b"\r\n"), "{}", bytes.escape_ascii());
                format!("\"{}\"", bytes[..length].escape_ascii())
            }
            ("*", Ok(length)) => {
                let items: Vec<_> = (0..length).map(|_| self.reply()).collect();
                format!("[{}]", items.join(", "))
            }
            _ => panic!("no reply begins like {line:?}"),
        }
    }

    /// Sends, although the server may close the connection meanwhile.
    pub fn send_if_open(&mut self, data: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(data.as_ref());
    }

    /// The next reply; `None` if the connection has ended.
    pub fn reply_if_any(&mut self) -> Option<String> {
        match self.stream.fill_buf() {
            Ok([]) | Err(_) => None,
            Ok(_) => Some(self.reply()),
        }
    }

    /// Sends words as an array of bulk strings, and returns the reply.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> String {
        self.send(encode(words));
        self.reply()
    }

    /// The same with words that are separated by spaces.
    pub fn run(&mut self, words: &str) -> String {
        self.call(&words.split(' ').collect::<Vec<_>>())
    }

    /// Sends words as an inline command, and returns the reply. The write may fail if the server
    /// has already closed the connection after its reply.
    pub fn run_line(&mut self, words: &str) -> String {
        let _ = writeln!(self.stream.get_mut(), "{words}");
        self.reply()
    }

    /// Whether the connection has ended with an end of the stream or an error.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_err() || rest.is_empty()
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .expect("the server answers");
        line.trim_end_matches("\r\n").to_owned()
    }
}

pub fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}
