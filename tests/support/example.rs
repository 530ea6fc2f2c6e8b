//! Runs programs of this workspace, and other server programs, as child processes.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;

use crate::{LONG, process};

/// A running server program. It is killed when the value is dropped.
pub struct Example {
    pub child: Child,
    /// The address that the program listens on, as it printed it.
    pub address: String,
    /// The rest of the program's standard output.
    pub stdout: BufReader<ChildStdout>,
}

/// The kinds of TCP servers of `echo_server`.
pub const TCP_KINDS: &[&str] = &[
    "tcp",
    "threading-tcp",
    #[cfg(feature = "green")]
    "green-tcp",
    #[cfg(feature = "fork")]
    "forking-tcp",
];

/// The command that runs a program of the workspace: an example of the library, or a package.
pub fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path(name));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The path of the program: cargo puts packages into `target/PROFILE`, and examples into
/// `target/PROFILE/examples`.
pub fn path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("the path is target/PROFILE/deps/TEST");
    let mut paths = [profile.join(name), profile.join("examples").join(name)].into_iter();
    paths.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built: cargo build --workspace --all-features --bins --examples")
    })
}

/// Runs a program of the workspace until it ends.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let output = command(name, arguments).output();
    output.expect("the program can be started")
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
        with_default_signals(&mut command);
        let child = command.spawn();
        Example::of(child.expect("the program can be started"))
    }

    /// A program that was started with pipes for its output. Waits until it prints `listening on ADDRESS`.
    pub fn of(mut child: Child) -> Self {
        let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output is text");
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
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits into an i32"));
        kill(pid, signal).expect("the program runs");
    }

    pub fn is_running(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child process");
        status.is_none()
    }

    /// Whether all threads of the program sleep.
    pub fn is_asleep(&self) -> bool {
        process::is_asleep(self.pid())
    }

    /// Waits until the program ends, and fails if that takes long. Returns its status, the rest of
    /// its output, and its log.
    pub fn finish(mut self) -> (ExitStatus, String, String) {
        let mut stderr = self.child.stderr.take().expect("the stream is piped");
        let (stdout, child) = (&mut self.stdout, &mut self.child);
        thread::scope(|scope| {
            let output = scope.spawn(|| crate::read_all(stdout));
            let log = scope.spawn(|| crate::read_all(&mut stderr));
            let status = wait(child);
            let [output, log] = [output, log].map(|text| text.join().expect("the output is text"));
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

/// The program ignores no signal, although the tests may: in the background of a shell, or under `nohup`.
#[allow(unsafe_code)]
pub fn with_default_signals(command: &mut Command) {
    let set_default = || {
        for signal in [Signal::SIGINT, Signal::SIGHUP] {
            // SAFETY: no handler is installed.
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl)? };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only, which is allowed after a fork.
    unsafe { command.pre_exec(set_default) };
}

/// Waits for the child's end, and kills a child that does not end.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(status) = child.try_wait().expect("a child process") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the program does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The error output of a program that did not start.
fn rest(child: &mut Child) -> String {
    let _ = child.kill();
    let mut log = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut log);
    }
    log
}

/// Makes two tests of each function, with and without the option `--green`: `fn name(options: &[&str])`.
#[macro_export]
macro_rules! for_threads_and_green {
    ($($name:ident)*) => {
        mod threads {
            $(#[test] fn $name() { super::$name(&[]); })*
        }
        #[cfg(feature = "green")]
        mod green {
            $(#[test] fn $name() { super::$name(&["--green"]); })*
        }
    };
}
