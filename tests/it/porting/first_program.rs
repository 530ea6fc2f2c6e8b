//! The program on the first pages: it behaves like the Python program beside it, and is the same on
//! every page.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};

use socketserver::prelude::*;

use support::example::Example;
use support::{ANY, connect, program};

const README: &str = include_str!("../../../README.md");

const PAGES: [&str; 3] = [
    README,
    include_str!("../../../src/lib.rs"),
    include_str!("../../../src/porting/mod.rs"),
];

struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        for line in &mut request.rfile {
            request.wfile.write_all(&line?.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

/// The text from the handler's name to the end of its code.
fn handler(page: &str) -> &str {
    let begin = page
        .find("struct Upper;")
        .expect("the page contains the program");
    let page = &page[begin..];
    let end = page.find("\n}\n").expect("the program has an end");
    &page[..end]
}

#[test]
fn the_first_program_is_the_same_on_every_page() {
    let here = handler(include_str!("first_program.rs"));
    for page in PAGES {
        let page = page.replace("//! ", "").replace("//!", "");
        assert_eq!(handler(&page), here);
    }
}

/// Runs the Python program of the README on a free port.
fn start_python_program() -> Example {
    let (_, program) = README
        .split_once("```python\n")
        .expect("the README contains a Python program");
    let end = "    server.serve_forever()\n```";
    let (program, _) = program.split_once(end).expect("the program has an end");
    let print = "    print('listening on %s:%d' % server.server_address, flush=True)\n";
    let program = program.replace("9999", "0") + print + "    server.serve_forever()\n";
    let mut python = program::installed("python3", "--version");
    python.args(["-c", &program]);
    Example::launch(python)
}

fn answer(mut client: TcpStream, sent: &[u8]) -> io::Result<String> {
    client.write_all(sent)?;
    client.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    client.read_to_end(&mut received)?;
    Ok(received.escape_ascii().to_string())
}

#[test]
fn the_first_program_behaves_like_the_python_program() -> io::Result<()> {
    let theirs = start_python_program();
    let theirs: SocketAddr = theirs
        .address
        .parse()
        .expect("the address is an IP address");
    let ours = ThreadingTcpServer::bind(ANY, || Upper)?.serve_in_background()?;
    // Python has no limit. In Rust a line has at most `max_line` bytes.
    let long = b"long ".repeat(13_000);
    for sent in [
        &b"hello\nworld\n"[..],
        b"no end",
        b"a\r\nb\r\n",
        "straße\n".as_bytes(),
        b"\xff\xfe\nok\n",
        b"\0\r\r\n\n\n",
        b"",
        &long,
    ] {
        let wanted = answer(connect(&theirs.into()), sent)?;
        let got = answer(connect(ours.server_address()), sent)?;
        assert_eq!(got, wanted);
    }
    Ok(())
}
