//! All samples of all rounds.

use crate::figure::{Figure, Sample, median};
use crate::load::Load;
use crate::program::Program;

#[derive(Default)]
pub struct Results {
    rows: Vec<Row>,
}

/// A server under a load.
pub struct Row {
    pub load: Load,
    pub program: &'static Program,
    samples: Vec<Sample>,
}

impl Results {
    pub fn add(&mut self, load: Load, program: &'static Program, sample: Sample) {
        let mut rows = self.rows.iter_mut();
        let row = rows.find(|row| row.load == load && row.program.name == program.name);
        match row {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row {
                load,
                program,
                samples: vec![sample],
            }),
        }
    }

    /// The rows of a load, in the order in which they were measured.
    pub fn rows(&self, load: Load) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.load == load)
    }

    /// The value of a server in a load.
    pub fn value(&self, program: &Program, load: Load, figure: Figure) -> Option<f64> {
        let mut rows = self.rows(load);
        rows.find(|row| row.program.name == program.name)?
            .value(figure)
    }
}

impl Row {
    pub fn figures(&self) -> impl Iterator<Item = Figure> {
        self.samples
            .iter()
            .take(1)
            .flat_map(|sample| sample.keys().copied())
    }

    /// The median over the rounds.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        let values = self.samples.iter().filter_map(|sample| sample.get(&figure));
        median(values.copied().collect())
    }
}
