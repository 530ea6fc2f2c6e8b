//! The program on the first pages: it does what the one in Python beside it does, and is the same on
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

/// From the handler's name to the end of its code.
fn handler(page: &str) -> &str {
    let begin = page.find("struct Upper;").expect("the program is there");
    let page = &page[begin..];
    let end = page.find("\n}\n").expect("it ends");
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

/// The README's program in Python, on a free port.
fn in_python() -> Example {
    let (_, program) = README.split_once("```python\n").expect("it is there");
    let end = "    server.serve_forever()\n```";
    let (program, _) = program.split_once(end).expect("it ends");
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
fn the_first_program_does_what_the_one_in_python_does() -> io::Result<()> {
    let theirs = in_python();
    let theirs: SocketAddr = theirs.address.parse().expect("an IP address");
    let ours = ThreadingTcpServer::bind(ANY, || Upper)?.serve_in_background()?;
    // Python has no limit; here a line has at most `max_line` bytes.
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
