//! The table of metrics in the documentation of the module `metrics`.

const SOURCE: &str = include_str!("../../src/metrics.rs");

/// A row of the table.
pub struct Metric {
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// The name of the label beside `server`, and then its values. Empty if there is none.
    pub label: Vec<&'static str>,
}

impl Metric {
    /// Whether only TLS servers have it.
    pub fn is_of_tls(&self) -> bool {
        self.name.starts_with("socketserver_tls_")
    }
}

pub fn rows() -> Vec<Metric> {
    let lines = SOURCE.lines().map(|line| line.trim_start_matches("//! | "));
    let rows = lines.filter(|line| line.starts_with("`socketserver_"));
    let metrics: Vec<_> = rows.map(metric).collect();
    assert!(!metrics.is_empty(), "the table has rows");
    metrics
}

fn metric(row: &'static str) -> Metric {
    let mut columns = row.split('|').map(str::trim);
    let mut column = || columns.next().expect("a row has four columns");
    Metric {
        name: column().trim_matches('`'),
        kind: column(),
        label: column().split('`').skip(1).step_by(2).collect(),
    }
}
