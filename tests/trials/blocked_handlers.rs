//! Many handlers that are blocked when their server is shut down, and one that blocks all others of its worker.
//! The outcome of each kind is tested in `it/shutdown/drain.rs`.

use std::time::{Duration, Instant};

use socketserver::prelude::*;

use crate::exclusive;

use support::handlers::{begin, block, counts};
use support::{ANY, in_background};

#[test]
#[ignore = "full size"]
fn three_hundred_blocked_handlers() {
    let _exclusive = exclusive();
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, block));
    let orders = ["read", "write", "loop"].into_iter().cycle().take(300);
    let _blocked: Vec<_> = orders
        .map(|order| begin(server.server_address(), order))
        .collect();
    let started = Instant::now();
    let report = server.handle().shutdown_within(Duration::from_secs(1));
    let took = started.elapsed();
    println!("returned after {took:.2?}: {report:?}");
    assert_eq!(counts(report), (0, 200, 100));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[cfg(feature = "green")]
mod green {
    use std::io::Read;
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    use support::{assert_reset, connect, eventually};

    /// Echoes lines. After the line `loop` it never comes back.
    fn echo_or_loop(request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line()? {
            if line == "loop" {
                loop {
                    thread::park();
                }
            }
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }

    /// What the other worker runs goes on, and it serves all new clients.
    #[test]
    fn one_of_a_hundred_handlers_loops() {
        let _exclusive = exclusive();
        let server = GreenTcpServer::builder().workers(2);
        let server = in_background(server.bind_fn(ANY, echo_or_loop));
        let mut clients: Vec<_> = (0..100).map(|_| connect_next(&server)).collect();
        clients.iter_mut().for_each(|client| send(client, "hello"));
        expect_answers(&clients, 100);
        let looping = worker_of(&clients[0], &server);
        send(&mut clients[0], "loop");
        eventually("the blocked worker is counted", || {
            server.handle().statistics().blocked_workers == 1
        });
        let (mut waiting, mut served): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .partition(|client| worker_of(client, &server) == looping);
        let mut new: Vec<_> = (0..20).map(|_| connect_next(&server)).collect();
        for clients in [&mut waiting, &mut served, &mut new] {
            clients.iter_mut().for_each(|client| send(client, "again"));
        }
        let count = served.len();
        expect_answers(&served, count);
        expect_answers(&new, 20);
        assert_eq!(answers(&waiting), 0);
        let served = count + 20;
        let started = Instant::now();
        let report = server.handle().shutdown_within(Duration::from_secs(1));
        let took = started.elapsed();
        println!(
            "1 of 100 handlers loops: {served} of 120 clients are served; shutdown returned after {took:.2?}: {report:?}"
        );
        assert_eq!(counts(report), (served, 0, 120 - served));
        assert!(took < Duration::from_secs(5), "{took:?}");
        for client in &waiting {
            client.set_nonblocking(false).expect("the option is set");
            assert_reset(client);
        }
    }

    fn connect_next(server: &BackgroundServer) -> TcpStream {
        let client = connect(server.server_address());
        client.set_nonblocking(true).expect("the option is set");
        client
    }

    fn send(client: &mut TcpStream, line: &str) {
        let line = format!("{line}\n");
        client
            .write_all(line.as_bytes())
            .expect("the kernel buffers it");
    }

    fn expect_answers(clients: &[TcpStream], count: usize) {
        let mut received = 0;
        eventually("the answers arrive", || {
            received += answers(clients);
            received == count
        });
    }

    /// How many answers have arrived since the last call.
    fn answers(clients: &[TcpStream]) -> usize {
        let has_answer = |client: &&TcpStream| (&mut &**client).read(&mut [0; 10]).is_ok();
        clients.iter().filter(has_answer).count()
    }

    fn worker_of(client: &TcpStream, server: &BackgroundServer) -> usize {
        let address = client.local_addr().expect("it is connected");
        let tasks = server.handle().tasks();
        let task = tasks.iter().find(|task| task.client_address == address);
        task.expect("the client has a task").worker
    }
}
