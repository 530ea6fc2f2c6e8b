//! The example `chat_server`: the lines that each client receives, a hundred clients at once, and a
//! client that stops reading.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use support::child::in_child;
use support::example::{self, Example};
use support::process::peak_resident;
use support::{ANY, LONG, eventually, python};

support::for_threads_and_green! {
    two_python_clients_chat
    a_hundred_clients_chat_at_once
    a_client_that_stops_reading_is_dropped_and_the_others_continue
    lists_of_names_that_nobody_reads_use_little_memory
    a_line_that_is_too_long_closes_its_own_connection_only
    ctrl_c_ends_the_server_at_once
}

fn start(options: &[&str]) -> Example {
    Example::start("chat_server", &[&[ANY], options].concat())
}

struct ChatClient {
    stream: BufReader<TcpStream>,
}

impl ChatClient {
    /// Connects and receives the welcome line. After it, the client receives all lines of the
    /// others.
    fn connect(server: &Example) -> Self {
        let mut client = ChatClient {
            stream: BufReader::new(support::connect_to(&server.address)),
        };
        let welcome = client.receive();
        assert!(welcome.starts_with("* welcome, guest"), "{welcome}");
        client
    }

    fn named(server: &Example, name: &str) -> Self {
        let mut client = ChatClient::connect(server);
        client.send(&format!("/nick {name}"));
        client.receive_until(&format!("* you are now {name}"));
        client
    }

    fn send(&mut self, line: &str) {
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("the server reads");
    }

    /// One line; empty at the end.
    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .expect("the server sends text");
        line.trim_end_matches('\n').to_owned()
    }

    fn receive_until(&mut self, wanted: &str) {
        loop {
            let line = self.receive();
            assert!(!line.is_empty(), "the stream ended before {wanted:?}");
            if line == wanted {
                return;
            }
        }
    }
}

fn two_python_clients_chat(options: &[&str]) {
    let server = start(options);
    let (host, port) = server.address.split_once(':').expect("HOST:PORT");
    let mut script = python::script("chat.py");
    let script = script.args([host, port]).env("PYTHONIOENCODING", "utf-8");
    let output = script.output().expect("python3 is installed");
    assert!(output.status.success(), "{output:?}");
    let received = String::from_utf8(output.stdout).expect("the output is text");
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

/// No client can reverse the text on the terminals of others, or make one line look like two.
#[test]
fn characters_that_are_not_printed_are_removed() {
    let server = start(&[]);
    let mut sender = ChatClient::named(&server, "sender");
    let mut receiver = ChatClient::named(&server, "receiver");
    sender.send("it's \"a\\\"\u{202e}b\u{2066}\u{200f}\u{2028}\u{85}\x1b\0 e\u{301} naïve");
    receiver.receive_until("sender: it's \"a\\\"b e\u{301} naïve");
}

/// Persian and Hindi words and some emoji are other ones without them.
#[test]
fn joiners_are_kept() {
    let server = start(&[]);
    let mut sender = ChatClient::named(&server, "sender");
    let mut receiver = ChatClient::named(&server, "receiver");
    let text = "می\u{200c}خواهم क्\u{200d}ष 👩\u{200d}👧";
    sender.send(&format!("{text}\u{200b}\u{feff}"));
    receiver.receive_until(&format!("sender: {text}"));
}

#[test]
fn the_help_lists_all_limits() {
    let output = example::run("chat_server", &["--help"]);
    let help = String::from_utf8(output.stdout).expect("the output is text");
    for limit in ["4,096 bytes", "60 s", "256 KiB", "5 s"] {
        assert!(help.contains(limit), "{limit}: {help}");
    }
}

/// Each client receives every line of every other client, in order, and none of its own.
fn a_hundred_clients_chat_at_once(options: &[&str]) {
    const CLIENTS: usize = 100;
    const LINES: usize = 5;
    let server = start(options);
    let (connected, received_all) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Fails after a while if a client has failed. A barrier would wait without limit.
    let wait_for_all = |count: &AtomicUsize| {
        count.fetch_add(1, Ordering::SeqCst);
        eventually("all clients", || count.load(Ordering::SeqCst) == CLIENTS);
    };
    let chat = |me: usize| {
        let mut client = ChatClient::named(&server, &format!("p{me}"));
        wait_for_all(&connected);
        for n in 0..LINES {
            client.send(&format!("line {n}"));
        }
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut lines = 0;
        while lines < (CLIENTS - 1) * LINES {
            let line = client.receive();
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
        wait_for_all(&received_all);
        client.send("/quit");
        while !client.receive().is_empty() {}
    };
    thread::scope(|scope| {
        for me in 0..CLIENTS {
            scope.spawn(move || chat(me));
        }
    });
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

/// A client that stops reading after it has connected. Its receive buffer is small, so that it is
/// full soon.
fn stalled(server: &Example) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be created");
    socket
        .set_recv_buffer_size(4096)
        .expect("the option is set");
    let address: SocketAddr = server.address.parse().expect("the text is an address");
    socket.connect(&address.into()).expect("the server accepts");
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(LONG))
        .expect("the option is set");
    stream
        .write_all(b"/nick stalled\n")
        .expect("the server reads");
    stream
}

/// The other clients receive each batch before the next is sent. So they neither wait for the
/// stalled client nor lose a line, before and after the server drops it.
fn a_client_that_stops_reading_is_dropped_and_the_others_continue(options: &[&str]) {
    let server = start(options);
    let mut sender = ChatClient::named(&server, "sender");
    let mut receiver = ChatClient::named(&server, "receiver");
    let mut stalled = stalled(&server);
    receiver.receive_until("* guest3 is now stalled");
    let text = "x".repeat(4000);
    let mut dropped_after = None;
    for batch in 0..2000 {
        let lines: Vec<_> = (0..20).map(|n| format!("{batch}.{n} {text}")).collect();
        sender.send(&lines.join("\n"));
        for line in lines {
            let expected = format!("sender: {line}");
            let mut received = receiver.receive();
            if received == "* stalled has left" {
                dropped_after = Some(batch);
                received = receiver.receive();
            }
            assert!(
                received == expected,
                "received {:.40} instead of {expected:.40}",
                received
            );
        }
        if dropped_after.is_some_and(|dropped| batch > dropped + 2) {
            break;
        }
    }
    assert!(
        dropped_after.is_some(),
        "160 MB are buffered for the stalled client"
    );
    // Now the client reads to the end of the stream, or to a reset.
    let _ = std::io::copy(&mut stalled, &mut std::io::sink());
    sender.send("/who");
    sender.receive_until("* here: sender, receiver");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    assert!(log.contains("does not read, and is dropped"), "{log}");
}

/// All queues share the text of a line.
#[test]
fn clients_that_do_not_read_use_little_memory() {
    // In a process of its own, because of the descriptors.
    in_child(|| {
        let server = start(&[]);
        let _stalled: Vec<_> = (0..200).map(|_| stalled(&server)).collect();
        let mut sender = ChatClient::named(&server, "sender");
        let text = "x".repeat(4000);
        for n in 0..2000 {
            sender.send(&format!("{n} {text}"));
        }
        sender.send("/who");
        let mut names = String::new();
        while !names.starts_with("* here: ") {
            names = sender.receive();
        }
        let peak = peak_resident(server.pid());
        assert!(peak < 100 << 10, "{peak} KiB");
    });
}

/// Each reply to `/who` is long, and shared with nobody.
fn lists_of_names_that_nobody_reads_use_little_memory(options: &[&str]) {
    let server = start(options);
    let mut watcher = ChatClient::named(&server, "watcher");
    let letter = |n: u32| char::from_u32(0x2_0000 + n).expect("an ideograph");
    let name = |n: u32| letter(n).to_string().repeat(32);
    let mut clients: Vec<_> = (0..100)
        .map(|n| ChatClient::named(&server, &name(n)))
        .collect();
    for client in &mut clients[..20] {
        client.send("/who\n".repeat(1040).trim_end());
        let stream = client.stream.get_ref();
        stream
            .shutdown(Shutdown::Write)
            .expect("the socket is connected");
    }
    let mut left = 0;
    while left < 20 {
        left += usize::from(watcher.receive().ends_with(" has left"));
    }
    let peak = peak_resident(server.pid());
    assert!(peak < 100 << 10, "{peak} KiB");
}

fn a_line_that_is_too_long_closes_its_own_connection_only(options: &[&str]) {
    let server = start(options);
    let mut other = ChatClient::named(&server, "other");
    let mut client = ChatClient::connect(&server);
    client.send(&"x".repeat(5000));
    let stderr = client.receive();
    assert!(
        stderr.contains("does not end within 4096 bytes"),
        "{stderr}"
    );
    let mut rest = Vec::new();
    // The end of the stream, or a reset because the server had not read everything.
    let _ = client.stream.read_to_end(&mut rest);
    other.receive_until("* guest2 has left");
}

fn ctrl_c_ends_the_server_at_once(options: &[&str]) {
    let server = start(options);
    let mut clients = ["a", "b", "c"].map(|name| ChatClient::named(&server, name));
    server.signal(Signal::SIGINT);
    for client in &mut clients {
        while !client.receive().is_empty() {}
    }
    assert!(server.finish().0.success());
}
