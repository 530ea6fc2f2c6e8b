//! Runs `dns_server`, sends queries with `dig`, and builds packets.

use std::fs;
use std::path::Path;
use std::process::Output;

use support::example::{self, Example};
use support::program;
use support::socket_folder;

use crate::PROGRAM;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/example.zone");

/// Starts the server on a free port with the example zone.
pub fn start() -> Example {
    Example::start(PROGRAM, &["127.0.0.1:0", "--zone", EXAMPLE])
}

/// The same with this zone. The server has read it when this function returns.
pub fn start_with(zone: &str) -> Example {
    let folder = socket_folder();
    let file = write(folder.path(), zone.as_bytes());
    Example::start(PROGRAM, &["127.0.0.1:0", "--zone", &file])
}

/// Runs the server with an invalid zone. Returns its output and the path of the zone file.
pub fn refused(zone: &[u8]) -> (Output, String) {
    let folder = socket_folder();
    let file = write(folder.path(), zone);
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--zone", &file]);
    (output, file)
}

fn write(folder: &Path, zone: &[u8]) -> String {
    let file = folder.join("test.zone");
    fs::write(&file, zone).expect("the temporary folder is writable");
    file.into_os_string()
        .into_string()
        .expect("the text is UTF-8")
}

/// The output of `dig`, with one space between words. It has no comments, except for the header and
/// dig's warnings.
pub fn dig(server: &Example, question: &str) -> String {
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut dig = program::installed("dig", "-v");
    dig.args([&format!("@{host}"), "-p", port, "-r"]);
    dig.args("+tries=1 +timeout=10 +nocmd +noquestion +nostats".split(' '));
    let output = dig.args(question.split(' ')).output();
    let output = output.expect("dig is installed");
    let text = String::from_utf8(output.stdout).expect("the output is text");
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with(";; WARNING"));
    kept.collect::<Vec<_>>().join("\n")
}

/// The bytes of a query without EDNS.
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let header = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    let labels = name.split('.').filter(|label| !label.is_empty());
    let name = labels.flat_map(|label| {
        let length = u8::try_from(label.len()).expect("the label is short");
        [&[length], label.as_bytes()].concat()
    });
    let end = [[0, 0].as_slice(), &kind.to_be_bytes()[1..], &[0, 1]].concat();
    [header, name.collect(), end].concat()
}

/// The record types of queries.
pub const A: u16 = 1;
pub const TXT: u16 = 16;

pub fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// The response code. 0 means no error.
pub fn code(message: &[u8]) -> u8 {
    message[3] & 0xf
}

/// Whether it is a response.
pub fn is_response(message: &[u8]) -> bool {
    message[2] & 0x80 != 0
}

pub fn is_truncated(message: &[u8]) -> bool {
    message[2] & 0x02 != 0
}

/// The number of records in the answer section.
pub fn answers(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}
