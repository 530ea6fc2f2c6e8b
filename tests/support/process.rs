//! What the kernel knows of a process.

use std::fs;

/// How many threads it has.
pub fn threads(pid: u32) -> usize {
    entries(pid, "task")
}

/// How many threads whose name begins so.
pub fn threads_named(pid: u32, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let names = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|other| other.starts_with(name)).count()
}

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> usize {
    entries(pid, "fd")
}

/// Processor time used so far, in clock ticks of 10 ms: user and system.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<_> = stat[stat.rfind(')').expect("a name") + 2..]
        .split(' ')
        .collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// Whether all its threads sleep: it has done what there was to do, and waits.
pub fn is_asleep(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state is the first field after the name, which is in brackets.
        stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S'))
    })
}

/// Its memory in KiB: what it has in use now.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Its memory in KiB: the most it has had in use.
pub fn most_resident(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

fn entries(pid: u32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}"))
        .expect("the process lives")
        .count()
}
