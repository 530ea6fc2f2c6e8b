//! The table of the guide: what each signal does, by what the program has called.

use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use socketserver::prelude::*;

use support::generations::Generations;
use support::{ANY, eventually};

const GUIDE: &str = include_str!("../../../src/guide/signals.md");

/// The calls of the program, one for each column of the table.
const PROGRAMS: [&str; 5] = ["none", "shutdown", "restart", "reload", "nohup"];

/// The program. The test starts it in a process of its own.
#[test]
#[ignore = "a program for the other test"]
fn program() -> io::Result<()> {
    let calls = env::var("CALLS").expect("the test has set it");
    let server = ThreadingTcpServer::bind_fn(ANY, |request| {
        while request.next_line()?.is_some() {}
        Ok(())
    })?;
    if calls != "none" {
        server.shutdown_on_ctrlc()?;
    }
    if calls == "restart" {
        server.restart_on_sigusr2()?;
    }
    if calls == "reload" || calls == "nohup" {
        server.reload_on_sighup(|_| {
            println!("the program reloads");
            Ok(())
        })?;
    }
    println!("\nprocess {}", std::process::id());
    println!("listening on {}", server.server_address());
    server.serve_forever()?;
    println!("the program shuts down");
    std::process::exit(0);
}

fn start(calls: &str) -> Generations {
    let program = env::current_exe().expect("a test has a path");
    let mut command = match calls {
        "nohup" => Command::new("nohup"),
        _ => Command::new("env"),
    };
    let test = "signals::table::program";
    command
        .arg(program)
        .args([test, "--exact", "--nocapture", "--ignored"]);
    command.env("CALLS", calls);
    Generations::start(command)
}

fn check(calls: &str, signal: Signal, effect: &str) {
    let what = format!("{signal} with {calls}: {effect}");
    let mut program = start(calls);
    program.signal(signal);
    let status = |program: &mut Generations| -> ExitStatus {
        eventually(&what, || program.status().is_some());
        program.status().expect("it has ended")
    };
    match effect {
        "ends the process" => {
            assert_eq!(status(&mut program).signal(), Some(signal as i32), "{what}")
        }
        "shuts down" => {
            assert_eq!(status(&mut program).code(), Some(0), "{what}");
            program.wait_for("the program shuts down");
        }
        "restarts" => {
            eventually(&what, || program.lines("listening on ").len() == 2);
            assert_eq!(status(&mut program).code(), Some(0), "{what}");
            end_new_process(&program);
        }
        "reloads" => {
            program.wait_for("the program reloads");
            check_that_it_serves(&mut program, &what);
        }
        "ignored" => check_that_it_serves(&mut program, &what),
        _ => panic!("the table has an unknown effect: {what}"),
    }
}

fn end_new_process(program: &Generations) {
    let new = &program.lines("process ")[1];
    let number = new
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number = Pid::from_raw(number.expect("a number"));
    kill(number, Signal::SIGTERM).expect("it serves");
    eventually("the new process ends", || kill(number, None).is_err());
}

/// Another signal finds it running.
fn check_that_it_serves(program: &mut Generations, what: &str) {
    program.signal(Signal::SIGTERM);
    program.wait_for("the program shuts down");
    eventually(what, || program.status().is_some());
    assert_eq!(
        program.lines("the program reloads").len(),
        usize::from(what.contains("reloads"))
    );
}

#[test]
fn the_table_of_the_guide_is_true() {
    let rows = GUIDE.lines().filter(|line| line.starts_with("| SIG"));
    let mut count = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].split(' ').next().expect("a name");
        let signal = name.parse::<Signal>().expect("the name of a signal");
        assert_eq!(cells.len(), PROGRAMS.len() + 1, "{row}");
        for (calls, effect) in PROGRAMS.iter().zip(&cells[1..]) {
            check(calls, signal, effect);
            count += 1;
        }
    }
    assert_eq!(count, 20);
}
