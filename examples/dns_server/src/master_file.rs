//! Reads a master file (RFC 1035, section 5), and those that it includes, into records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use hickory_proto::rr::Record;

use super::times::in_seconds;
use super::{entry, record};

/// The limit of nested includes: a file could include itself.
const MAX_INCLUDES: usize = 16;

/// A record, and its place: `FILE:LINE`.
pub struct Placed {
    pub place: String,
    pub record: Record,
}

/// The records in their order in the file. An error names the file and the line.
pub fn read(path: &Path, origin: Option<&str>) -> io::Result<Vec<Placed>> {
    let mut parser = Zonefile::new();
    parser.set_default_class(Class::IN);
    if let Some(origin) = origin {
        let name = origin.parse();
        parser.set_origin(name.map_err(|e| invalid(format!("--origin {origin}: {e}")))?);
    }
    let mut records = Vec::new();
    MasterFile::open(path.to_owned())?.scan(parser, MAX_INCLUDES, &mut records)?;
    Ok(records)
}

struct MasterFile {
    path: PathBuf,
    text: Vec<u8>,
}

impl MasterFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        match fs::read(&path) {
            Ok(text) => Ok(MasterFile { path, text }),
            Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }

    fn scan(
        &self,
        mut parser: Zonefile,
        includes: usize,
        records: &mut Vec<Placed>,
    ) -> io::Result<()> {
        for entry in self.entries()? {
            let place = self.place(entry.line);
            // One at a time: the parser's line numbers are off by one for some errors.
            parser.extend_from_slice(&in_seconds(&entry.text));
            while let Some(entry) = parser.next_entry().map_err(|e| bad(&place, &e))? {
                match entry {
                    Entry::Record(record) => records.push(placed(&record, &place)?),
                    Entry::Include { .. } if includes == 0 => {
                        return Err(invalid(format!("{place}: files include files too deep")));
                    }
                    Entry::Include { path, origin } => {
                        // It inherits the origin and the TTL, and its changes stay in it.
                        let mut inner = parser.clone();
                        if let Some(origin) = origin {
                            inner.set_origin(origin);
                        }
                        let included = self.include(&path, &place)?;
                        included.scan(inner, includes - 1, records)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn entries(&self) -> io::Result<Vec<entry::Entry>> {
        let entries = entry::entries(&self.text);
        entries.map_err(|(line, problem)| invalid(format!("{}: {problem}", self.place(line))))
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// A file that this one includes; its name is relative to this file's folder.
    fn include(&self, name: &str, place: &str) -> io::Result<Self> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let file = Self::open(folder.join(name));
        file.map_err(|e| io::Error::new(e.kind(), format!("{place}: cannot include {e}")))
    }
}

fn placed(record: &ScannedRecord, place: &str) -> io::Result<Placed> {
    match record::convert(record) {
        Ok(record) => Ok(Placed {
            place: place.to_owned(),
            record,
        }),
        // The parser accepts two dots in a row.
        Err(e) => Err(invalid(format!(
            "{place}: a name or a value that cannot be sent: {e}"
        ))),
    }
}

/// The parser's message is `LINE:COLUMN: PROBLEM` or `LINE:COLUMN: PROBLEM: DETAIL`; the place is known
/// better here.
fn bad(place: &str, error: &dyn ToString) -> io::Error {
    let error = error.to_string();
    let problem = error.split_once(": ").map_or(&*error, |(_, what)| what);
    let meaning = MEANINGS.iter().find_map(|(message, meaning)| {
        let detail = problem.strip_prefix(message)?;
        Some(format!("{place}: {meaning}{detail}"))
    });
    invalid(meaning.unwrap_or_else(|| format!("{place}: {problem}")))
}

/// The parser's messages, and what they mean.
const MEANINGS: [(&str, &str); 10] = [
    ("bad charstr", "a text is longer than 255 bytes"),
    ("bad name", "a name that no domain can have"),
    ("bad symbol", "a character that is not allowed here"),
    ("different class", "every record is of one class"),
    ("expected rtype", "the record's type is missing or unknown"),
    (
        "missing last owner",
        "no name, and no record before this one",
    ),
    (
        "missing origin",
        "a relative name, but no $ORIGIN and no --origin",
    ),
    ("trailing tokens", "there are more words than it takes"),
    ("unexpected end of entry", "something is missing at the end"),
    ("unknown control", "unknown directive"),
];

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
