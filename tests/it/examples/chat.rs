//! The example `chat_server`: who receives what, a hundred at once, and those who stop reading.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use support::example::Example;
use support::{LONG, python};

fn start() -> Example {
    Example::start("chat_server", &["127.0.0.1:0"])
}

struct Person {
    stream: BufReader<TcpStream>,
}

impl Person {
    /// Connects, and receives the welcome: from then on it receives all.
    fn enter(server: &Example) -> Self {
        let stream = TcpStream::connect(&server.address).expect("it accepts");
        stream.set_read_timeout(Some(LONG)).expect("it can be set");
        stream.set_write_timeout(Some(LONG)).expect("it can be set");
        let mut person = Person {
            stream: BufReader::new(stream),
        };
        let welcome = person.receive();
        assert!(welcome.starts_with("* welcome, guest"), "{welcome}");
        person
    }

    fn named(server: &Example, name: &str) -> Self {
        let mut person = Person::enter(server);
        person.send(&format!("/nick {name}"));
        person.hear_until(&format!("* you are now {name}"));
        person
    }

    fn send(&mut self, line: &str) {
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("it reads");
    }

    /// One line; empty at the end.
    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it sends text");
        line.trim_end_matches('\n').to_owned()
    }

    fn hear_until(&mut self, wanted: &str) {
        loop {
            let line = self.receive();
            assert!(!line.is_empty(), "the end before {wanted:?}");
            if line == wanted {
                return;
            }
        }
    }
}

#[test]
fn two_people_in_python_talk() {
    let server = start();
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut script = python::script("chat.py");
    let script = script.args([host, port]).env("PYTHONIOENCODING", "utf-8");
    let output = script.output().expect("python3 is there");
    assert!(output.status.success(), "{output:?}");
    let received = String::from_utf8(output.stdout).expect("it prints text");
    let expected = "\
        * welcome, guest1; there are /nick NAME, /who and /quit\n\
        * you are now ada\n\
        * welcome, guest2; there are /nick NAME, /who and /quit\n\
        * guest2 has come\n\
        * somebody else is ada\n\
        * you are now bob\n\
        * guest2 is now bob\n\
        * a name is 1 to 32 letters, digits, - and _\n\
        * here: ada, bob\n\
        * there are /nick NAME, /who and /quit\n\
        ada: hello, [1mGrüße too\n\
        bob: hello back\n\
        * ada has left\n\
        \n";
    assert_eq!(received, expected);
}

/// Each receives every line of every other, in order, and none of its own.
#[test]
fn a_hundred_people_talk_at_once() {
    const PEOPLE: usize = 100;
    const LINES: usize = 5;
    let server = start();
    let all_in = Barrier::new(PEOPLE);
    let all_heard = Barrier::new(PEOPLE);
    let talk = |me: usize| {
        let mut person = Person::named(&server, &format!("p{me}"));
        all_in.wait();
        for n in 0..LINES {
            person.send(&format!("line {n}"));
        }
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut lines = 0;
        while lines < (PEOPLE - 1) * LINES {
            let line = person.receive();
            assert!(!line.is_empty(), "p{me} was dropped");
            if let Some((name, text)) = line.split_once(": line ") {
                received
                    .entry(name.to_owned())
                    .or_default()
                    .push(text.to_owned());
                lines += 1;
            }
        }
        assert!(
            !received.contains_key(&format!("p{me}")),
            "p{me} received its own line"
        );
        for (name, texts) in received {
            assert_eq!(texts, ["0", "1", "2", "3", "4"], "p{me} received of {name}");
        }
        all_heard.wait();
        person.send("/quit");
        while !person.receive().is_empty() {}
    };
    thread::scope(|scope| {
        for me in 0..PEOPLE {
            scope.spawn(move || talk(me));
        }
    });
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

/// Connects and reads no more. Its buffers are small, so that they are full soon.
fn sleeper(server: &Example) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    let address: SocketAddr = server.address.parse().expect("an address");
    socket.connect(&address.into()).expect("it accepts");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).expect("it can be set");
    stream.write_all(b"/nick sleeper\n").expect("it reads");
    stream
}

/// Each batch is received by the others before the next: they neither wait for the sleeper nor lose a
/// line, from before it is dropped until after.
#[test]
fn a_client_that_stops_reading_is_dropped_and_the_others_go_on() {
    let server = start();
    let mut talker = Person::named(&server, "talker");
    let mut listener = Person::named(&server, "listener");
    let mut sleeper = sleeper(&server);
    listener.hear_until("* guest3 is now sleeper");
    let text = "x".repeat(4000);
    let mut dropped_after = None;
    for batch in 0..2000 {
        let lines: Vec<_> = (0..20).map(|n| format!("{batch}.{n} {text}")).collect();
        talker.send(&lines.join("\n"));
        for line in lines {
            let expected = format!("talker: {line}");
            let mut received = listener.receive();
            if received == "* sleeper has left" {
                dropped_after = Some(batch);
                received = listener.receive();
            }
            assert!(
                received == expected,
                "heard {:.40} instead of {expected:.40}",
                received
            );
        }
        if dropped_after.is_some_and(|dropped| batch > dropped + 2) {
            break;
        }
    }
    assert!(dropped_after.is_some(), "160 MB wait for the sleeper");
    // Now it reads to the end, or to a reset.
    let _ = std::io::copy(&mut sleeper, &mut std::io::sink());
    talker.send("/who");
    talker.hear_until("* here: talker, listener");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    assert!(log.contains("does not read, and is dropped"), "{log}");
}

#[test]
fn a_line_without_end_ends_its_own_connection_only() {
    let server = start();
    let mut other = Person::named(&server, "other");
    let mut person = Person::enter(&server);
    person.send(&"x".repeat(5000));
    let stderr = person.receive();
    assert!(
        stderr.contains("does not end within 4096 bytes"),
        "{stderr}"
    );
    let mut rest = Vec::new();
    // The end or a reset: it had sent more than was read.
    let _ = person.stream.read_to_end(&mut rest);
    other.hear_until("* guest2 has left");
}

#[test]
fn ctrl_c_ends_the_chat_at_once() {
    let server = start();
    let mut people = ["a", "b", "c"].map(|name| Person::named(&server, name));
    server.signal(Signal::SIGINT);
    for person in &mut people {
        while !person.receive().is_empty() {}
    }
    assert!(server.finish().0.success());
}
