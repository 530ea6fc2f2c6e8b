//! By hand: a new thread for each connection.

use std::io;
use std::thread;

/// The least that `echo` needs, with a reserve.
const STACK: usize = 64 << 10;

fn main() -> io::Result<()> {
    let listener = peers::listen(peers::ANY_PORT, false)?;
    peers::announce(listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(|| peers::echo(stream))?;
    }
    Ok(())
}
