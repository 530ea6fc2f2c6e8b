//! Builds with cargo, and shows the progress in one line.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

/// What the names are.
pub enum Target {
    Bin,
    Example,
}

/// Returns the executables by their names.
pub fn build(
    manifest: &Path,
    options: &[&str],
    target: Target,
    names: &[&str],
) -> Result<Vec<(String, PathBuf)>> {
    let option = match target {
        Target::Bin => "--bin",
        Target::Example => "--example",
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args([
            "build",
            "--release",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .args(options)
        .args(names.iter().flat_map(|name| [option, name]));
    let progress =
        ProgressBar::new_spinner().with_message(format!("building {}", names.join(", ")));
    progress.enable_steady_tick(Duration::from_millis(100));
    let messages = run(command, &progress)?;
    progress.finish_and_clear();
    Ok(messages.lines().filter_map(executable).collect())
}

/// Returns what cargo writes to standard output. The progress shows its errors.
fn run(mut command: Command, progress: &ProgressBar) -> Result<String> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let stderr = child.stderr.take().expect("it is a pipe");
    let progress = progress.clone();
    let errors = thread::spawn(move || {
        let mut errors = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            progress.set_message(line.trim().to_owned());
            errors = errors + &line + "\n";
        }
        errors
    });
    let mut messages = String::new();
    stdout.read_to_string(&mut messages)?;
    let errors = errors.join().expect("it does not panic");
    if !child.wait()?.success() {
        bail!("cargo failed:\n{errors}");
    }
    Ok(messages)
}

/// The executable of a message in JSON, if it has one.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    let path = PathBuf::from(rest.split_once('"')?.0);
    Some((path.file_name()?.to_string_lossy().into_owned(), path))
}
