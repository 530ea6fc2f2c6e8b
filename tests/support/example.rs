//! Runs an example as a process of its own.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running example server; killed when dropped.
pub struct Example {
    pub child: Child,
    /// What it said it listens on.
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

/// Runs an example that is expected to end by itself.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    command(name, arguments)
        .output()
        .expect("it was built for this machine")
}

impl Example {
    /// Starts it and waits until it listens. Its log is caught too: see `finish`.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = command(name, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it was built for this machine");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the example prints text");
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .expect(&line)
            .to_owned();
        Example {
            child,
            address,
            stdout,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits"));
        kill(pid, signal).expect("the example lives");
    }

    /// Waits for its end: its status, the rest of its output, and its log.
    pub fn finish(mut self) -> (ExitStatus, String, String) {
        let (mut output, mut log) = (String::new(), String::new());
        self.stdout
            .read_to_string(&mut output)
            .expect("the example prints text");
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr
            .read_to_string(&mut log)
            .expect("the example logs text");
        let status = self.child.wait().expect("it is our child");
        (status, output, log)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
