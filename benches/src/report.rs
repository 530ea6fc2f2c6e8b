//! Prints the tables, and writes them and the plots.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::flood::Flood;
use crate::machine::Machine;
use crate::options::Options;
use crate::results::Results;
use crate::{plot, table};

pub struct Report<'a> {
    pub options: &'a Options,
    pub machine: &'a Machine,
    pub results: &'a Results,
    pub floods: &'a [Flood],
    /// The servers that were not measured, with the reason.
    pub left_out: &'a [String],
    /// The measurements that failed, with the reason.
    pub failures: &'a [String],
}

impl Report<'_> {
    /// An error if a measurement failed. Then too the rest is written.
    pub fn write(&self) -> Result<()> {
        let tables = self.tables();
        print!("{tables}");
        let folder = &self.options.output;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("table.md");
        fs::write(&path, self.head() + &tables)
            .with_context(|| format!("cannot write {}", path.display()))?;
        plot::write_all(folder, self.machine, self.results, self.floods)?;
        println!("\nwritten to {}", folder.display());
        if !self.failures.is_empty() {
            bail!("failed: {}", self.failures.join("; "));
        }
        Ok(())
    }

    fn head(&self) -> String {
        let (machine, duration) = (self.machine, self.options.duration);
        let rounds = match self.options.rounds {
            1 => "One round".to_owned(),
            rounds => format!("Medians of {rounds} rounds"),
        };
        format!(
            "# Figures\n\n{rounds} of {} ms. What they mean: `README.md` in the folder `benches`.\n\n```text\n{machine}\n```\n\n",
            duration.as_millis()
        )
    }

    fn tables(&self) -> String {
        let mut tables = table::loads(self.results, &self.options.loads);
        tables += &table::floods(self.floods);
        for reason in self.left_out {
            tables += &format!("Left out: {reason}\n");
        }
        tables.trim_end().to_owned() + "\n"
    }
}
