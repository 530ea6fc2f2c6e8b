//! The statistics as metrics, read through a recorder.
#![cfg(feature = "metrics")]

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Duration;

use socketserver::prelude::*;

use super::recorder;

use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::{ANY, LONG, connect, eventually, exchange, metrics_table, read_all};

const OFTEN: Duration = Duration::from_millis(5);

/// Hooks that refuse the fourth request.
struct RefuseFourth;

impl Hooks for RefuseFourth {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(request.id() != 4)
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {}
}

/// A handler that sends a line, and ends in the way that its client names.
fn respond(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"hello\n")?;
    match request.next_line()?.as_deref() {
        Some("fail") => Err("requested by the test".into()),
        Some("panic") => panic!("requested by the test"),
        _ => Ok(()),
    }
}

/// The value of a metric of this server. `labels` does not include the label `server`.
fn metric(server: &ServerHandle, name: &str, labels: &str) -> Option<f64> {
    let separator = if labels.is_empty() { "" } else { "," };
    let name_of_server = server.name();
    recorder::value(&format!(
        "socketserver_{name}{{server={name_of_server}{separator}{labels}}}"
    ))
}

fn wait_for(server: &ServerHandle, name: &str, labels: &str, value: f64) {
    eventually(name, || metric(server, name, labels) == Some(value));
}

#[test]
fn all_metrics_are_published() -> io::Result<()> {
    recorder::install();
    // The thread of a request that has ended may not be idle yet when the next client comes.
    let builder = ThreadingTcpServer::builder().max_threads(1);
    let builder = builder.hooks(RefuseFourth);
    let server = builder.bind_fn(ANY, respond)?.serve_in_background()?;
    let publisher = server.handle().publish_metrics(LONG)?;
    for (number, line) in (1..).zip(["\n", "fail\n", "panic\n", ""]) {
        let mut client = connect(server.server_address());
        client.write_all(line.as_bytes())?;
        let _ = client.read_to_end(&mut Vec::new());
        settled(&server.handle(), number);
    }
    eventually("no socket lingers", || {
        server.handle().statistics().lingering == 0
    });
    // The metrics are published once more at the end, whatever the interval is.
    drop(publisher);
    let expected = [
        ("accepted_total", "", 4.0),
        ("rejected_total", "cause=refused", 1.0),
        ("rejected_total", "cause=overload", 0.0),
        ("rejected_total", "cause=queue_timeout", 0.0),
        ("rejected_total", "cause=per_ip", 0.0),
        ("rejected_total", "cause=shutdown", 0.0),
        ("rejected_total", "cause=dispatch", 0.0),
        ("ended_total", "outcome=finished", 1.0),
        ("ended_total", "outcome=failed", 1.0),
        ("ended_total", "outcome=panicked", 1.0),
        ("ended_total", "outcome=timed_out", 0.0),
        ("ended_total", "outcome=disconnected", 0.0),
        ("received_bytes_total", "", 12.0),
        ("sent_bytes_total", "", 18.0),
        ("active", "", 0.0),
        ("queued", "", 0.0),
        ("lingering", "", 0.0),
        ("threads", "", 1.0),
        ("blocked_workers_total", "", 0.0),
        ("peak_active", "", 1.0),
        ("peak_queued", "", 0.0),
        ("peak_threads", "", 1.0),
    ];
    for (name, labels, value) in expected {
        assert_eq!(
            metric(&server.handle(), name, labels),
            Some(value),
            "{name} {labels}"
        );
    }
    // No other metric is published, and each name has a description.
    let address = server.server_address().to_string();
    let published = recorder::names_with(&address);
    assert_eq!(published.len(), expected.len());
    assert!(published.iter().all(|name| recorder::is_described(name)));
    Ok(())
}

#[test]
fn the_table_lists_every_metric() -> io::Result<()> {
    recorder::install();
    let server = TcpServer::bind_fn(ANY, respond)?;
    drop(server.handle().publish_metrics(LONG)?);
    let described = recorder::described();
    let mut listed: Vec<_> = metrics_table::rows();
    listed.retain(|metric| cfg!(feature = "tls") || !metric.is_of_tls());
    for metric in &listed {
        let kind = described.get(metric.name);
        assert_eq!(kind, Some(&metric.kind), "{}", metric.name);
    }
    assert_eq!(listed.len(), described.len());
    Ok(())
}

#[test]
fn metrics_are_published_in_each_interval() -> io::Result<()> {
    recorder::install();
    let server = ConcurrentTcpServer::bind_fn(ANY, respond)?.serve_in_background()?;
    let publisher = server.handle().publish_metrics(OFTEN)?;
    wait_for(&server.handle(), "accepted_total", "", 0.0);
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, ""), "hello\n");
    wait_for(&server.handle(), "active", "", 1.0);
    client.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(client), "");
    wait_for(&server.handle(), "active", "", 0.0);
    wait_for(&server.handle(), "ended_total", "outcome=finished", 1.0);
    drop(publisher);
    Ok(())
}

#[test]
fn the_final_values_are_published_at_the_end() -> io::Result<()> {
    recorder::install();
    let server = ThreadingTcpServer::bind_fn(ANY, respond)?.serve_in_background()?;
    let handle = server.handle();
    let publisher = handle.publish_metrics(OFTEN)?;
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, ""), "hello\n");
    wait_for(&handle, "threads", "", 1.0);
    drop(client);
    server.stop()?;
    wait_for(&handle, "threads", "", 0.0);
    wait_for(&handle, "active", "", 0.0);
    // The server is closed and the thread has ended, so no wait is needed.
    drop(publisher);
    assert_eq!(metric(&handle, "accepted_total", ""), Some(1.0));
    Ok(())
}

#[test]
fn an_interval_of_zero_is_refused() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, respond)?;
    let refused = server.handle().publish_metrics(Duration::ZERO);
    let error = refused.expect_err("an interval of zero is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    Ok(())
}

#[cfg(feature = "tls")]
#[test]
fn handshakes_are_published() -> io::Result<()> {
    use support::tls::{exchange, server_config, tls_client};
    recorder::install();
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = builder.bind_fn(ANY, respond)?.serve_in_background()?;
    let _publisher = server.handle().publish_metrics(OFTEN)?;
    assert_eq!(
        exchange(&mut tls_client(server.server_address()), ""),
        "hello"
    );
    let mut client = connect(server.server_address());
    client.write_all(b"plain text")?;
    let _ = client.read_to_end(&mut Vec::new());
    let handle = server.handle();
    wait_for(&handle, "tls_handshakes_total", "result=done", 1.0);
    wait_for(&handle, "tls_handshakes_total", "result=plain_text", 1.0);
    eventually("encrypted bytes are counted", || {
        let sent = metric(&handle, "tls_sent_bytes_total", "");
        sent.is_some_and(|bytes| bytes > 100.0)
    });
    Ok(())
}
