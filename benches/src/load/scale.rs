use std::time::Duration;

use anyhow::Result;

use super::{connect, idle, ping_pong};
use crate::figure::{Figure, Sample};
use crate::server::Server;

/// The clients that send messages.
const SENDING: usize = 64;
/// The clients that connect.
const CONNECTING: usize = 16;

pub fn measure(server: &Server, clients: usize, duration: Duration) -> Result<Sample> {
    let (mut sample, mut streams) = idle::open(server, clients)?;
    let messages = ping_pong::measure(server, SENDING, duration)?;
    let connections = connect::measure(server, CONNECTING, duration)?;
    // An error if the server has closed one of them.
    idle::echo(&mut streams)?;
    let failed = messages[&Figure::Failed] + connections[&Figure::Failed];
    sample.extend(messages);
    sample.extend([
        (Figure::Connections, connections[&Figure::Connections]),
        (
            Figure::ConnectionsPerCpuSecond,
            connections[&Figure::PerCpuSecond],
        ),
        (Figure::Failed, failed),
    ]);
    Ok(sample)
}
