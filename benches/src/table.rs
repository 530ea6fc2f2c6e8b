//! The figures as Markdown tables.

use std::fmt::Write;

use crate::figure::{Figure, format};
use crate::flood::{self, Flood};
use crate::flood_clients::Outcome;
use crate::load::{Kind, Load};
use crate::program::PROGRAMS;
use crate::results::{Results, Row};

/// The columns for a scale load: messages, then connections, then the idle ones.
const SCALE: [Figure; 9] = [
    Figure::Messages,
    Figure::PerCpuSecond,
    Figure::P50,
    Figure::P99,
    Figure::Connections,
    Figure::ConnectionsPerCpuSecond,
    Figure::Memory,
    Figure::Threads,
    Figure::Failed,
];

/// A table for each load that was measured, and one for all scale loads.
pub fn loads(results: &Results, loads: &[Load]) -> String {
    let (scale, others): (Vec<_>, Vec<_>) = loads.iter().partition(|load| load.kind == Kind::Scale);
    let tables = others.iter().filter_map(|load| table(results, *load));
    tables.collect::<String>() + &scale_table(results, &scale)
}

fn table(results: &Results, load: Load) -> Option<String> {
    let figures: Vec<_> = results.rows(load).next()?.figures().collect();
    let mut text = format!("## {load}\n\n{}", head("| server |", &figures));
    for row in results.rows(load) {
        text += &line(row.program.label, row, &figures);
    }
    Some(text + "\n")
}

/// The rows of a server are below each other.
fn scale_table(results: &Results, loads: &[Load]) -> String {
    let mut rows: Vec<_> = loads.iter().flat_map(|load| results.rows(*load)).collect();
    rows.sort_by_key(|row| PROGRAMS.iter().position(|it| it.name == row.program.name));
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("## scale\n\n{}", head("| idle connections |", &SCALE));
    for row in rows {
        let label = format!("{}, {}", row.program.label, format(row.load.clients as f64));
        text += &line(&label, row, &SCALE);
    }
    text + "\n"
}

fn head(first: &str, figures: &[Figure]) -> String {
    let titles = figures
        .iter()
        .map(|figure| format!(" {} |", figure.title()));
    let titles: String = titles.collect();
    format!("{first}{titles}\n|---|{}\n", "---:|".repeat(figures.len()))
}

fn line(label: &str, row: &Row, figures: &[Figure]) -> String {
    let values = figures.iter().map(|figure| row.value(*figure));
    let cells: String = values
        .map(|value| format!(" {} |", value.map_or("–".to_owned(), format)))
        .collect();
    format!("| {label} |{cells}\n")
}

/// One table for all overload policies.
pub fn floods(floods: &[Flood]) -> String {
    if floods.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "## flood, {} connections at once\n\n{}\n\n",
        format(flood::CLIENTS as f64),
        flood::LIMITS
    );
    text += "| policy | served | half of them within | rejected | half of them within | failed | all within |\n";
    text += "|---|---:|---:|---:|---:|---:|---:|\n";
    for flood in floods {
        let _ = write!(text, "| {} |", flood.policy);
        for outcome in [Outcome::Served, Outcome::Rejected] {
            let median = flood
                .median(outcome)
                .map_or("–".to_owned(), |it| format!("{it:.2?}"));
            let _ = write!(
                text,
                " {} | {median} |",
                format(flood.total(outcome) as f64)
            );
        }
        let failed = format(flood.total(Outcome::Failed) as f64);
        let _ = writeln!(text, " {failed} | {:.2?} |", flood.time_of(flood::CLIENTS));
    }
    text + "\n"
}
