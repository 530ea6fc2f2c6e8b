//! A server with few connections and much work for each, to show the overload policies. The benchmark
//! starts it with the name of a policy, and has the limits in words: `LIMITS` in `src/flood.rs`.

use std::env;
use std::error::Error;
use std::thread;
use std::time::Duration;

use socketserver::RejectReason;
use socketserver::prelude::*;

const MAX_CONNECTIONS: usize = 1_000;
const WORK: Duration = Duration::from_millis(250);
const QUEUE_LENGTH: usize = 8_000;
const QUEUE_TIMEOUT: Duration = Duration::from_millis(500);

struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let policy = env::args().nth(1).unwrap_or_default();
    let overload = match &policy[..] {
        "wait" => OverloadPolicy::Wait,
        "queue" => OverloadPolicy::Queue {
            length: QUEUE_LENGTH,
            timeout: QUEUE_TIMEOUT,
        },
        "reject" => OverloadPolicy::Reject,
        _ => return Err(format!("{policy:?} is not a policy").into()),
    };
    let server = ThreadingTcpServer::builder()
        .max_connections(MAX_CONNECTIONS)
        .overload(overload)
        .hooks(Busy)
        .bind_fn("127.0.0.1:0", |request: &mut StreamRequest| {
            let line = request.rfile.readline(100)?;
            thread::sleep(WORK);
            Ok(request.wfile.write_all(&line)?)
        })?;
    println!("listening on {}", server.server_address());
    Ok(server.serve_forever()?)
}
