//! What a measurement gives.

use std::collections::BTreeMap;

/// The figures of one measurement.
pub type Sample = BTreeMap<Figure, f64>;

/// In the order of the columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Per second.
    Messages,
    /// Per second.
    Connections,
    /// Per second, in one direction.
    Mebibytes,
    /// What is counted per second, here per second of the server's processor time.
    PerCpuSecond,
    /// Percentiles of the time to the answer, in microseconds.
    P50,
    P90,
    P99,
    P999,
    /// Of a load that counts messages as well.
    ConnectionsPerCpuSecond,
    /// KiB of the server for each connection.
    Memory,
    /// The server's threads.
    Threads,
    /// Connections that the server closed, and datagrams without an answer.
    Failed,
}

impl Figure {
    pub fn title(self) -> &'static str {
        match self {
            Figure::Messages => "messages/s",
            Figure::Connections => "connections/s",
            Figure::Mebibytes => "MiB/s",
            Figure::PerCpuSecond | Figure::ConnectionsPerCpuSecond => "per CPU second",
            Figure::P50 => "p50 µs",
            Figure::P90 => "p90 µs",
            Figure::P99 => "p99 µs",
            Figure::P999 => "p99.9 µs",
            Figure::Memory => "KiB per connection",
            Figure::Threads => "threads",
            Figure::Failed => "failed",
        }
    }
}

/// Three digits, or all of a whole number: 1.23, 12.3, 123, 1,234.
pub fn format(value: f64) -> String {
    let decimals = match value.abs() {
        whole if whole.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut result = String::new();
    for (i, digit) in text.chars().enumerate() {
        if i > 0 && i < whole && (whole - i) % 3 == 0 {
            result.push(',');
        }
        result.push(digit);
    }
    result
}

/// The value in the middle, or the mean of the two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(match values.len() % 2 {
        1 => upper,
        _ => (values[middle - 1] + upper) / 2.0,
    })
}
