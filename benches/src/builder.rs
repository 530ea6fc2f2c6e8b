//! Builds the servers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Target};
use crate::program::{Built, Program, Source};

/// The folder of this package.
const BENCHES: &str = env!("CARGO_MANIFEST_DIR");

pub struct Builder {
    /// The executables of cargo by their names.
    executables: BTreeMap<String, PathBuf>,
    /// Where the others are built.
    folder: PathBuf,
}

impl Builder {
    pub fn new(folder: &Path) -> Self {
        Self {
            executables: BTreeMap::new(),
            folder: folder.to_owned(),
        }
    }

    /// Returns what was built, and for the rest the reason. An error if cargo fails.
    pub fn build(&mut self, programs: &[&'static Program]) -> Result<(Vec<Built>, Vec<String>)> {
        let (mut examples, mut peers) = (Vec::new(), Vec::new());
        for program in programs {
            match program.source {
                Source::Example(name, _) => examples.push(name),
                Source::Peer(name) => peers.push(name),
                _ => {}
            }
        }
        let root = Path::new(BENCHES).join("..");
        self.cargo(&root, &["--features", "green"], Target::Example, examples)?;
        self.cargo(
            Path::new(BENCHES),
            &["--package", "peers"],
            Target::Bin,
            peers,
        )?;
        let (mut built, mut missing) = (Vec::new(), Vec::new());
        for program in programs {
            match self.built(program) {
                Ok(program) => built.push(program),
                Err(error) => missing.push(format!("{}: {error:#}", program.label)),
            }
        }
        Ok((built, missing))
    }

    /// Builds an example of this package.
    pub fn example(&mut self, name: &'static str) -> Result<PathBuf> {
        self.cargo(Path::new(BENCHES), &[], Target::Example, vec![name])?;
        self.executable(name)
    }

    fn cargo(
        &mut self,
        folder: &Path,
        options: &[&str],
        target: Target,
        mut names: Vec<&'static str>,
    ) -> Result<()> {
        names.dedup();
        if !names.is_empty() {
            let manifest = folder.join("Cargo.toml");
            let executables = cargo::build(&manifest, options, target, &names)?;
            self.executables.extend(executables);
        }
        Ok(())
    }

    fn built(&self, program: &'static Program) -> Result<Built> {
        let (path, arguments) = match program.source {
            Source::Example(name, options) => {
                (self.executable(name)?, [options, &["127.0.0.1:0"]].concat())
            }
            Source::Peer(name) => (self.executable(name)?, Vec::new()),
            Source::Go(file) => (self.compile("go build", file, "", "golang-go")?, Vec::new()),
            Source::Poco(file) => {
                let libraries = "-lPocoNet -lPocoFoundation";
                let packages = "g++ libpoco-dev";
                (
                    self.compile("c++ -O2", file, libraries, packages)?,
                    Vec::new(),
                )
            }
            Source::Python(file) => {
                run(Command::new("python3").arg("--version"), "python3")?;
                return Ok(Built {
                    program,
                    path: "python3".into(),
                    arguments: vec![source(file)],
                });
            }
        };
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Ok(Built {
            program,
            path,
            arguments,
        })
    }

    fn executable(&self, name: &str) -> Result<PathBuf> {
        let path = self.executables.get(name).cloned();
        path.with_context(|| format!("cargo did not build {name}"))
    }

    fn compile(
        &self,
        compiler: &str,
        file: &str,
        libraries: &str,
        packages: &str,
    ) -> Result<PathBuf> {
        let path = self.folder.join(file.replace('.', "_"));
        let mut words = compiler.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg("-o").arg(&path).arg(source(file));
        run(command.args(libraries.split_whitespace()), packages)?;
        Ok(path)
    }
}

fn source(file: &str) -> String {
    format!("{BENCHES}/peers/{file}")
}

/// Runs a program of these Debian packages. An error has what it reports, or how to install it.
fn run(command: &mut Command, packages: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let first = errors
                .lines()
                .find(|line| line.contains("error"))
                .unwrap_or(errors.trim());
            bail!("{program}: {first} (it needs the packages {packages})")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("not installed: apt install {packages}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot run {program}")),
    }
}
