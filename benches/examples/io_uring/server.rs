//! The server's process: an acceptor thread that deals out connections to worker threads in turn.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use std::{env, thread};

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{ClockId, clock_gettime};

use crate::{DRIVERS, Result, Work};

/// A server in a child process. The child ends at the end of its input too, so that it does not
/// outlive this process.
pub struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(driver: &str, workers: usize) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--serve", driver, &workers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// The address. To be called once, at first.
    pub fn address(&mut self) -> Result<SocketAddr> {
        Ok(self.read_line()?.parse()?)
    }

    /// The processor time of all threads so far.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        self.input.write_all(b"\n")?;
        Ok(Duration::from_nanos(self.read_line()?.parse()?))
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the server has ended".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs in the child process: writes the address, and the processor time for each line of input.
pub fn serve(driver: &str, workers: &str) -> Result<()> {
    let driver = DRIVERS.iter().find(|(name, _)| *name == driver);
    let (_, work) = *driver.ok_or("no such driver")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let workers = (0..workers.parse()?).map(|_| Worker::start(work));
    let workers = workers.collect::<Result<Vec<_>>>()?;
    start_thread(move || accept(&listener, &workers));
    for line in io::stdin().lines() {
        line?;
        let time = clock_gettime(ClockId::ProcessCPUTime);
        println!("{}", Duration::try_from(time)?.as_nanos());
    }
    Ok(())
}

/// A worker's new connections. Nobody reads the eventfd: each write to it is an event.
pub struct Inbox {
    pub streams: Receiver<TcpStream>,
    pub notified: OwnedFd,
}

struct Worker {
    streams: Sender<TcpStream>,
    notify: OwnedFd,
}

impl Worker {
    fn start(work: Work) -> Result<Self> {
        let (sender, streams) = mpsc::channel();
        let notify = eventfd(0, EventfdFlags::CLOEXEC)?;
        let notified = notify.try_clone()?;
        start_thread(move || work(Inbox { streams, notified }));
        Ok(Self {
            streams: sender,
            notify,
        })
    }
}

fn accept(listener: &TcpListener, workers: &[Worker]) -> Result<()> {
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        worker.streams.send(stream)?;
        rustix::io::write(&worker.notify, &1_u64.to_ne_bytes())?;
    }
    Ok(())
}

/// An error ends the process and so the client's connections.
fn start_thread(run: impl FnOnce() -> Result<()> + Send + 'static) {
    thread::spawn(|| {
        if let Err(error) = run() {
            eprintln!("server: {error}");
        }
        process::exit(1);
    });
}
