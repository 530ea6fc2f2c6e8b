//! Idioms 4, 5, 7 and 16 to 18 of the porting guide: handlers of connections.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::unbounded;
use socketserver::prelude::*;
use socketserver::request::Connection;

use support::concurrent::ConcurrentTcpServer;
use support::{ANY, LONG, connect, eventually, exchange, read_all};

// 4. `self.request.recv`, `sendall` and `settimeout`, beside `self.rfile` and `self.wfile`.
struct Mixed;

impl RequestHandler for Mixed {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut greeting = [0; 1024];
        let received = request.rfile.read(&mut greeting)?;
        request.wfile.write_all(&greeting[..received])?;
        let line = request.rfile.readline(5)?;
        writeln!(request.wfile, "<{}>", String::from_utf8(line)?)?;
        request.set_timeout(Some(Duration::from_millis(10)))?;
        let error = request.rfile.read(&mut greeting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        request.wfile.write_all(b"too late")?;
        Ok(())
    }
}

#[test]
fn recv_sendall_and_settimeout_mix_with_readline_and_wfile() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind(ANY, || Mixed)?.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"hello")?;
    let mut echo = [0; 5];
    client.read_exact(&mut echo)?;
    assert_eq!(&echo, b"hello");
    client.write_all(b"12345")?;
    assert_eq!(read_all(client), "<12345>\ntoo late");
    Ok(())
}

// 5. `setup`, `handle`, `finish`, and the steps that run after an error.
struct Steps(Arc<Mutex<Vec<&'static str>>>);

impl RequestHandler for Steps {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.0.lock().unwrap().push("setup");
        match request.rfile.fill_buf()? {
            b"fail in setup\n" => Err("requested by the test".into()),
            _ => Ok(()),
        }
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.0.lock().unwrap().push("handle");
        match &*request.rfile.readline(100)? {
            b"fail\n" => Err("requested by the test".into()),
            b"panic\n" => panic!("requested by the test"),
            line => Ok(request.wfile.write_all(line)?),
        }
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.0.lock().unwrap().push("finish");
        Ok(request.wfile.write_all(b"finished")?)
    }
}

#[test]
fn finish_runs_whenever_setup_succeeded() -> io::Result<()> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = steps.clone();
    let server = ConcurrentTcpServer::bind(ANY, move || Steps(log.clone()))?;
    let server = server.serve_in_background()?;
    let all = ["setup", "handle", "finish"];
    for (line, answer, expected) in [
        ("good\n", "good\nfinished", &all[..]),
        ("fail\n", "finished", &all),
        ("panic\n", "finished", &all),
        ("fail in setup\n", "", &all[..1]),
    ] {
        let mut client = connect(server.server_address());
        client.write_all(line.as_bytes())?;
        assert_eq!(read_all(client), answer);
        assert_eq!(std::mem::take(&mut *steps.lock().unwrap()), expected);
    }
    Ok(())
}

// 7. `functools.partial(Handler, directory)`; `timeout`, `rbufsize`, `wbufsize` and
// `disable_nagle_algorithm` on the handler's class.
struct Prefix(String);

impl RequestHandler for Prefix {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let nodelay = socket2::SockRef::from(&*request).tcp_nodelay()?;
        writeln!(request.wfile, "{}: {nodelay}", self.0)?;
        let error = request.rfile.readline(100).unwrap_err();
        writeln!(request.wfile, "{:?}", error.kind())?;
        Ok(())
    }
}

#[test]
fn handlers_are_configured_for_each_server() -> io::Result<()> {
    let servers = ["one", "two"].map(|name| {
        ConcurrentTcpServer::builder()
            .read_timeout(Duration::from_millis(10))
            .write_timeout(LONG)
            .disable_nagle_algorithm(name == "one")
            .rbufsize(0)
            .wbufsize(8192)
            .bind(ANY, move || Prefix(name.to_owned()))
    });
    for (server, expected) in servers.into_iter().zip(["one: true", "two: false"]) {
        let server = server?.serve_in_background()?;
        let answer = read_all(connect(server.server_address()));
        assert_eq!(answer, format!("{expected}\nTimedOut\n"));
    }
    Ok(())
}

// 16. `self.server.clients`: the sockets of all clients, for broadcast and kick.
#[derive(Clone, Default)]
struct Chat(Arc<Mutex<Vec<(String, Connection)>>>);

impl Chat {
    fn send_text(&self, text: &str) {
        let members = self.0.lock().unwrap().clone();
        for (_, connection) in members {
            let _ = connection.send_all(text.as_bytes());
        }
    }

    fn kick(&self, panicking: &str) {
        for (_, connection) in self.0.lock().unwrap().iter().filter(|m| m.0 == panicking) {
            let _ = connection.shutdown();
        }
    }

    fn members(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl RequestHandler for Chat {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut name = String::new();
        request.rfile.read_line(&mut name)?;
        let me = (name.trim_end().to_owned(), request.connection()?);
        self.0.lock().unwrap().push(me.clone());
        for line in request.rfile.by_ref().lines() {
            match line?.strip_prefix("/kick ") {
                Some(panicking) => self.kick(panicking),
                None => self.send_text(&format!("{} speaks\n", me.0)),
            }
        }
        Ok(())
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let me = request.connection()?;
        self.0.lock().unwrap().retain(|(_, other)| *other != me);
        Ok(())
    }
}

#[test]
fn a_registry_of_connections_for_broadcast_and_kick() -> io::Result<()> {
    let chat = Chat::default();
    let handler = chat.clone();
    let server = ConcurrentTcpServer::bind(ANY, move || handler.clone())?;
    let server = server.serve_in_background()?;
    let join = |name: &str| {
        let mut client = connect(server.server_address());
        writeln!(client, "{name}").expect("the server reads");
        client
    };
    let (ada, bob) = (join("ada"), join("bob"));
    eventually("both clients are registered", || chat.members() == 2);
    assert_eq!(exchange(&ada, "hello\n"), "ada speaks\n");
    assert_eq!(exchange(&bob, ""), "ada speaks\n");
    (&ada).write_all(b"/kick bob\n")?;
    assert_eq!(read_all(bob), "");
    eventually("one client is registered", || chat.members() == 1);
    assert_eq!(exchange(&ada, "alone?\n"), "ada speaks\n");
    Ok(())
}

// 17. Overridden `shutdown_request`: the connection is moved to another thread.
#[test]
fn a_handler_moves_its_connection_to_another_thread() -> io::Result<()> {
    let (give, taken) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        let first = request.rfile.readline(100)?;
        request.wfile.write_all(&first)?;
        give.send(request.detach())
            .map_err(|_| "the worker thread has ended")?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"for the handler\nfor the worker\n")?;
    let mut request = taken
        .recv_timeout(LONG)
        .expect("the request is sent to the worker");
    server.stop()?;
    let second = request.rfile.readline(100)?;
    request.wfile.write_all(&second)?;
    drop(request);
    assert_eq!(read_all(client), "for the handler\nfor the worker\n");
    Ok(())
}

// 18. A relay: two sockets, a thread for each direction.
fn relay(request: &mut StreamRequest, target: TcpStream) -> HandlerResult {
    let client = request.connection()?;
    let (mut rfile, wfile) = request.split();
    thread::scope(|scope| {
        let upstream = scope.spawn(|| {
            let copied = io::copy(&mut rfile, &mut &target);
            target.shutdown(Shutdown::Write)?;
            copied
        });
        let downstream = io::copy(&mut &target, wfile).and_then(|_| wfile.shutdown());
        if downstream.is_err() {
            let _ = client.shutdown();
        }
        upstream.join().expect("copying does not panic")?;
        Ok(downstream?)
    })
}

#[test]
fn a_relay_with_a_thread_for_each_direction() -> io::Result<()> {
    let upper = ConcurrentTcpServer::bind_fn(ANY, |request| {
        // The target answers after the client has shut down its writes.
        let mut all = String::new();
        request.rfile.read_to_string(&mut all)?;
        Ok(request.wfile.write_all(all.to_uppercase().as_bytes())?)
    })?;
    let upper = upper.serve_in_background()?;
    let target = upper.server_address().clone();
    let relay = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        relay(request, TcpStream::connect(&target)?)
    })?;
    let relay = relay.serve_in_background()?;
    let mut client = connect(relay.server_address());
    client.write_all(b"through two servers")?;
    client.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(client), "THROUGH TWO SERVERS");
    Ok(())
}

fn reset(socket: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

#[test]
fn a_reset_of_one_side_of_a_relay_ends_the_other_side() -> io::Result<()> {
    let target = TcpListener::bind(ANY)?;
    let address = target.local_addr()?;
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        relay(request, TcpStream::connect(address)?)
    })?;
    let server = server.serve_in_background()?;
    let pair = || -> io::Result<_> {
        let client = connect(server.server_address());
        let (target, _) = target.accept()?;
        target.set_read_timeout(Some(LONG))?;
        Ok((client, target))
    };

    let (client, broken) = pair()?;
    reset(broken)?;
    assert_eq!(read_all(client), "");

    let (broken, target) = pair()?;
    reset(broken)?;
    assert_eq!(read_all(target), "");
    Ok(())
}
