//! The entries of a master file, each put on one line: RFC 1035, section 5.1.

pub struct Entry {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// Its text, without comments and brackets.
    pub text: Vec<u8>,
}

/// Splits the text into entries. An error has the number of its line.
pub fn entries(text: &[u8]) -> Result<Vec<Entry>, (usize, &'static str)> {
    let mut splitter = Splitter::default();
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        splitter
            .take(line, text)
            .map_err(|problem| (line, problem))?;
    }
    match splitter.open {
        Some(entry) => Err((entry.line, "a bracket is not closed")),
        None => Ok(splitter.entries),
    }
}

#[derive(Default)]
struct Splitter {
    entries: Vec<Entry>,
    /// The entry that continues on the next line, because brackets are open.
    open: Option<Entry>,
    brackets: usize,
}

impl Splitter {
    fn take(&mut self, line: usize, text: &[u8]) -> Result<(), &'static str> {
        let mut entry = self.open.take().unwrap_or(Entry {
            line,
            text: Vec::new(),
        });
        self.append(&mut entry.text, text)?;
        if self.brackets > 0 {
            entry.text.push(b' ');
            self.open = Some(entry);
        } else if !entry.text.trim_ascii().is_empty() {
            entry.text.push(b'\n');
            self.entries.push(entry);
        }
        Ok(())
    }

    fn append(&mut self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), &'static str> {
        let (mut quoted, mut escaped) = (false, false);
        for byte in text {
            match byte {
                _ if escaped => out.push(*byte),
                b'"' => {
                    // Words are separated, also where there is only a quote between them.
                    let both: &[u8] = if quoted { b"\" " } else { b" \"" };
                    out.extend(both);
                    quoted = !quoted;
                }
                b';' if !quoted => break,
                b'(' | b')' if !quoted => {
                    out.push(b' ');
                    self.count(*byte)?;
                }
                _ => out.push(*byte),
            }
            escaped = *byte == b'\\' && !escaped;
        }
        match (quoted, escaped) {
            (true, _) => Err("a quote is not closed"),
            (_, true) => Err("nothing follows a backslash"),
            _ => Ok(()),
        }
    }

    fn count(&mut self, bracket: u8) -> Result<(), &'static str> {
        let brackets = match bracket {
            b'(' => self.brackets.checked_add(1),
            _ => self.brackets.checked_sub(1),
        };
        self.brackets = brackets.ok_or("a bracket is closed that is not open")?;
        Ok(())
    }
}
