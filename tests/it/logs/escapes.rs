//! Text that clients choose is escaped in log lines: it begins no line, and changes no terminal.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};

use log::Level;
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::prelude::*;
use socketserver::{Address, UnixDatagramServer, UnixStreamServer};

use support::counts::settled;
use support::logs::Logs;
use support::{ANY, connect_from, in_background, read_all, socket_folder};

use super::requests::{ip, new_host};

/// A forged line, an escape code, a bidirectional control, a line separator, and what stays as it is.
const HOSTILE: &str = "x\nERROR forged\x1b[31m\u{202e}\u{2028}\u{85}é'\"\\";

const ESCAPED: &str = "x\\nERROR forged\\u{1b}[31m\\u{202e}\\u{2028}\\u{85}é'\"\\";

/// Checks that the lines contain no character that could change what a terminal shows.
fn expect_printable(lines: &[(Level, String)]) {
    for (_, line) in lines {
        let hostile = |c: char| c.is_control() || "\u{202e}\u{2028}".contains(c);
        assert!(!line.contains(hostile), "{line:?}");
    }
}

#[test]
fn the_path_of_a_stream_client_is_escaped() {
    let logs = Logs::from_here();
    let folder = socket_folder();
    let server = in_background(UnixStreamServer::bind_fn(
        folder.path().join("server"),
        |request| {
            write!(request.wfile, "{}", request.client_address)?;
            Err("requested by the test".into())
        },
    ));
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
    let path = folder.path().join(HOSTILE);
    client
        .bind(&SockAddr::unix(&path).expect("the path is short"))
        .expect("the path is free");
    let server_path = server.server_address().path().expect("a Unix server");
    client
        .connect(&SockAddr::unix(server_path).expect("the path is short"))
        .expect("the server listens");
    let shown = format!("{}/{ESCAPED}", folder.path().display());
    assert_eq!(read_all(UnixStream::from(client)), shown);
    settled(&server.handle(), 1);
    let lines = logs.with(&format!("request 1 from {}", folder.path().display()));
    assert_eq!(lines.len(), 3, "{lines:?}");
    expect_printable(&lines);
    assert!(lines.iter().all(|(_, line)| line.contains(&shown)));
}

/// Bytes that are not UTF-8 are escaped one by one.
#[test]
fn the_name_of_a_datagram_client_is_escaped() {
    let logs = Logs::from_here();
    let folder = socket_folder();
    let server = in_background(UnixDatagramServer::bind_fn(
        folder.path().join("server"),
        |request| Ok(request.reply(request.client_address.to_string().as_bytes())?),
    ));
    let mut name = format!("{}{HOSTILE}", folder.path().display()).into_bytes();
    name.push(0xff);
    let address = UnixAddr::from_abstract_name(&name).expect("the name is short");
    let client = UnixDatagram::bind_addr(&address).expect("the name is free");
    let server_path = server.server_address().path().expect("a Unix server");
    client
        .send_to(b"hi", server_path)
        .expect("the server is bound");
    client
        .set_read_timeout(Some(support::LONG))
        .expect("the timeout is set");
    let mut buffer = [0; 256];
    let received = client.recv(&mut buffer).expect("the server answers");
    let shown = format!("@{}{ESCAPED}\\xff", folder.path().display());
    assert_eq!(String::from_utf8_lossy(&buffer[..received]), shown);
    settled(&server.handle(), 1);
    let lines = logs.with(&format!("from @{}", folder.path().display()));
    assert_eq!(lines.len(), 2, "{lines:?}");
    expect_printable(&lines);
}

#[test]
fn a_path_is_shown_as_it_is_if_it_is_printable() {
    for path in ["/run/app.sock", "/tmp/dossier d'été/सॉकेट", "/tmp/\"a\"\\b"] {
        assert_eq!(Address::Path(path.into()).to_string(), path);
    }
}

/// The errors and panics of a handler may contain what the client has sent.
#[test]
fn the_text_of_an_error_or_a_panic_is_one_line() {
    for panics in [false, true] {
        let logs = Logs::from_here();
        let server = in_background(TcpServer::bind_fn(ANY, move |_| match panics {
            false => Err(HOSTILE.into()),
            true => panic!("{HOSTILE}"),
        }));
        let client = connect_from(new_host(), ip(&server)).expect("the server accepts");
        let address = client.local_addr().expect("the socket is connected");
        assert_eq!(read_all(client), "");
        settled(&server.handle(), 1);
        let lines = logs.with(&format!("from {address}: handle failed"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        expect_printable(&lines);
        assert!(lines[0].1.ends_with(ESCAPED), "{lines:?}");
    }
}
