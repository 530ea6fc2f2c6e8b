//! The figures as Markdown tables.

use std::fmt::Write;

use crate::figure::format;
use crate::flood::{self, Flood};
use crate::flood_clients::Outcome;
use crate::load::Load;
use crate::results::Results;

/// A table for each load that was measured.
pub fn loads(results: &Results, loads: &[Load]) -> String {
    let mut text = String::new();
    for load in loads {
        if let Some(table) = table(results, *load) {
            text += &table;
        }
    }
    text
}

fn table(results: &Results, load: Load) -> Option<String> {
    let figures: Vec<_> = results.rows(load).next()?.figures().collect();
    let mut text = format!("## {load}\n\n| server |");
    for figure in &figures {
        text += &format!(" {} |", figure.title());
    }
    text += &format!("\n|---|{}\n", "---:|".repeat(figures.len()));
    for row in results.rows(load) {
        text += &format!("| {} |", row.program.label);
        for figure in &figures {
            let value = row.value(*figure).map_or("–".to_owned(), format);
            text += &format!(" {value} |");
        }
        text += "\n";
    }
    Some(text + "\n")
}

/// One table for all overload policies.
pub fn floods(floods: &[Flood]) -> String {
    if floods.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "## flood, {} connections at once\n\n{}\n\n",
        format(flood::CLIENTS as f64),
        flood::limits()
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
