//! Child processes, none of which outlives this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};

/// All children by their process ids.
static CHILDREN: Mutex<BTreeMap<u32, Child>> = Mutex::new(BTreeMap::new());

/// A child process, which is killed at the end.
pub struct Process {
    id: u32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// The process writes its errors to the log.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let errors =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // No signal between the start and the insertion finds a child missing.
        let mut children = children();
        let mut child = command
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let id = child.id();
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        children.insert(id, child);
        Ok(Self { id, input, output })
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for a line of output. An error if the process ends before.
    pub fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "process {} has ended", self.id);
        Ok(line.trim_end().to_owned())
    }

    pub fn write_line(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"\n")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = children().remove(&self.id) {
            kill(child);
        }
    }
}

/// At Ctrl-C or SIGTERM kills all children and ends this process.
pub fn end_at_ctrlc() -> Result<()> {
    ctrlc::set_handler(|| {
        // The lock is kept, so that no other thread starts a child.
        let mut children = children();
        while let Some((_, child)) = children.pop_first() {
            kill(child);
        }
        process::exit(130);
    })?;
    Ok(())
}

fn children() -> MutexGuard<'static, BTreeMap<u32, Child>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(mut child: Child) {
    // It fails only if the child has ended.
    let _ = child.kill();
    let _ = child.wait();
}
