//! The byte counters of a server, for every way of reading and writing.

use std::io::{self, IoSlice};
use std::sync::mpsc::channel;

use socketserver::dispatch::Inline;
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;
use socketserver::request::{Connection, DatagramSocket};
use socketserver::{Dispatch, Server, Statistics};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::settled;
use support::kind::{Client, Kind};
use support::{
    ANY, connect, eventually, exchange, for_datagram_kinds, next, read_all, socket_folder,
};

/// The byte counts of one connection. The client sends `text` and reads the handler's answer.
fn bytes(
    wbufsize: usize,
    text: &str,
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> io::Result<(u64, u64, usize)> {
    let builder = ConcurrentTcpServer::builder().wbufsize(wbufsize);
    let server = builder.bind_fn(ANY, handle)?.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(text.as_bytes())?;
    client.shutdown(std::net::Shutdown::Write)?;
    let read = read_all(client).len();
    let statistics = settled(&server.handle(), 1);
    Ok((statistics.bytes_in, statistics.bytes_out, read))
}

#[test]
fn lines_are_counted() -> io::Result<()> {
    let counted = bytes(0, "some\nlines\n", |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "<{line}>")?;
        }
        Ok(())
    })?;
    assert_eq!(counted, (11, 15, 15));
    Ok(())
}

#[test]
fn buffered_bytes_count_when_they_are_sent() -> io::Result<()> {
    let counted = bytes(65_536, "", |request| {
        request.wfile.write_all(&[b'.'; 1000])?;
        assert_eq!(request.server.statistics().bytes_out, 0);
        request.wfile.flush()?;
        assert_eq!(request.server.statistics().bytes_out, 1000);
        request.wfile.write_all(b"sent after finish")?;
        Ok(())
    })?;
    assert_eq!(counted, (0, 1017, 1017));
    Ok(())
}

#[test]
fn bytes_that_are_read_ahead_count() -> io::Result<()> {
    let counted = bytes(0, "one\ntwo\n", |request| {
        request.rfile.readline(100)?;
        let ahead = request.rfile.buffer().len() as u64;
        assert_eq!(request.server.statistics().bytes_in, 4 + ahead);
        // Wait until all bytes have arrived.
        request.rfile.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    assert_eq!(counted, (8, 0, 0));
    Ok(())
}

#[test]
fn vectored_and_large_writes_through_a_handle() -> io::Result<()> {
    const BIG: usize = 4 << 20;
    let counted = bytes(0, "", |request| {
        let parts = [IoSlice::new(b"12345"), IoSlice::new(b"67")];
        assert_eq!(request.wfile.write_vectored(&parts)?, 7);
        request.connection()?.send_all(&[b'.'; 100])?;
        // More bytes than a socket accepts in one write.
        request.wfile.write_all(&vec![b'.'; BIG])?;
        Ok(())
    })?;
    let all = 7 + 100 + BIG;
    assert_eq!(counted, (0, all as u64, all));
    Ok(())
}

#[test]
fn messages_count_with_their_prefixes() -> io::Result<()> {
    let framing = || Framing::new("!I".parse::<Prefix>().expect("the text is a prefix"));
    let counted = bytes(0, "\0\0\0\x05hello", move |request| {
        let message = framing()
            .read(&mut request.rfile)?
            .expect("a message arrives");
        framing().write(&mut request.wfile, &message)?;
        Ok(framing().write(&mut request.wfile, &[b'.'; 100])?)
    })?;
    assert_eq!(counted, (9, 113, 113));
    Ok(())
}

#[test]
fn bytes_sent_through_a_handle_count() -> io::Result<()> {
    let (reporter, reports) = channel::<Connection>();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        reporter.send(request.connection()?)?;
        while request.next_line()?.is_some() {}
        Ok(())
    })?
    .serve_in_background()?;
    let client = connect(server.server_address());
    let connection = next(&reports);
    connection.send_all(b"from elsewhere")?;
    assert_eq!(server.handle().statistics().bytes_out, 14);
    connection.shutdown()?;
    assert_eq!(read_all(client), "from elsewhere");
    assert_eq!(settled(&server.handle(), 1).bytes_out, 14);
    Ok(())
}

#[test]
fn a_detached_connection_counts_until_it_is_detached() -> io::Result<()> {
    let (reporter, reports) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.wfile.write_all(b"before")?;
        let mut taken = request.detach();
        taken.wfile.write_all(b"behind")?;
        Ok(reporter.send(taken).map_err(|_| "the test has ended")?)
    })?
    .serve_in_background()?;
    let mut client = connect(server.server_address());
    let mut taken = next(&reports);
    assert_eq!(settled(&server.handle(), 1).bytes_out, 6);
    client.write_all(b"hello\n")?;
    assert_eq!(taken.rfile.readline(100)?, b"hello\n");
    taken.wfile.write_all(b"later")?;
    drop(taken);
    assert_eq!(read_all(client), "beforebehindlater");
    let statistics = server.handle().statistics();
    assert_eq!((statistics.bytes_in, statistics.bytes_out), (0, 6));
    Ok(())
}

#[test]
fn bytes_sent_to_refused_clients_count() -> io::Result<()> {
    struct AnswerAndRefuse;
    impl Hooks for AnswerAndRefuse {
        fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
            request.wfile.write_all(b"no")?;
            Ok(false)
        }
    }
    let builder = TcpServer::builder().wbufsize(100).hooks(AnswerAndRefuse);
    let server = builder.bind_fn(ANY, |_| Ok(()))?.serve_in_background()?;
    assert_eq!(exchange(connect(server.server_address()), ""), "no");
    assert_eq!(settled(&server.handle(), 1).bytes_out, 2);
    Ok(())
}

/// A server answers a datagram of 6 bytes in three ways.
fn answer<L: Kind<Request = DatagramRequest>, D: Dispatch + Default>() -> io::Result<Statistics> {
    let folder = socket_folder();
    let (reporter, reports) = channel::<(DatagramSocket, Address)>();
    let builder = Server::<L, D>::builder().max_packet_size(6);
    let server = builder.bind_fn(L::address(folder.path()), move |request| {
        request.reply(b"at once")?;
        request.wfile.write_all(b"after finish")?;
        Ok(reporter.send((request.socket.clone(), request.client_address.clone()))?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("hello"), "at once");
    assert_eq!(client.receive_line(), "after finish");
    settled(&server.handle(), 1);
    let (socket, address) = next(&reports);
    socket.send_to(b"much later", &address)?;
    assert_eq!(client.receive_line(), "much later");
    // The received bytes of a truncated datagram count.
    client.send_line("much too long");
    eventually("the datagram is accepted", || {
        server.handle().statistics().accepted == 2
    });
    Ok(settled(&server.handle(), 2))
}

fn datagrams_and_their_answers<L: Kind<Request = DatagramRequest>>() {
    let answers = "at once".len() + "after finish".len();
    let out = (2 * answers + "much later".len()) as u64;
    for statistics in [answer::<L, Inline>(), answer::<L, Concurrent>()] {
        let statistics = statistics.expect("the server serves");
        assert_eq!((statistics.bytes_in, statistics.bytes_out), (12, out));
    }
}

for_datagram_kinds! { datagrams_and_their_answers }

#[test]
fn bytes_that_could_not_be_sent_do_not_count() -> io::Result<()> {
    let server = UdpServer::bind_fn(ANY, |request| {
        assert!(request.reply(&[0; 70_000]).is_err());
        Ok(())
    })?
    .serve_in_background()?;
    support::connect_udp(server.server_address()).send(b"hello")?;
    let statistics = settled(&server.handle(), 1);
    assert_eq!((statistics.finished, statistics.bytes_out), (1, 0));
    Ok(())
}
