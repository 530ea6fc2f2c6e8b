//! Tests that need a process of their own: they change its logger, signals or limits, count its threads
//! or descriptors, fork, or end it. All other tests of a binary share one process.

use std::env;
use std::fmt::Debug;
use std::process::{Command, Output};

/// Set in the environment of such a process.
const MARK: &str = "SOCKETSERVER_TEST_CHILD";

/// What a test returns.
pub trait Outcome {
    /// What the parent returns once the child has passed.
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

/// Runs `body` in a process of its own, and fails with its output if it fails there.
///
/// To be called first in a test, with a closure that is written in the test itself: the closure's
/// type has the name of the test, which the same binary is started with again.
#[track_caller]
pub fn in_child<B: FnOnce() -> R, R: Outcome>(body: B) -> R {
    if is_child() {
        return body();
    }
    let output = start_again::<B>();
    assert!(
        output.status.success(),
        "in a process of its own, which ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    R::passed()
}

/// The same for a `body` that ends its process in a way that the test looks at.
pub fn output_of_child<B: FnOnce()>(body: B) -> Output {
    if is_child() {
        body();
        panic!("the body ends the process");
    }
    start_again::<B>()
}

fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

fn start_again<B>() -> Output {
    let name = std::any::type_name::<B>();
    let test = name
        .strip_suffix("::{{closure}}")
        .and_then(|path| path.split_once("::"));
    let (_, test) = test.expect("a closure in a test, in a module of its crate");
    let output = Command::new(env::current_exe().expect("a test has a path"))
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .arg("--include-ignored")
        .env(MARK, "1")
        .output()
        .expect("this binary can be started again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test\n"), "{test}: {stdout}");
    output
}
