//! actix-server: as many workers as cores, each with its own tokio runtime of one thread.

use std::io;

use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::fn_service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[actix_rt::main]
async fn main() -> io::Result<()> {
    let listener = peers::listen(peers::ANY_PORT, false)?;
    peers::announce(listener.local_addr()?);
    Server::build()
        .backlog(peers::BACKLOG as u32)
        .listen("echo", listener, || fn_service(echo))?
        .run()
        .await
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; peers::BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}
