//! Runs programs of this workspace, and server programs of others, as processes of their own.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{LONG, process};

/// A running server program; killed when dropped.
pub struct Example {
    pub child: Child,
    /// The address that it listens on, as it printed it.
    pub address: String,
    /// The rest of its standard output.
    pub stdout: BufReader<ChildStdout>,
}

/// The command that runs a program of the workspace: an example of the library, or a package.
pub fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path(name));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Where cargo has put the program: packages in `target/PROFILE`, examples in a folder there.
fn path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let mut paths = [profile.join(name), profile.join("examples").join(name)].into_iter();
    paths.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built: cargo build --workspace --all-features --bins --examples")
    })
}

/// Runs a program of the workspace that is expected to end by itself.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let output = command(name, arguments).output();
    output.expect("it was built for this machine")
}

impl Example {
    /// Starts a server program of the workspace, and waits until it listens.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Example::launch(command(name, arguments))
    }

    /// Starts any program that prints `listening on ADDRESS`, and waits until it does.
    pub fn launch(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it prints text");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{line}{}", rest(&mut child)));
        Example {
            child,
            address: address.to_owned(),
            stdout,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits"));
        kill(pid, signal).expect("the program runs");
    }

    pub fn is_running(&mut self) -> bool {
        let status = self.child.try_wait().expect("it is our child");
        status.is_none()
    }

    /// Whether all its threads sleep: it waits for something.
    pub fn is_asleep(&self) -> bool {
        process::is_asleep(self.pid())
    }

    /// Waits for its end, and fails if that takes long: its status, the rest of its output, and its
    /// log.
    pub fn finish(mut self) -> (ExitStatus, String, String) {
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let (stdout, child) = (&mut self.stdout, &mut self.child);
        thread::scope(|scope| {
            let output = scope.spawn(|| crate::read_all(stdout));
            let log = scope.spawn(|| crate::read_all(&mut stderr));
            let status = wait(child);
            let [output, log] = [output, log].map(|text| text.join().expect("it prints text"));
            (status, output, log)
        })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a child that does not end.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the program does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a program that did not start says of that.
fn rest(child: &mut Child) -> String {
    let _ = child.kill();
    let mut log = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut log);
    }
    log
}
