//! Health checks: what a load balancer asks to see where to send clients.
//!
//! A health check is a small server beside the main one, usually in the same [`ServerGroup`](crate::ServerGroup).
//! It answers "up" while the main server is [ready](crate::ServerHandle::is_ready), and "down" from a shutdown on.
//! With a [`drain_delay`](crate::Builder::drain_delay) there is time for the load balancer to see that. Bind it
//! where only the load balancer can reach it. A check lasts at most 5 s: a client that connects and sends nothing
//! holds up a [`TcpServer`](crate::TcpServer) for so long, but no [`ThreadingTcpServer`](crate::ThreadingTcpServer).
//!
//! | | load balancer | answer |
//! |---|---|---|
//! | [`agent`] | HAProxy's `agent-check` | `up` or `down` |
//! | [`http`] | HAProxy's `option httpchk`, Kubernetes, and others | 200 or 503 |
//!
//! ```
//! use std::io::Read;
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use socketserver::health;
//! use socketserver::prelude::*;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut group = ServerGroup::new();
//! let main = group.add(
//!     ThreadingTcpServer::builder()
//!         .drain_delay(Duration::from_secs(4))
//!         .bind_fn("127.0.0.1:0", |request| Ok(request.wfile.write_all(b"hello\n")?))?,
//! );
//! let check = health::agent(move || main.is_ready());
//! let agent = group.add(ThreadingTcpServer::bind_fn("127.0.0.1:0", check)?);
//!
//! let handle = group.handle();
//! let serving = std::thread::spawn(move || group.serve_forever());
//! let ask = || -> std::io::Result<String> {
//!     let mut answer = String::new();
//!     TcpStream::connect(agent.server_address())?.read_to_string(&mut answer)?;
//!     Ok(answer)
//! };
//! assert_eq!(ask()?, "up\n");
//! handle.shutdown();
//! assert_eq!(ask()?, "down\n");
//! # handle.shutdown_within(Duration::from_secs(5));
//! # serving.join().expect("it does not panic")
//! # }
//! ```

use std::io::{self, Write};
use std::time::Duration;

use crate::error::HandlerResult;
use crate::request::StreamRequest;

/// How long a check may take.
const LONGEST: Duration = Duration::from_secs(5);
/// How many bytes a line of a request may have, and how many lines.
const MAX_LINE: usize = 8 * 1024;
const MAX_LINES: usize = 100;

/// A handler for HAProxy's `agent-check`: it answers `up` or `down`, and a line end, to whoever connects, and closes
/// the connection. `is_ready` is called for each check, often as `move || handle.is_ready()`; it may block.
///
/// HAProxy sends no new requests to a server that is `down`, also not those of a session that sticks to it, and lets
/// running ones finish. The server stays down until its agent says `up`, which the agent of the new program does; it
/// has an effect only while HAProxy can also connect to the server itself (`check`). With `drain`, HAProxy's other
/// word for this, sticky sessions would still come, and `up` would not undo it.
///
/// The line in HAProxy's configuration, with an interval of at most half the
/// [`drain_delay`](crate::Builder::drain_delay):
///
/// ```text
/// server web1 192.0.2.1:8000 check agent-check agent-port 8001 agent-inter 1s
/// ```
///
/// The [module](self) has an example.
#[doc(alias("HAProxy", "agent-check", "load balancer"))]
pub fn agent(
    is_ready: impl Fn() -> bool + Send + Sync + 'static,
) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static {
    move |request| {
        request.set_max_lifetime(LONGEST)?;
        Ok(request.wfile.write_all(word(is_ready()))?)
    }
}

/// A handler for health checks over HTTP: it answers a request, of any method and path, with 200 or 503, and closes the
/// connection. `is_ready` is called for each check, often as `move || handle.is_ready()`; it may block.
///
/// A request's head may have at most 100 lines of 8 KiB, or it is answered with 400.
///
/// ```
/// use std::net::TcpStream;
///
/// use socketserver::health;
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let main = ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// let handle = main.handle();
/// let check = health::http(move || handle.is_ready());
/// let health = TcpServer::bind_fn("127.0.0.1:0", check)?.serve_in_background()?;
///
/// main.handle().set_ready(false);
/// let mut client = TcpStream::connect(health.server_address())?;
/// client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 503 "));
/// # Ok(())
/// # }
/// ```
#[doc(alias("readinessProbe", "httpchk", "load balancer"))]
pub fn http(
    is_ready: impl Fn() -> bool + Send + Sync + 'static,
) -> impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static {
    move |request| {
        request.set_max_lifetime(LONGEST)?;
        match read_head(request)? {
            Head::Empty => Ok(()),
            Head::Bad => Ok(answer(request, "400 Bad Request", b"bad request\n", true)?),
            Head::Request { wants_body } => {
                let ready = is_ready();
                let status = match ready {
                    true => "200 OK",
                    false => "503 Service Unavailable",
                };
                Ok(answer(request, status, word(ready), wants_body)?)
            }
        }
    }
}

fn word(ready: bool) -> &'static [u8] {
    match ready {
        true => b"up\n",
        false => b"down\n",
    }
}

enum Head {
    /// The client only looks whether it can connect.
    Empty,
    Bad,
    Request {
        wants_body: bool,
    },
}

fn read_head(request: &mut StreamRequest) -> io::Result<Head> {
    let first = request.rfile.readline(MAX_LINE)?;
    if first.is_empty() {
        return Ok(Head::Empty);
    }
    let mut words = first.trim_ascii_end().split(|byte| *byte == b' ');
    let (method, version) = (words.next(), words.next_back());
    if !version.is_some_and(|version| version.starts_with(b"HTTP/1.")) {
        return Ok(Head::Bad);
    }
    let wants_body = method != Some(b"HEAD");
    for _ in 1..MAX_LINES {
        let line = request.rfile.readline(MAX_LINE)?;
        if !line.ends_with(b"\n") {
            break;
        }
        if line.trim_ascii().is_empty() {
            return Ok(Head::Request { wants_body });
        }
    }
    Ok(Head::Bad)
}

fn answer(
    request: &mut StreamRequest,
    status: &str,
    body: &[u8],
    with_body: bool,
) -> io::Result<()> {
    let length = body.len();
    write!(
        request.wfile,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    request.wfile.write_all(if with_body { body } else { b"" })
}
