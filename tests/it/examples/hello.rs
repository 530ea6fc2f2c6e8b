//! The example `hello_server`: the ends of its messages, and a hundred clients at once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Barrier;
use std::thread;

use nix::sys::signal::Signal;

use support::example::Example;
use support::{ANY, read_all};

support::for_threads_and_green! {
    a_hundred_clients_at_once
    each_line_is_a_message
    the_end_of_the_stream_ends_a_message
    ctrl_c_closes_idle_connections
}

fn start(options: &[&str]) -> Example {
    Example::start("hello_server", &[&[ANY], options].concat())
}

/// A client that has received the welcome message.
fn connect(server: &Example) -> TcpStream {
    let mut stream = support::connect_to(&server.address);
    assert_eq!(read(&mut stream, 8), "Welcome!");
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut text = vec![0; length];
    stream.read_exact(&mut text).expect("the server answers");
    String::from_utf8(text).expect("the answer is text")
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("the server reads");
}

fn a_hundred_clients_at_once(options: &[&str]) {
    const CLIENTS: usize = 100;
    let server = start(options);
    let all_in = Barrier::new(CLIENTS);
    let all_greeted = Barrier::new(CLIENTS);
    let converse = |me: usize| {
        let mut stream = connect(&server);
        all_in.wait();
        for n in 0..20 {
            let name = format!("client {me}, time {n}");
            send(&mut stream, &name);
            assert_eq!(read(&mut stream, name.len() + 8), format!("Hello, {name}!"));
        }
        all_greeted.wait();
        send(&mut stream, "exit");
        assert_eq!(read_all(stream), "");
    };
    thread::scope(|scope| {
        for me in 0..CLIENTS {
            scope.spawn(move || converse(me));
        }
    });
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

/// `nc` may send several lines at once.
fn each_line_is_a_message(options: &[&str]) {
    let server = start(options);
    let mut stream = connect(&server);
    send(&mut stream, "Ada\r\n\n  Grace \nexit\nBob\n");
    assert_eq!(read_all(stream), "Hello, Ada!\nHello, Grace!\n");
}

fn the_end_of_the_stream_ends_a_message(options: &[&str]) {
    let server = start(options);
    let mut stream = connect(&server);
    send(&mut stream, "Ada\nGrace");
    stream
        .shutdown(Shutdown::Write)
        .expect("the connection is open");
    assert_eq!(read_all(stream), "Hello, Ada!\nHello, Grace!");
}

#[test]
fn names_in_any_encoding_are_sent_back_unchanged() {
    let server = start(&[]);
    let mut stream = connect(&server);
    stream.write_all(b"Ren\xe9").expect("the server reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"Hello, Ren\xe9!");
}

fn ctrl_c_closes_idle_connections(options: &[&str]) {
    let server = start(options);
    let mut answered = connect(&server);
    send(&mut answered, "Ada");
    assert_eq!(read(&mut answered, 11), "Hello, Ada!");
    let silent = connect(&server);
    server.signal(Signal::SIGINT);
    assert_eq!(read_all(answered), "");
    assert_eq!(read_all(silent), "");
    assert!(server.finish().0.success());
}
