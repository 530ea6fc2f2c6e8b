//! What the kernel knows of a process.

use std::fs;

/// How many threads it has.
pub fn threads(pid: u32) -> usize {
    entries(pid, "task")
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

/// The memory it has in use, in bytes.
pub fn resident(pid: u32) -> usize {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4096
}

fn entries(pid: u32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}"))
        .expect("the process lives")
        .count()
}
