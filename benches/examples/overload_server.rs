//! A server with few connections and much work for each, to show the overload policies. The benchmark
//! starts it:
//!
//! ```text
//! overload_server POLICY MAX_CONNECTIONS WORK_MS QUEUE_LENGTH QUEUE_TIMEOUT_MS
//! ```

use std::env;
use std::error::Error;
use std::thread;
use std::time::Duration;

use socketserver::RejectReason;
use socketserver::prelude::*;

struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [policy, max_connections, work, length, timeout] = &arguments[..] else {
        return Err("it needs five arguments".into());
    };
    let overload = match &policy[..] {
        "wait" => OverloadPolicy::Wait,
        "queue" => OverloadPolicy::Queue {
            length: length.parse()?,
            timeout: Duration::from_millis(timeout.parse()?),
        },
        "reject" => OverloadPolicy::Reject,
        _ => return Err(format!("{policy:?} is not a policy").into()),
    };
    let work = Duration::from_millis(work.parse()?);
    let server = ThreadingTcpServer::builder()
        .max_connections(max_connections.parse::<usize>()?)
        .overload(overload)
        .hooks(Busy)
        .bind_fn("127.0.0.1:0", move |request: &mut StreamRequest| {
            let line = request.rfile.readline(100)?;
            thread::sleep(work);
            Ok(request.wfile.write_all(&line)?)
        })?;
    println!("listening on {}", server.server_address());
    Ok(server.serve_forever()?)
}
