//! Clients that stop in the middle of their TLS handshake, while others are served.

use std::io::{self, Write};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

use crate::exclusive;
use crate::figures::mebibytes;

use support::process::peak_resident;
use support::tls::{close_notify, exchange, server_config, tls_client};
use support::{ANY, connect, eventually, in_background};

const TIMEOUT: Duration = Duration::from_secs(3);

/// How late a connection may end on a busy machine.
const LATE: Duration = Duration::from_secs(2);

#[test]
#[ignore = "full size"]
fn two_thousand_stopped_handshakes() {
    let _exclusive = exclusive();
    with_each_dispatcher(2_000);
}

#[test]
fn some_stopped_handshakes() {
    let _exclusive = exclusive();
    with_each_dispatcher(100);
}

fn with_each_dispatcher(clients: usize) {
    stop_in_the_middle("threads", ThreadingTcpServer::builder(), clients);
    #[cfg(feature = "green")]
    stop_in_the_middle("green", GreenTcpServer::builder().workers(2), clients);
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(())
}

fn stop_in_the_middle<D: Dispatch>(name: &str, builder: Builder<Tcp, D>, clients: usize) {
    let builder = builder.tls(server_config()).handshake_timeout(TIMEOUT);
    let server = in_background(builder.bind_fn(ANY, echo));
    let address = server.server_address();
    let mut hello = Vec::new();
    let mut client = tls_client(address);
    client
        .conn
        .write_tls(&mut hello)
        .expect("a vector takes all");
    drop(client);
    thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            let stop = |number: usize| {
                let mut client = connect(address);
                let length = number % (hello.len() + 1);
                client
                    .write_all(&hello[..length])
                    .expect("the server reads");
                (client, Instant::now())
            };
            let stopped: Vec<_> = (0..clients).map(stop).collect();
            let mut latest = Duration::ZERO;
            for (mut client, begin) in stopped {
                let _ = io::copy(&mut client, &mut io::sink());
                latest = latest.max(begin.elapsed());
            }
            latest
        });
        let mut times = Vec::new();
        while !stopped.is_finished() {
            let begin = Instant::now();
            let mut client = tls_client(address);
            assert_eq!(exchange(&mut client, "served"), "served");
            times.push(begin.elapsed());
            close_notify(&mut client).expect("the server reads");
            thread::sleep(Duration::from_millis(20));
        }
        let latest = stopped.join().expect("the client does not panic");
        assert!(
            latest < TIMEOUT + LATE,
            "{name}: the last one ended after {latest:?}"
        );
        times.sort();
        let (p99, slowest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
        println!(
            "{name}: {clients} stopped, the last one after {latest:.2?}; {} others served: p99 {p99:.1?}, \
             slowest {slowest:.1?}; at most {}",
            times.len(),
            mebibytes(peak_resident(process::id())),
        );
    });
    eventually("all are counted", || {
        let tls = server.handle().statistics().tls;
        // One client was closed before its handshake.
        tls.timed_out == clients as u64 && tls.disconnected == 1
    });
}
