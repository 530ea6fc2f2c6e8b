//! Server programs that are started in a way of their own, and the end of those that are told to end.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use crate::example::Example;
use crate::{eventually, process};

/// Starts any program that prints `listening on ADDRESS`, and waits until it does. It is killed
/// when the value is dropped.
pub fn launch(mut command: Command) -> Example {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is there");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it prints text");
    let address = line.trim_end().strip_prefix("listening on ");
    Example {
        child,
        address: address.expect(&line).to_owned(),
        stdout,
    }
}

/// Waits for the end of a program that was told to end, and fails rather than waits for ever: its
/// status, the rest of its output, and its log.
pub fn ended(mut example: Example) -> (ExitStatus, String, String) {
    eventually("the program ends", || !is_running(&mut example));
    example.finish()
}

pub fn is_running(example: &mut Example) -> bool {
    let status = example.child.try_wait().expect("it is our child");
    status.is_none()
}

/// Whether all its threads sleep: it has done what there was to do, and waits.
pub fn is_asleep(example: &Example) -> bool {
    process::is_asleep(example.pid())
}
