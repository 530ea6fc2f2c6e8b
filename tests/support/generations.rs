//! A server program that is replaced by new processes of itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;
use crate::example::with_default_signals;

/// The processes, and what they print. They are killed when the value is dropped.
pub struct Generations {
    first: Child,
    pids: Vec<Pid>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Generations {
    /// Starts a program that prints `listening on ADDRESS`, and waits until it does.
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        with_default_signals(&mut command);
        let mut first = command.spawn().expect("the program can be started");
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(first.stdout.take().expect("the stream is piped"), &lines);
        collect(first.stderr.take().expect("the stream is piped"), &lines);
        let pid = first.id().try_into().expect("a process number is an i32");
        let generations = Generations {
            first,
            pids: vec![Pid::from_raw(pid)],
            lines,
        };
        generations.wait_for("listening on ");
        generations
    }

    /// The address that the first process has printed.
    pub fn address(&self) -> String {
        let lines = self.wait_for("listening on ");
        lines[0].rsplit(' ').next().expect("a word").to_owned()
    }

    /// The lines so far that contain this.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("no thread has panicked");
        let found = lines.iter().filter(|line| line.contains(text));
        found.cloned().collect()
    }

    /// Waits for a line that contains this.
    pub fn wait_for(&self, text: &str) -> Vec<String> {
        eventually(text, || !self.lines(text).is_empty());
        self.lines(text)
    }

    /// The process that serves.
    pub fn current(&self) -> Pid {
        *self.pids.last().expect("there is a first process")
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.current(), signal).expect("the process runs");
    }

    /// How the first process has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.first.try_wait().expect("a child process")
    }

    /// Sends SIGUSR2, and waits until a new process serves.
    pub fn restart(&mut self) {
        self.signal(Signal::SIGUSR2);
        let count = self.pids.len();
        let served = || self.lines("restart: process ");
        eventually("a new process serves", || served().len() >= count);
        let line = &served()[count - 1];
        let number = line.split("restart: process ").nth(1);
        let number = number.and_then(|rest| rest.split(' ').next()?.parse().ok());
        self.pids.push(Pid::from_raw(number.expect("a number")));
    }

    /// Waits for the end of the process before the current one.
    pub fn wait_for_predecessor(&mut self) {
        let before = self.pids[self.pids.len() - 2];
        eventually("no process but the last one runs", || {
            // The first one is a child of the test, and stays until it is waited for.
            let _ = self.first.try_wait();
            kill(before, None).is_err()
        });
    }
}

impl Drop for Generations {
    fn drop(&mut self) {
        for pid in &self.pids[1..] {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn collect(stream: impl std::io::Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().expect("no thread has panicked").push(line);
        }
    });
}
