//! The example `syslog_server` with a closed standard output.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use support::example::Example;
use support::{ANY, eventually, socket_path};

use crate::PROGRAM;

fn line(example: &mut Example) -> String {
    let mut line = String::new();
    example
        .stdout
        .read_line(&mut line)
        .expect("the text is UTF-8");
    line.trim_end().to_owned()
}

/// Sends a message whose output is read, closes the output, and sends more messages.
fn ends_when_its_output_is_closed(way: &str, send: impl Fn(&str, &Path) -> io::Result<()>) {
    let (_folder, unix) = socket_path();
    let path = unix.to_str().expect("the text is UTF-8");
    let mut example = Example::start(PROGRAM, &[ANY, "--unix", path]);
    assert_eq!(line(&mut example), format!("listening on {path}"));
    let _idle = TcpStream::connect(&example.address).expect("the server accepts");
    send(&example.address, &unix).expect("the message is sent");
    assert!(line(&mut example).ends_with(" shop: hello"), "{way}");
    let nothing = File::open("/dev/null").expect("/dev/null can be opened");
    example.stdout = BufReader::new(OwnedFd::from(nothing).into());
    // Repeat the message, because the pipe may stay open for a moment: a process that another test
    // starts has a copy of it. Sending fails after the server has ended.
    eventually("it ends", || {
        let _ = send(&example.address, &unix);
        !example.is_running()
    });
    let (status, _, log) = example.finish();
    assert_eq!(status.code(), Some(1), "{way}: {log}");
    let last = log.lines().last().expect("the log has the reason");
    let expected = "syslog_server: cannot print: Broken pipe";
    assert!(last.starts_with(expected), "{way}: {log}");
    assert!(!log.contains("ERROR"), "{way}: {log}");
    assert!(!unix.exists(), "{way}");
}

#[test]
fn it_ends_when_its_output_is_closed() {
    ends_when_its_output_is_closed("UDP", |address, _| {
        let socket = UdpSocket::bind(ANY).expect("a port is free");
        socket.send_to(b"<14>shop: hello", address).map(drop)
    });
    ends_when_its_output_is_closed("TCP", |address, _| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"<14>shop: hello\n")
    });
    ends_when_its_output_is_closed("Unix", |_, path| {
        let socket = UnixDatagram::unbound().expect("a socket can be created");
        socket.send_to(b"<14>shop: hello", path).map(drop)
    });
}
