//! A test harness without threads. It runs each trial in a separate process, and has the usual
//! options of test harnesses.

use std::env;
use std::process::{Command, ExitCode};

use support::example::with_default_signals;

#[derive(Clone, Copy)]
pub struct Trial {
    pub name: &'static str,
    pub run: fn(),
}

macro_rules! trial {
    ($name:ident) => {
        $crate::harness::Trial {
            name: stringify!($name),
            run: $name,
        }
    };
}
pub(crate) use trial;

/// This environment variable is set for the process of a trial.
const ALONE: &str = "TRIAL";

pub fn run(trials: &[Trial]) -> ExitCode {
    if let Ok(name) = env::var(ALONE) {
        let trial = trials.iter().find(|trial| trial.name == name);
        (trial.expect("the trial exists").run)();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> = env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let names = names(&arguments);
    // No trial is ignored by default.
    let trials = if has("--ignored") { &[] } else { trials };
    if has("--list") {
        trials
            .iter()
            .for_each(|trial| println!("{}: test", trial.name));
        return ExitCode::SUCCESS;
    }
    let is_named = |trial: &&Trial, name: &str| match has("--exact") {
        true => trial.name == name,
        false => trial.name.contains(name),
    };
    let wanted = trials
        .iter()
        .filter(|trial| names.is_empty() || names.iter().any(|name| is_named(trial, name)));
    let failed = wanted.filter(|trial| !passes(trial)).count();
    ExitCode::from(u8::from(failed > 0))
}

/// The arguments that are neither options nor values of options.
fn names(arguments: &[String]) -> Vec<&str> {
    const WITH_VALUE: [&str; 4] = ["--test-threads", "--skip", "--format", "--color"];
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            names.push(argument.as_str());
        }
    }
    names
}

fn passes(trial: &Trial) -> bool {
    let program = env::current_exe().expect("the test binary has a path");
    let mut command = Command::new(program);
    with_default_signals(&mut command);
    let ended = command.env(ALONE, trial.name).status();
    let passed = ended.expect("the test binary can be started").success();
    println!(
        "test {} ... {}",
        trial.name,
        if passed { "ok" } else { "FAILED" }
    );
    passed
}
