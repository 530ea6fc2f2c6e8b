//! Converts a record of one library to one of the other.

use domain::zonefile::inplace::ScannedRecord;
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

pub fn convert(record: &ScannedRecord) -> Result<Record, DecodeError> {
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

/// A single @ is the origin. The parser handles it in owners only: elsewhere it makes a label of it,
/// before the origin.
fn resolve_at(name: &mut Name) {
    if name.iter().next() == Some(b"@") {
        *name = name.base_name();
    }
}
