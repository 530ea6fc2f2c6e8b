//! The plots. In each, our servers are coloured, and the others are grey.

mod areas;
mod bars;
mod picture;
mod ranges;

use std::path::Path;

use anyhow::Result;

use crate::figure::{Figure, format};
use crate::flood::{self, CLIENTS, Flood};
use crate::load::{Kind, LOADS, Load};
use crate::machine::Machine;
use crate::plot::picture::Picture;
use crate::program::{PROGRAMS, Program};
use crate::results::Results;

struct Heading<'a> {
    title: &'a str,
    subtitle: &'a str,
    caption: &'a str,
}

impl Heading<'_> {
    fn picture(&self, height: f64) -> Picture {
        Picture::new(height, self.title, self.subtitle, self.caption)
    }
}

/// A server.
struct Row {
    label: &'static str,
    class: &'static str,
    values: Vec<Option<f64>>,
}

impl Row {
    fn new(program: &'static Program, values: Vec<Option<f64>>) -> Self {
        let class = match program.name {
            "threads" | "green" => program.name,
            _ => "peer",
        };
        Self {
            label: program.label,
            class,
            values,
        }
    }

    fn text_class(&self) -> &'static str {
        if self.class == "peer" { "" } else { "strong" }
    }
}

/// Writes the plots for which there are figures, and removes the others of an earlier run.
pub fn write_all(
    folder: &Path,
    machine: &Machine,
    results: &Results,
    floods: &[Flood],
) -> Result<()> {
    let caption = format!("{}; clients and server share the cores", machine.summary());
    let pictures = [
        ("messages", messages(results, &caption)),
        ("memory", memory(results, &caption)),
        ("latency", latency(results, &caption)),
        ("overload", overload(floods, &caption)),
    ];
    for (name, picture) in pictures {
        match picture {
            Some(picture) => picture.write(folder, name)?,
            None => picture::remove(folder, name)?,
        }
    }
    Ok(())
}

fn messages(results: &Results, caption: &str) -> Option<Picture> {
    // One connection says on which cores the system runs the two threads, and little about the server.
    let is_shown = |load: &&Load| load.kind == Kind::PingPong && load.clients > 1;
    let loads: Vec<_> = LOADS.iter().filter(is_shown).copied().collect();
    let rows = rows(|program| {
        let values = loads
            .iter()
            .map(|load| results.value(program, *load, Figure::Messages));
        values.collect()
    });
    let heading = Heading {
        title: "Messages per second",
        subtitle: "Echo of 64 bytes, by number of connections. Each column has its own scale.",
        caption,
    };
    let columns = loads
        .iter()
        .map(|load| format(load.clients as f64))
        .collect::<Vec<_>>();
    (!rows.is_empty()).then(|| bars::draw(&heading, &columns, &rows))
}

fn memory(results: &Results, caption: &str) -> Option<Picture> {
    let load = LOADS.iter().find(|load| load.kind == Kind::Idle)?;
    let rows = rows(|program| vec![results.value(program, *load, Figure::Memory)]);
    let heading = Heading {
        title: "Memory per idle connection",
        subtitle: &format!(
            "KiB of the server’s process, with {} connections. Shorter is better.",
            format(load.clients as f64)
        ),
        caption,
    };
    (!rows.is_empty()).then(|| bars::draw(&heading, &["KiB".to_owned()], &rows))
}

fn latency(results: &Results, caption: &str) -> Option<Picture> {
    let load = Load::new(Kind::PingPong, 1000);
    let figures = [Figure::P50, Figure::P90, Figure::P99, Figure::P999];
    let rows = rows(|program| {
        let micros = figures.map(|figure| results.value(program, load, figure));
        micros.map(|micros| Some(micros? / 1000.0)).to_vec()
    });
    let heading = Heading {
        title: "Time to the answer with 1,000 connections",
        subtitle: "Milliseconds; each connection always has a message on its way.",
        caption,
    };
    (!rows.is_empty()).then(|| ranges::draw(&heading, &rows))
}

fn overload(floods: &[Flood], caption: &str) -> Option<Picture> {
    let heading = Heading {
        title: &format!(
            "{} clients connect at once, under each overload policy",
            format(CLIENTS as f64)
        ),
        subtitle: flood::LIMITS,
        caption,
    };
    (!floods.is_empty()).then(|| areas::draw(&heading, floods))
}

/// The servers that have a value.
fn rows(values: impl Fn(&'static Program) -> Vec<Option<f64>>) -> Vec<Row> {
    let rows = PROGRAMS
        .iter()
        .map(|program| Row::new(program, values(program)));
    rows.filter(|row| row.values.iter().any(Option::is_some))
        .collect()
}
