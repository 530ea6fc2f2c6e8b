//! By hand: the main thread accepts, and 64 threads serve a connection each. Further ones wait.

use std::io;
use std::thread;

use crossbeam_channel::bounded;

const THREADS: usize = 64;

fn main() -> io::Result<()> {
    let listener = peers::listen(peers::ANY_PORT, false)?;
    peers::announce(listener.local_addr()?);
    let (sender, receiver) = bounded(1024);
    for _ in 0..THREADS {
        let receiver = receiver.clone();
        thread::spawn(move || {
            for stream in receiver {
                // A client that disconnects is no error of the server.
                let _ = peers::echo(stream);
            }
        });
    }
    for stream in listener.incoming() {
        sender.send(stream?).map_err(io::Error::other)?;
    }
    Ok(())
}
