//! Information about a process from `/proc`, and its limit of descriptors.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The number of threads.
pub fn threads(pid: u32) -> usize {
    entries(pid, "task")
}

/// The number of threads whose name begins with `name`.
pub fn threads_named(pid: u32, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let names = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|other| other.starts_with(name)).count()
}

/// The pids of a process's children, including zombies.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).expect("the process runs");
    let pids = text.split_whitespace();
    pids.map(|pid| pid.parse().expect("the text is a number"))
        .collect()
}

/// The number of open descriptors.
pub fn descriptors(pid: u32) -> usize {
    entries(pid, "fd")
}

/// The processor time used so far (user and system), in clock ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<_> = stat[stat.rfind(')').expect("a name") + 2..]
        .split(' ')
        .collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// Whether all threads sleep, so that the process has nothing left to do.
pub fn is_asleep(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state is the first field after the name, which is in parentheses.
        stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S'))
    })
}

/// Raises the limit of open descriptors of this process.
pub fn allow_descriptors(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be read");
    assert!(
        hard >= count,
        "the hard limit of {hard} descriptors is too low for this test"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(count), hard).expect("the hard limit allows it");
}

/// The resident memory in KiB.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The peak of the resident memory in KiB.
pub fn peak_resident(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

fn entries(pid: u32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}"))
        .expect("the process runs")
        .count()
}
