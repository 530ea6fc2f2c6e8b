//! An example server whose log is written to a file.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::{NamedTempFile, TempDir};

use support::{ANY, eventually, example, socket_path};

/// The options for connections on threads, and on green tasks.
pub const KINDS: &[&str] = if cfg!(feature = "green") {
    &[THREADS, GREEN]
} else {
    &[THREADS]
};
pub const THREADS: &str = "--server threading-tcp";
pub const GREEN: &str = "--server green-tcp --workers 2";

/// The threads of a kind that do not end once they were started. Each has two descriptors.
pub fn workers(kind: &str) -> usize {
    if kind == THREADS { 0 } else { 2 }
}

/// A server process. It is killed when the value is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// The path that replaces `SOCKET` in the options.
    pub socket: PathBuf,
    _folder: TempDir,
    output: NamedTempFile,
    log: NamedTempFile,
}

impl Server {
    /// `echo_server` with these options.
    pub fn echo(options: &str) -> Self {
        Server::example("echo_server", options)
    }

    /// A server program with these options. `TLS` stands for a certificate and its key.
    pub fn example(name: &str, options: &str) -> Self {
        let (folder, socket) = socket_path();
        let mut command = example::command(name, &[ANY]);
        for word in options.split_whitespace() {
            match word {
                "SOCKET" => command.arg(&socket),
                #[cfg(feature = "tls")]
                "TLS" => {
                    let (certificate, key) = support::tls::AUTHORITY.certify("DNS:localhost");
                    command.arg("--tls-cert").arg(certificate);
                    command.arg("--tls-key").arg(key)
                }
                word => command.arg(word),
            };
        }
        Server::launch(command, folder, socket)
    }

    /// `echo_server` with these options, and limits that the shell's `ulimit` sets.
    pub fn limited(ulimit: &str, options: &str, environment: &[(&str, String)]) -> Self {
        let server = example::command("echo_server", &[]);
        let script = format!("ulimit {ulimit}; exec \"$0\" {ANY} {options}");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(server.get_program());
        shell.envs(environment.iter().cloned());
        let (folder, socket) = socket_path();
        Server::launch(shell, folder, socket)
    }

    fn launch(mut command: Command, folder: TempDir, socket: PathBuf) -> Self {
        let output = NamedTempFile::new().expect("the temporary folder is writable");
        let log = NamedTempFile::new().expect("the temporary folder is writable");
        let file = |file: &NamedTempFile| file.reopen().expect("the file exists");
        let child = command
            // Backtraces would fill the log, and their symbols the memory.
            .env("RUST_BACKTRACE", "0")
            .stdout(file(&output))
            .stderr(file(&log))
            .spawn()
            .expect(
                "the example is built: cargo build --workspace --all-features --bins --examples",
            );
        let mut server = Server {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            socket,
            _folder: folder,
            output,
            log,
        };
        eventually("the server listens", || {
            assert!(server.is_running(), "{}", server.log());
            let printed = server.output();
            let address = printed
                .strip_prefix("listening on ")
                .and_then(|rest| rest.split_once('\n'));
            address.is_some_and(|(address, _)| {
                server.address = address.parse().expect("the server has an IP address");
                true
            })
        });
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The standard output of the server.
    pub fn output(&self) -> String {
        text(&self.output)
    }

    pub fn is_running(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child process");
        status.is_none()
    }

    /// The log of the server.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    pub fn log_size(&self) -> u64 {
        fs::metadata(&self.log).expect("the file can be read").len()
    }

    pub fn terminate(&self) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid fits into an i32"));
        kill(pid, Signal::SIGTERM).expect("the server runs");
    }

    /// Waits until the server ends.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("the server ends", || !self.is_running());
        self.child.wait().expect("a child process")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &NamedTempFile) -> String {
    let bytes = fs::read(file).expect("the file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
