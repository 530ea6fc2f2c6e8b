//! Runs a test in a separate process. This is for tests that change the logger, signals or limits
//! of the process, count its threads or descriptors, fork, or exit. All other tests of a binary
//! share one process.

use std::env;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::process::{Command, Output};

use crate::example::with_default_signals;

/// This environment variable is set in the child process.
const MARK: &str = "SOCKETSERVER_TEST_CHILD";

/// The return type of a test.
pub trait Outcome {
    /// The value that the parent returns when the test has passed in the child.
    fn passed() -> Self;
}

impl Outcome for () {
    fn passed() -> Self {}
}

impl<E: Debug> Outcome for Result<(), E> {
    fn passed() -> Self {
        Ok(())
    }
}

/// Runs `body` in a child process, and prints its output. If it fails, this function panics with the output.
///
/// Call it first in a test, with a closure that is written in the test itself. The closure's type
/// name contains the name of the test, which is the argument for the child.
#[track_caller]
pub fn in_child<B: FnOnce() -> R, R: Outcome>(body: B) -> R {
    in_child_with(&[], body)
}

/// [`in_child`] with these environment variables.
#[track_caller]
pub fn in_child_with<B, R>(environment: &[(&str, &OsStr)], body: B) -> R
where
    B: FnOnce() -> R,
    R: Outcome,
{
    if is_child() {
        return body();
    }
    let output = run(command_of(&body).envs(environment.iter().copied()));
    assert!(
        output.status.success(),
        "the child process ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{}", String::from_utf8_lossy(&output.stdout));
    R::passed()
}

/// The same for a `body` that ends the process. It returns the child's status and output.
pub fn output_of_child<B: FnOnce()>(body: B) -> Output {
    if is_child() {
        body();
        panic!("the body does not end the process");
    }
    run(&mut command_of(&body))
}

/// Whether this process runs one test for another process.
pub fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

/// The command that runs in a child process the test in which the closure `body` is written.
pub fn command_of<B>(_: &B) -> Command {
    let name = std::any::type_name::<B>();
    let test = name
        .strip_suffix("::{{closure}}")
        .and_then(|path| path.split_once("::"));
    let (_, test) = test.expect("the closure is written in a test function");
    let mut command = Command::new(env::current_exe().expect("the test binary has a path"));
    with_default_signals(&mut command);
    command
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .arg("--include-ignored")
        .env(MARK, "1");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the test binary can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test\n"), "{command:?}: {stdout}");
    output
}
