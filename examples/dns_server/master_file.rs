//! Reads a master file (RFC 1035, section 5), and those that it includes, into records.

use std::fs;
use std::io;
use std::path::Path;

use domain::base::iana::Class;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

/// How deep files may include others: a file that includes itself has no end.
const MAX_INCLUDES: usize = 16;

/// The records in the order in which they stand. An error names the file and the line.
pub fn read(path: &Path, origin: Option<&str>) -> io::Result<Vec<Record>> {
    let mut file = open(path)?;
    if let Some(origin) = origin {
        let name = origin.parse();
        file.set_origin(name.map_err(|e| invalid(format!("--origin {origin}: {e}")))?);
    }
    let mut records = Vec::new();
    scan(file, path, MAX_INCLUDES, &mut records)?;
    Ok(records)
}

fn open(path: &Path) -> io::Result<Zonefile> {
    let text = fs::read(path);
    let text = text.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let mut file = Zonefile::from(&*text);
    // The last line may be without its end, which the parser wants.
    file.extend_from_slice(b"\n");
    file.set_default_class(Class::IN);
    Ok(file)
}

fn scan(
    mut file: Zonefile,
    path: &Path,
    includes: usize,
    records: &mut Vec<Record>,
) -> io::Result<()> {
    let at = |place: &str| invalid(format!("{}:{place}", path.display()));
    while let Some(entry) = file.next_entry().map_err(|e| at(&place(&e.to_string())))? {
        match entry {
            Entry::Record(record) => {
                let converted = convert(&record);
                records.push(converted.map_err(|e| at(&format!(" {}: {e}", record.owner())))?);
            }
            Entry::Include { path: name, origin } => {
                if includes == 0 {
                    return Err(at(" files include files too deep"));
                }
                let path = path.parent().unwrap_or(path).join(&*name);
                let mut included = open(&path)?;
                if let Some(origin) = origin.or_else(|| file.origin().ok()) {
                    included.set_origin(origin);
                }
                scan(included, &path, includes - 1, records)?;
            }
        }
    }
    Ok(())
}

/// Of the parser's `LINE:COLUMN: PROBLEM` the line and the problem. Where the last word of a line is
/// wrong, the parser stands at the beginning of the next one already.
fn place(error: &str) -> String {
    let mut parts = error.splitn(3, ':');
    let line = parts.next().and_then(|line| line.parse::<usize>().ok());
    match (line, parts.next(), parts.next()) {
        (Some(line), Some("1"), Some(problem)) => format!("{}:{problem}", line.max(2) - 1),
        (Some(line), Some(_), Some(problem)) => format!("{line}:{problem}"),
        _ => format!(" {error}"),
    }
}

/// From one library's record to the other's, by way of the wire's.
fn convert(record: &ScannedRecord) -> Result<Record, DecodeError> {
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

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
