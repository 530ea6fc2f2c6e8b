//! An example server whose log goes to a file, however long it gets.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::{NamedTempFile, TempDir};

use support::{ANY, eventually, example, socket_path};

/// Killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// What `SOCKET` in its options stands for.
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

    pub fn example(name: &str, options: &str) -> Self {
        let (folder, socket) = socket_path();
        let mut command = example::command(name, &[ANY]);
        for word in options.split_whitespace() {
            match word {
                "SOCKET" => command.arg(&socket),
                word => command.arg(word),
            };
        }
        Server::launch(command, folder, socket)
    }

    /// `echo_server` under limits of the shell's `ulimit`.
    pub fn limited(ulimit: &str, environment: &[(&str, String)]) -> Self {
        let server = example::command("echo_server", &[]);
        let script = format!("ulimit {ulimit}; exec \"$0\" {ANY}");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(server.get_program());
        shell.envs(environment.iter().cloned());
        let (folder, socket) = socket_path();
        Server::launch(shell, folder, socket)
    }

    fn launch(mut command: Command, folder: TempDir, socket: PathBuf) -> Self {
        let output = NamedTempFile::new().expect("the temporary folder is writable");
        let log = NamedTempFile::new().expect("the temporary folder is writable");
        let file = |file: &NamedTempFile| file.reopen().expect("it was just made");
        let child = command
            // Backtraces would be most of the log, and their symbols most of the memory.
            .env("RUST_BACKTRACE", "0")
            .stdout(file(&output))
            .stderr(file(&log))
            .spawn()
            .expect("examples are built by `cargo test` or `cargo build --examples`");
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
                server.address = address.parse().expect("an IP address");
                true
            })
        });
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed.
    pub fn output(&self) -> String {
        text(&self.output)
    }

    pub fn is_running(&mut self) -> bool {
        let status = self.child.try_wait().expect("it is our child");
        status.is_none()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    pub fn log_size(&self) -> u64 {
        fs::metadata(&self.log).expect("it is a file").len()
    }

    pub fn terminate(&self) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid fits"));
        kill(pid, Signal::SIGTERM).expect("the server lives");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("the server ends", || !self.is_running());
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &NamedTempFile) -> String {
    let bytes = fs::read(file).expect("it is a file");
    String::from_utf8_lossy(&bytes).into_owned()
}
