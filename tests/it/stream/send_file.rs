//! Files, or parts of them, as messages.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use socketserver::dispatch::Inline;
use socketserver::listener::{Tcp, Unix};
use socketserver::prelude::*;
use socketserver::{Dispatch, Server};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::settled;
use support::{
    ANY, connect, connect_unix, exchange, in_background, join_soon, next, read_all, socket_path,
};

/// Longer than all buffers on the way.
const LONG_FILE: usize = 16 << 20;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file can be created");
    file.write_all(content).expect("the disk has space");
    file
}

/// A file of dots.
fn long_file() -> File {
    file(&vec![b'.'; LONG_FILE])
}

/// Bytes that differ from their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8) as u8).collect()
}

const LENGTH: usize = 3 << 20;

/// Sends parts between other messages.
fn send_parts(request: &mut StreamRequest) -> HandlerResult {
    let (file, end) = (file(&pattern(LENGTH)), LENGTH as u64);
    let wfile = &mut request.wfile;
    wfile.write_all(b"begin")?;
    assert_eq!(wfile.send_file(&file, ..)?, end);
    wfile.write_all(b"middle")?;
    assert_eq!(wfile.send_file(&file, 10..20)?, 10);
    assert_eq!(wfile.send_file(&file, 5..=5)?, 1);
    assert_eq!(wfile.send_file(&file, 1000..end)?, end - 1000);
    assert_eq!(wfile.send_file(&file, end - 3..)?, 3);
    assert_eq!(wfile.send_file(&file, 7..7)?, 0);
    assert_eq!(wfile.send_file(&file, end..)?, 0);
    Ok(wfile.write_all(b"end")?)
}

fn parts() -> Vec<u8> {
    let all = pattern(LENGTH);
    let (few, one) = (&all[10..20], &all[5..6]);
    let (most, last) = (&all[1000..], &all[LENGTH - 3..]);
    [b"begin", &all[..], b"middle", few, one, most, last, b"end"].concat()
}

fn assert_parts(received: io::Result<Vec<u8>>, server: &BackgroundServer) {
    assert!(received.expect("the server answers") == parts());
    let statistics = settled(&server.handle(), 1);
    assert_eq!(statistics.bytes_out, parts().len() as u64);
    assert_eq!(statistics.finished, 1);
}

fn all(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).map(|_| received)
}

fn parts_arrive<D: Dispatch + Default>() {
    for wbufsize in [0, 16_384] {
        let builder = Server::<Tcp, D>::builder().wbufsize(wbufsize);
        let server = in_background(builder.bind_fn(ANY, send_parts));
        assert_parts(all(connect(server.server_address())), &server);
        let (_folder, path) = socket_path();
        let builder = Server::<Unix, D>::builder().wbufsize(wbufsize);
        let server = in_background(builder.bind_fn(&*path, send_parts));
        assert_parts(all(connect_unix(server.server_address())), &server);
    }
}

#[test]
fn parts_of_a_file_arrive_in_order() {
    parts_arrive::<Concurrent>();
    parts_arrive::<Inline>();
}

#[test]
fn a_detached_connection_sends_files() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let mut detached = request.detach();
        thread::spawn(move || detached.wfile.send_file(&file(&pattern(LENGTH)), ..));
        Ok(())
    }));
    let received = all(connect(server.server_address()));
    assert!(received.expect("the thread answers") == pattern(LENGTH));
}

/// Another thread reads meanwhile, and its read does not fail.
#[test]
fn a_half_sends_a_file_while_the_other_reads() {
    const ROUNDS: usize = 30;
    let (results, result) = channel();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let (mut rfile, mut wfile) = request.detach().into_split();
        let results = results.clone();
        thread::spawn(move || results.send(io::copy(&mut rfile, &mut io::sink())));
        let file = file(&pattern(100_000));
        for _ in 0..ROUNDS {
            wfile.send_file(&file, ..)?;
        }
        Ok(wfile.shutdown()?)
    }));
    let client = connect(server.server_address());
    let mut sending = client.try_clone().expect("a descriptor is free");
    let writing = thread::spawn(move || {
        (0..10_000).for_each(|_| sending.write_all(b"x").expect("it reads"));
        sending.shutdown(std::net::Shutdown::Write)
    });
    assert!(all(client).expect("it sends") == pattern(100_000).repeat(ROUNDS));
    join_soon(writing).expect("it is open");
    let read = next(&result).map_err(|error| error.kind());
    assert_eq!(read, Ok(10_000));
}

/// What others send and push meanwhile comes before the file or after it.
#[test]
fn a_file_is_one_message() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let connection = request.connection()?;
        let outbox = connection.outbox(1 << 20);
        let others = thread::spawn(move || {
            for _ in 0..100 {
                connection.send_all(b"!").expect("the client reads");
                outbox.push(&b"?"[..]).expect("the client reads");
                thread::sleep(Duration::from_millis(1));
            }
        });
        request.wfile.send_file(&long_file(), ..)?;
        // It waits while a task is suspended.
        socketserver::task::blocking(|| join_soon(others));
        Ok(())
    }));
    let mut client = connect(server.server_address());
    let mut received = Vec::new();
    let mut piece = vec![0; 1 << 20];
    while let n @ 1.. = client.read(&mut piece).expect("the server sends") {
        received.extend_from_slice(&piece[..n]);
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(received.len(), LONG_FILE + 200);
    let begin = received.iter().position(|byte| *byte == b'.');
    let begin = begin.expect("the file is there");
    let file = &received[begin..begin + LONG_FILE];
    assert!(file.iter().all(|byte| *byte == b'.'));
}

#[test]
fn a_file_that_is_too_short_is_an_error() {
    let (results, result) = channel();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let sent = request.wfile.send_file(&file(b"short"), ..6);
        let next = request.wfile.write_all(b"next");
        Ok(results.send([sent.map(drop), next].map(|sent| sent.map_err(|e| e.kind())))?)
    }));
    assert_eq!(read_all(connect(server.server_address())), "short");
    // As after any message that was sent only in part.
    let errors = [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe];
    assert_eq!(next(&result), errors.map(Err));
}

#[test]
fn nothing_is_buffered_of_a_file_that_is_too_short() {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let server = in_background(builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"before, ")?;
        let error = request.wfile.send_file(&file(b"short"), 2..6);
        let error = error.expect_err("there are three bytes");
        assert_eq!(error.to_string(), "the file has no 4 bytes from byte 2 on");
        Ok(request.wfile.write_all(b"after")?)
    }));
    assert_eq!(read_all(connect(server.server_address())), "before, after");
}

#[test]
fn a_file_of_the_system_is_sent_to_its_end() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let file = File::open("/proc/self/limits")?;
        Ok(request.wfile.send_file(&file, ..).map(drop)?)
    }));
    let expected = fs::read_to_string("/proc/self/limits").expect("Linux has it");
    assert_eq!(read_all(connect(server.server_address())), expected);
}

#[test]
fn a_pipe_and_a_folder_are_errors() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let (pipe, _other) = nix::unistd::pipe()?;
        for file in [File::from(pipe), File::open("/")?] {
            let sent = request.wfile.send_file(&file, ..);
            assert!(sent.is_err());
        }
        Ok(request.wfile.write_all(b"sent")?)
    }));
    assert_eq!(read_all(connect(server.server_address())), "sent");
}

#[test]
fn clients_that_do_not_read_a_file_hold_up_no_other() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
        if line == b"file\n" {
            request.wfile.send_file(&long_file(), ..)?;
        }
        Ok(())
    }));
    let silent = [0; 8].map(|_| {
        let mut client = connect(server.server_address());
        client.write_all(b"file\n").expect("the server reads");
        // No more than this line: the file may follow at once.
        let mut line = [0; 5];
        client.read_exact(&mut line).expect("the server answers");
        assert_eq!(&line, b"file\n");
        client
    });
    for _ in 0..8 {
        let client = connect(server.server_address());
        assert_eq!(exchange(client, "line\n"), "line\n");
    }
    for client in silent {
        assert_eq!(all(client).expect("it sends").len(), LONG_FILE);
    }
}

/// Each 64 KiB have the whole write timeout.
#[test]
fn a_client_that_goes_on_reading_gets_a_long_file() {
    const TIMEOUT: Duration = Duration::from_millis(600);
    const SMALL: usize = 64 << 10;
    let (results, result) = channel();
    let builder = ConcurrentTcpServer::builder().write_timeout(TIMEOUT);
    let server = in_background(builder.bind_fn(ANY, move |request| {
        SockRef::from(&*request).set_send_buffer_size(SMALL)?;
        let begin = Instant::now();
        let sent = request.wfile.send_file(&file(&pattern(LENGTH)), ..);
        let sent = sent.map_err(|error| error.kind());
        Ok(results.send((sent, begin.elapsed()))?)
    }));
    let mut client = connect(server.server_address());
    SockRef::from(&client)
        .set_recv_buffer_size(SMALL)
        .expect("the option is set");
    let mut piece = vec![0; LENGTH / 20];
    while client.read_exact(&mut piece).is_ok() {
        thread::sleep(TIMEOUT / 10);
    }
    let (sent, took) = next(&result);
    assert_eq!(sent, Ok(LENGTH as u64));
    assert!(took > TIMEOUT, "it took {took:?}");
}

#[test]
fn a_forced_close_ends_a_file() {
    let (results, result) = channel();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let sent = request.wfile.send_file(&long_file(), ..);
        Ok(results.send(sent.map_err(|error| error.kind()))?)
    }));
    let mut client = connect(server.server_address());
    client.read_exact(&mut [0]).expect("the file has begun");
    server.handle().shutdown_within(Duration::ZERO);
    assert_eq!(next(&result), Err(ErrorKind::ConnectionAborted));
    let end = io::copy(&mut client, &mut io::sink());
    assert_eq!(
        end.map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionReset)
    );
}
