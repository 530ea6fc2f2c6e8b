//! monoio: as many threads as cores, each with its own io_uring and its own listening socket on the
//! same port.

use std::io;
use std::net;
use std::thread;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

/// The size of each thread's submission queue: more than the connections of a measurement.
const ENTRIES: u32 = 4096;

fn main() -> io::Result<()> {
    let mut listeners = vec![peers::listen(peers::ANY_PORT, true)?];
    let address = listeners[0].local_addr()?;
    for _ in 1..thread::available_parallelism()?.get() {
        listeners.push(peers::listen(address, true)?);
    }
    let threads = listeners.into_iter().map(|it| thread::spawn(|| serve(it)));
    let threads: Vec<_> = threads.collect();
    peers::announce(address);
    for thread in threads {
        thread.join().expect("a thread does not panic")?;
    }
    Ok(())
}

fn serve(listener: net::TcpListener) -> io::Result<()> {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(ENTRIES)
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(peers::BUFFER);
    loop {
        let (read, received) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(received).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}
