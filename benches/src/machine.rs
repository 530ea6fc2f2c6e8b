//! Where, when and with what the figures were measured.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    load: String,
    date: String,
    versions: Vec<String>,
}

impl Machine {
    /// Describes this machine as it is now. What the system does not say is "unknown".
    pub fn read() -> Self {
        let commit = [
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ];
        let commit = output("git", &commit).map(|commit| format!("socketserver {commit}"));
        let rustc = output("rustc", &["--version"]);
        let go = output("go", &["version"]);
        let python = output("python3", &["--version"]);
        Self {
            processor: processor().unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            load: read("/proc/loadavg").map_or_else(unknown, |text| first_word(&text)),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown),
            versions: [commit, rustc, go, python].into_iter().flatten().collect(),
        }
    }

    /// For a caption.
    pub fn summary(&self) -> String {
        let kernel: Vec<_> = self.kernel.split('.').take(2).collect();
        let (kernel, date) = (kernel.join("."), first_word(&self.date));
        format!("{} cores, Linux {kernel}, {date}", self.cores)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            cores,
            kernel,
            ..
        } = self;
        writeln!(f, "{processor}, {cores} cores, Linux {kernel}")?;
        writeln!(f, "{}", self.versions.join("; "))?;
        write!(f, "{}, load average before: {}", self.date, self.load)
    }
}

fn processor() -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn unknown() -> String {
    "unknown".to_owned()
}
