use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::ServerHandle;
use crate::log_line::log_line;
use crate::sys::timer::{OnTimer, Timer};

/// How long the connections of a process that is replaced may stay for their last messages. The first is the minimum:
/// a client may just have been accepted.
const LAST_MESSAGES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Ends the servers of this process, because another one serves.
struct Ending {
    servers: Vec<ServerHandle>,
    /// Connections may stay until then.
    last_messages: Instant,
    /// Requests in a pending queue are served until then.
    give_up_at: Instant,
}

/// Kept until the process ends.
static ENDING: OnceLock<(Arc<Ending>, Timer)> = OnceLock::new();

pub(super) fn begin(id: u32) {
    log_line!(target: "socketserver::server", Info, "restart: process {id} serves; this one ends");
    let servers = super::listening::servers();
    for server in &servers {
        server.pause();
        server.retire_connections();
    }
    let now = Instant::now();
    let ending = Arc::new(Ending {
        servers,
        last_messages: now + LAST_MESSAGES[1],
        give_up_at: now + super::replacement::TIME_TO_SERVE,
    });
    let target: Weak<Ending> = Arc::downgrade(&ending);
    match Timer::set(now + LAST_MESSAGES[0], target) {
        // A process is replaced once.
        Ok(timer) => drop(ENDING.set((ending, timer))),
        Err(_) => ending.shut_down(),
    }
}

impl Ending {
    fn shut_down(&self) {
        self.servers.iter().for_each(ServerHandle::shutdown_now);
    }
}

impl OnTimer for Ending {
    fn on_timer(&self, now: Instant) -> Option<Instant> {
        let statistics = self.servers.iter().map(ServerHandle::statistics);
        let (active, queued) = statistics.fold((0, 0), |(active, queued), now| {
            (active + now.active, queued + now.queued)
        });
        let waits_for_queue = queued > 0 && now < self.give_up_at;
        if waits_for_queue || (active > 0 && now < self.last_messages) {
            return Some(now + Duration::from_millis(20));
        }
        self.shut_down();
        None
    }
}
