//! Reads a master file (RFC 1035, section 5), and those that it includes, into records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::entry::entries;
use super::times::in_seconds;

/// How deep files may include others: a file that includes itself has no end.
const MAX_INCLUDES: usize = 16;

/// A record, and where it stands: `FILE:LINE`.
pub struct Placed {
    pub place: String,
    pub record: Record,
}

/// The records in the order in which they stand. An error names the file and the line.
pub fn read(path: &Path, origin: Option<&str>) -> io::Result<Vec<Placed>> {
    let mut parser = Zonefile::new();
    if let Some(origin) = origin {
        let name = origin.parse();
        parser.set_origin(name.map_err(|e| invalid(format!("--origin {origin}: {e}")))?);
    }
    let mut records = Vec::new();
    scan(path, parser, MAX_INCLUDES, &mut records)?;
    Ok(records)
}

fn scan(
    path: &Path,
    mut parser: Zonefile,
    includes: usize,
    records: &mut Vec<Placed>,
) -> io::Result<()> {
    let text = fs::read(path);
    let text = text.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let at = |line: usize| format!("{}:{line}", path.display());
    parser.set_default_class(Class::IN);
    for entry in entries(&text).map_err(|(line, e)| invalid(format!("{}: {e}", at(line))))? {
        let place = at(entry.line);
        // One at a time: the parser's own lines are off by one for some errors.
        parser.extend_from_slice(&in_seconds(&entry.text));
        while let Some(entry) = parser.next_entry().map_err(|e| bad(&place, &e))? {
            match entry {
                Entry::Record(record) => records.push(convert(&record, &place)?),
                Entry::Include { .. } if includes == 0 => {
                    return Err(invalid(format!("{place}: files include files too deep")));
                }
                Entry::Include { path: name, origin } => {
                    let mut inner = Zonefile::new();
                    if let Some(origin) = origin.or_else(|| parser.origin().ok()) {
                        inner.set_origin(origin);
                    }
                    scan(&beside(path, &name), inner, includes - 1, records)?;
                }
            }
        }
    }
    Ok(())
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(path).join(name)
}

fn convert(record: &ScannedRecord, place: &str) -> io::Result<Placed> {
    let record = over_the_wire(record).map_err(|e| invalid(format!("{place}: no record: {e}")))?;
    Ok(Placed {
        place: place.to_owned(),
        record,
    })
}

/// From one library's record to the other's.
fn over_the_wire(record: &ScannedRecord) -> Result<Record, DecodeError> {
    let mut wire = Vec::new();
    let Ok(()) = record.compose(&mut wire);
    let mut record = Record::read(&mut BinDecoder::new(&wire))?;
    match &mut record.data {
        RData::CNAME(name) => resolve_at(&mut name.0),
        RData::NS(name) => resolve_at(&mut name.0),
        RData::PTR(name) => resolve_at(&mut name.0),
        RData::MX(mx) => resolve_at(&mut mx.exchange),
        RData::SRV(srv) => resolve_at(&mut srv.target),
        RData::SOA(soa) => resolve_at(&mut soa.mname),
        _ => {}
    }
    Ok(record)
}

/// A free-standing @ is the origin. The parser knows that of owners only: elsewhere it makes a label of
/// it, in front of the origin.
fn resolve_at(name: &mut Name) {
    if name.iter().next() == Some(b"@") {
        *name = name.base_name();
    }
}

/// The parser says `LINE:COLUMN: PROBLEM`, of which the place is better known here.
fn bad(place: &str, error: &dyn ToString) -> io::Error {
    let error = error.to_string();
    let problem = error.split_once(": ").map_or(&*error, |(_, what)| what);
    invalid(format!("{place}: {problem}"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
