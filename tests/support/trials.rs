//! A harness without threads: it runs each trial in a process of its own, and is asked for them as
//! other harnesses are.

use std::env;
use std::process::{Command, ExitCode};

pub struct Trial {
    pub name: &'static str,
    pub run: fn(),
}

macro_rules! trial {
    ($name:ident) => {
        $crate::trials::Trial {
            name: stringify!($name),
            run: $name,
        }
    };
}
pub(crate) use trial;

/// Set for the process of a trial.
const ALONE: &str = "TRIAL";

pub fn run(trials: &[Trial]) -> ExitCode {
    if let Ok(name) = env::var(ALONE) {
        let trial = trials.iter().find(|trial| trial.name == name);
        (trial.expect("there is such a trial").run)();
        return ExitCode::SUCCESS;
    }
    let (options, names): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|it| it.starts_with('-'));
    let says = |option: &str| options.iter().any(|said| said == option);
    let wanted = |trial: &&Trial| {
        let matches = |name: &String| match says("--exact") {
            true => trial.name == name,
            false => trial.name.contains(name.as_str()),
        };
        !says("--ignored") && (names.is_empty() || names.iter().any(matches))
    };
    let wanted = trials.iter().filter(wanted);
    if says("--list") {
        wanted.for_each(|trial| println!("{}: test", trial.name));
        return ExitCode::SUCCESS;
    }
    let failed = wanted.filter(|trial| !passes(trial)).count();
    ExitCode::from(u8::from(failed > 0))
}

fn passes(trial: &Trial) -> bool {
    let program = env::current_exe().expect("it runs");
    let ended = Command::new(program).env(ALONE, trial.name).status();
    let passed = ended.expect("it can be started").success();
    println!(
        "test {} ... {}",
        trial.name,
        if passed { "ok" } else { "FAILED" }
    );
    passed
}
