//! Runs a test in a separate process. This is for tests that change the logger, signals or limits
//! of the process, count its threads or descriptors, fork, or exit. All other tests of a binary
//! share one process.

use std::env;
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
    if is_child() {
        return body();
    }
    let output = run_in_child_process::<B>();
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
    run_in_child_process::<B>()
}

fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

fn run_in_child_process<B>() -> Output {
    let name = std::any::type_name::<B>();
    let test = name
        .strip_suffix("::{{closure}}")
        .and_then(|path| path.split_once("::"));
    let (_, test) = test.expect("the closure is written in a test function");
    let mut command = Command::new(env::current_exe().expect("the test binary has a path"));
    with_default_signals(&mut command);
    let output = command
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .arg("--include-ignored")
        .env(MARK, "1")
        .output()
        .expect("the test binary can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test\n"), "{test}: {stdout}");
    output
}
