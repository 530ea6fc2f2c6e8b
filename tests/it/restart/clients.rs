//! Clients that connect, ask and close, and clients that stay, while processes replace each other.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{LONG, join_soon};

const PAUSE: Duration = Duration::from_millis(3);

pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

pub type Connect = dyn Fn() -> io::Result<Box<dyn Stream>> + Send + Sync;

pub fn tcp(address: &str) -> Arc<Connect> {
    let address = address.to_owned();
    Arc::new(move || {
        let client = TcpStream::connect(&address)?;
        client.set_read_timeout(Some(LONG))?;
        Ok(Box::new(client))
    })
}

pub fn unix(path: &str) -> Arc<Connect> {
    let path = path.to_owned();
    Arc::new(move || {
        let client = UnixStream::connect(&path)?;
        client.set_read_timeout(Some(LONG))?;
        Ok(Box::new(client))
    })
}

/// Clients that trust this authority.
#[cfg(feature = "tls")]
pub fn tls(address: &str, authority: &support::certificates::Authority) -> Arc<Connect> {
    use support::tls::{client_config, shake_hands, tls_client_with};
    let address = address.parse::<std::net::SocketAddr>();
    let address = address.expect("an IP address").into();
    let config = client_config(&authority.pem());
    Arc::new(move || {
        let mut client = tls_client_with(&address, config.clone(), "localhost");
        shake_hands(&mut client)?;
        Ok(Box::new(client))
    })
}

/// Running clients of an echo server.
pub struct Clients {
    done: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Clients {
    /// So many that connect, ask and close, and so many that stay.
    pub fn start(connect: &Arc<Connect>, [short, staying]: [usize; 2]) -> Self {
        let mut clients = Clients {
            done: Arc::default(),
            answers: Arc::default(),
            threads: Vec::new(),
        };
        (0..short).for_each(|_| clients.spawn(connect, ask_and_close));
        (0..staying).for_each(|_| clients.spawn(connect, stay));
        clients
    }

    fn spawn(
        &mut self,
        connect: &Arc<Connect>,
        run: fn(&Connect, &dyn Fn() -> bool) -> io::Result<()>,
    ) {
        let (connect, done, answers) = (
            Arc::clone(connect),
            Arc::clone(&self.done),
            Arc::clone(&self.answers),
        );
        let goes_on = move || {
            answers.fetch_add(1, Ordering::Relaxed);
            !done.load(Ordering::Relaxed)
        };
        self.threads
            .push(thread::spawn(move || run(&*connect, &goes_on)));
    }

    /// How many messages were answered.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends them.
    ///
    /// # Errors
    ///
    /// A client was refused or reset, or got no answer or a wrong one.
    pub fn finish(self) -> io::Result<usize> {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads {
            join_soon(thread)?;
        }
        Ok(self.answers.load(Ordering::Relaxed))
    }
}

fn ask(client: &mut dyn Stream, message: &[u8]) -> io::Result<usize> {
    client.write_all(message)?;
    let mut answer = vec![0; message.len()];
    let mut filled = 0;
    while filled < answer.len() {
        match client.read(&mut answer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    match filled {
        0 => Ok(0),
        _ if answer == message => Ok(filled),
        _ => Err(io::Error::other(format!(
            "a wrong answer: {:?}",
            &answer[..filled]
        ))),
    }
}

fn ask_and_close(connect: &Connect, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
    while goes_on() {
        if ask(&mut *connect()?, b"connect, ask and close\n")? == 0 {
            return Err(io::Error::other("a new client got no answer"));
        }
        // The system keeps only so many closed connections in TIME_WAIT.
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Its connection may end in order between two messages: then it connects again.
fn stay(connect: &Connect, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
    'connections: loop {
        let mut client = connect()?;
        for number in 0.. {
            if ask(&mut *client, format!("message {number}\n").as_bytes())? == 0 {
                if number == 0 {
                    return Err(io::Error::other("a new client that stays got no answer"));
                }
                continue 'connections;
            }
            if !goes_on() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }
}
