//! The terminal, file or pipe where a status is shown.

use std::io::{self, IsTerminal, Write, stdout};

use crate::status::Status;

/// A terminal, on which each table is drawn over the last; or a file or pipe, which gets lines.
pub struct Screen {
    is_terminal: bool,
    /// Lines on the screen to be drawn over.
    drawn: usize,
}

impl Screen {
    pub fn new() -> Self {
        Screen {
            is_terminal: stdout().is_terminal(),
            drawn: 0,
        }
    }

    pub fn show(&mut self, status: &Status) -> io::Result<()> {
        let mut out = stdout().lock();
        if self.is_terminal {
            out.write_all(self.redraw(&status.to_string()).as_bytes())?;
        } else {
            writeln!(out, "{}", status.line())?;
        }
        out.flush()
    }

    /// The cursor goes up to where the last table began. Each line is cleared behind its text, and so is what is
    /// below the table.
    fn redraw(&mut self, table: &str) -> String {
        let up = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        self.drawn = table.lines().count();
        up + &table.replace('\n', "\x1b[K\n") + "\x1b[J"
    }
}
