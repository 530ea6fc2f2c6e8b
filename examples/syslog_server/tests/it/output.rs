//! The example `syslog_server` when it can no longer print.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use support::example::Example;
use support::{ANY, socket_path};

use crate::PROGRAM;

fn line(example: &mut Example) -> String {
    let mut line = String::new();
    example.stdout.read_line(&mut line).expect("it is text");
    line.trim_end().to_owned()
}

/// Sends two messages, the second of which nobody reads.
fn ends_with_its_reader(way: &str, send: impl Fn(&str, &Path)) {
    let (_folder, unix) = socket_path();
    let path = unix.to_str().expect("it is text");
    let mut example = Example::start(PROGRAM, &[ANY, "--unix", path]);
    assert_eq!(line(&mut example), format!("listening on {path}"));
    let _idle = TcpStream::connect(&example.address).expect("it accepts");
    send(&example.address, &unix);
    assert!(line(&mut example).ends_with(" shop: hello"), "{way}");
    let nothing = File::open("/dev/null").expect("every Unix has it");
    example.stdout = BufReader::new(OwnedFd::from(nothing).into());
    send(&example.address, &unix);
    let (status, _, log) = example.finish();
    assert_eq!(status.code(), Some(1), "{way}: {log}");
    let last = log.lines().last().expect("it says why");
    let expected = "syslog_server: cannot print: Broken pipe";
    assert!(last.starts_with(expected), "{way}: {log}");
    assert!(!log.contains("ERROR"), "{way}: {log}");
    assert!(!unix.exists(), "{way}");
}

/// One after the other: a process that another test starts holds this one's pipe for a moment, and what
/// is printed in it is not lost.
#[test]
fn it_ends_when_nobody_reads_what_it_prints() {
    ends_with_its_reader("UDP", |address, _| {
        let socket = UdpSocket::bind(ANY).expect("a port is free");
        let sent = socket.send_to(b"<14>shop: hello", address);
        sent.expect("it can be sent");
    });
    ends_with_its_reader("TCP", |address, _| {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(b"<14>shop: hello\n").expect("it reads");
    });
    ends_with_its_reader("Unix", |_, path| {
        let socket = UnixDatagram::unbound().expect("a socket can be made");
        let sent = socket.send_to(b"<14>shop: hello", path);
        sent.expect("it can be sent");
    });
}
