//! actix-server: as many workers as cores, each with its own tokio runtime of one thread.

use std::io;

use actix_server::Server;
use actix_service::fn_service;

#[actix_rt::main]
async fn main() -> io::Result<()> {
    let listener = peers::listen(peers::ANY_PORT, false)?;
    peers::announce(listener.local_addr()?);
    Server::build()
        .backlog(peers::BACKLOG as u32)
        .listen("echo", listener, || fn_service(peers::echo_as_task))?
        .run()
        .await
}
