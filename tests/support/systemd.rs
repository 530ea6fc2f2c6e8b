//! What systemd gives to a service: sockets, and a socket for its messages.

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, recv, socket};
use tempfile::TempDir;

use crate::example::with_default_signals;
use crate::program::installed;
use crate::{ANY, LONG, eventually, socket_path};

/// The socket `NOTIFY_SOCKET` of a test.
pub struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    pub name: PathBuf,
    _folder: Option<TempDir>,
}

impl Manager {
    /// At a path in a temporary folder.
    pub fn new() -> Self {
        let (folder, path) = socket_path();
        let mut manager = Manager::at(&path);
        manager._folder = Some(folder);
        manager
    }

    pub fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("the folder is writable");
        Manager::with(socket, path.to_owned())
    }

    /// In a process that reports to itself: at the path in `NOTIFY_SOCKET`.
    pub fn at_environment() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET").expect("the test has set it");
        Manager::at(Path::new(&path))
    }

    /// With an abstract name.
    pub fn with_abstract_name(name: &str) -> Self {
        let (family, kind) = (AddressFamily::Unix, SockType::Datagram);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None);
        let socket = UnixDatagram::from(socket.expect("a descriptor is free"));
        let address = UnixAddr::new_abstract(name.as_bytes()).expect("the name is short");
        bind(socket.as_raw_fd(), &address).expect("the name is free");
        Manager::with(socket, format!("@{name}").into())
    }

    fn with(socket: UnixDatagram, name: PathBuf) -> Self {
        let set = socket.set_read_timeout(Some(LONG));
        set.expect("the timeout is set");
        Manager {
            socket,
            name,
            _folder: None,
        }
    }

    /// The next message.
    pub fn next(&self) -> String {
        self.next_within(LONG).expect("a message is sent")
    }

    /// Waits until a message contains this line. Returns it.
    pub fn wait_for(&self, line: &str) -> String {
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            let message = self.next();
            if message.lines().any(|other| other == line) {
                return message;
            }
        }
        panic!("no message has the line {line}");
    }

    pub fn next_within(&self, timeout: Duration) -> io::Result<String> {
        let set = self.socket.set_read_timeout(Some(timeout));
        set.expect("the timeout is set");
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All messages that have arrived.
    pub fn arrived(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let descriptor = self.socket.as_raw_fd();
        let messages = std::iter::from_fn(|| {
            let length = recv(descriptor, &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        });
        messages.collect()
    }

    /// Waits until nothing has arrived for this long.
    pub fn wait_for_silence(&self, time: Duration) {
        eventually("no message arrives", || self.next_within(time).is_err());
    }
}

impl Default for Manager {
    fn default() -> Self {
        Manager::new()
    }
}

/// A loopback address that was free a moment ago: `systemd-socket-activate` takes no port 0.
pub fn free_address() -> String {
    let socket = TcpListener::bind(ANY).expect("a port is free");
    let address = socket.local_addr().expect("the socket is bound");
    address.to_string()
}

/// Starts `systemd-socket-activate`, which listens on `addresses` and starts the program when the first client comes.
/// Waits until it listens, and returns the addresses. If one is in use, it tries others.
pub fn activate(
    options: &[&str],
    addresses: impl Fn() -> Vec<String>,
    program: &Command,
) -> (Child, Vec<String>) {
    for _ in 0..20 {
        let addresses = addresses();
        let mut child = command(options, &addresses, program)
            .spawn()
            .expect("the program can be started");
        if listens(&mut child, addresses.len()) {
            return (child, addresses);
        }
        let _ = child.wait();
    }
    panic!("no address is free");
}

fn command(options: &[&str], addresses: &[String], program: &Command) -> Command {
    let mut command = installed("systemd-socket-activate", "--version");
    command.args(options);
    for address in addresses {
        command.args(["-l", address]);
    }
    for (name, value) in program.get_envs() {
        let value = value.expect("the variable is set").to_string_lossy();
        command.arg(format!("--setenv={}={value}", name.to_string_lossy()));
    }
    command
        .arg("--")
        .arg(program.get_program())
        .args(program.get_args());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    with_default_signals(&mut command);
    command
}

/// Whether it has printed a line for each socket. What follows on standard error is not read.
fn listens(child: &mut Child, sockets: usize) -> bool {
    let stderr = child.stderr.as_mut().expect("the stream is piped");
    let mut output = String::new();
    while output.matches(".\n").count() < sockets {
        let mut byte = [0];
        if stderr.read(&mut byte).expect("the stream can be read") == 0 {
            return false;
        }
        output.push(byte[0].into());
    }
    true
}

/// The interval of the watchdog in tests. systemd would end a process that is silent for so long.
pub const WATCHDOG: Duration = Duration::from_millis(800);

/// The variable for [`WATCHDOG`].
pub const WATCHDOG_USEC: (&str, &str) = ("WATCHDOG_USEC", "800000");
