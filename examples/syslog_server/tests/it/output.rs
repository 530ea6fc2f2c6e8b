//! The example `syslog_server` when it can no longer print.

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
    example.stdout.read_line(&mut line).expect("it is text");
    line.trim_end().to_owned()
}

/// Sends a message that is read, and then messages that nobody reads.
fn ends_with_its_reader(way: &str, send: impl Fn(&str, &Path) -> io::Result<()>) {
    let (_folder, unix) = socket_path();
    let path = unix.to_str().expect("it is text");
    let mut example = Example::start(PROGRAM, &[ANY, "--unix", path]);
    assert_eq!(line(&mut example), format!("listening on {path}"));
    let _idle = TcpStream::connect(&example.address).expect("it accepts");
    send(&example.address, &unix).expect("it receives");
    assert!(line(&mut example).ends_with(" shop: hello"), "{way}");
    let nothing = File::open("/dev/null").expect("every Unix has it");
    example.stdout = BufReader::new(OwnedFd::from(nothing).into());
    // Again and again: a process that another test is starting holds this pipe for a moment, and a
    // line that is printed then is not lost. Sending fails once the server has ended.
    eventually("it ends", || {
        let _ = send(&example.address, &unix);
        !example.is_running()
    });
    let (status, _, log) = example.finish();
    assert_eq!(status.code(), Some(1), "{way}: {log}");
    let last = log.lines().last().expect("it says why");
    let expected = "syslog_server: cannot print: Broken pipe";
    assert!(last.starts_with(expected), "{way}: {log}");
    assert!(!log.contains("ERROR"), "{way}: {log}");
    assert!(!unix.exists(), "{way}");
}

#[test]
fn it_ends_when_nobody_reads_what_it_prints() {
    ends_with_its_reader("UDP", |address, _| {
        let socket = UdpSocket::bind(ANY).expect("a port is free");
        socket.send_to(b"<14>shop: hello", address).map(drop)
    });
    ends_with_its_reader("TCP", |address, _| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"<14>shop: hello\n")
    });
    ends_with_its_reader("Unix", |_, path| {
        let socket = UnixDatagram::unbound().expect("a socket can be made");
        socket.send_to(b"<14>shop: hello", path).map(drop)
    });
}
