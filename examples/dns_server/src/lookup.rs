//! How a zone answers a question: RFC 1034, section 4.3.2.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, LowerName, RData, Record, RecordType};

use super::zone::{Zone, of_type};

/// The limit of aliases to follow: they may form a loop.
const MAX_ALIASES: usize = 16;

/// Fills the response in.
pub fn answer(zone: &Zone, query: &Query, response: &mut Message) {
    let mut name = LowerName::from(query.name());
    if !is_ours(zone, &name, query) {
        response.metadata.response_code = ResponseCode::Refused;
        return;
    }
    for _ in 0..MAX_ALIASES {
        match step(zone, &name, query.query_type(), response) {
            Some(target) if zone.contains(&target) => name = target,
            _ => return,
        }
    }
}

fn is_ours(zone: &Zone, name: &LowerName, query: &Query) -> bool {
    let class = matches!(query.query_class(), DNSClass::IN | DNSClass::ANY);
    let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    class && !transfer && zone.contains(name)
}

/// Looks one name up. If it is an alias, returns its target.
fn step(
    zone: &Zone,
    name: &LowerName,
    kind: RecordType,
    response: &mut Message,
) -> Option<LowerName> {
    if let Some(servers) = zone.delegation(name) {
        response.add_additionals(zone.addresses(&servers));
        response.add_authorities(servers);
        return None;
    }
    response.metadata.authoritative = true;
    let records = zone.records(name);
    if records.is_none() {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    let records = records.unwrap_or_default();
    let found = named(of_type(records, kind), name);
    let alias = named(of_type(records, RecordType::CNAME), name);
    if !found.is_empty() {
        response.add_additionals(zone.addresses(&found));
        response.add_answers(found);
        return None;
    }
    let Some(target) = alias.first().and_then(target) else {
        response.add_authority(zone.soa().clone());
        return None;
    };
    if response.answers.contains(&alias[0]) {
        return None;
    }
    response.add_answers(alias);
    Some(target)
}

fn target(alias: &Record) -> Option<LowerName> {
    match &alias.data {
        RData::CNAME(name) => Some(LowerName::from(&name.0)),
        _ => None,
    }
}

/// A wildcard's records get the name in the question.
fn named(mut records: Vec<Record>, name: &LowerName) -> Vec<Record> {
    for record in &mut records {
        if record.name.is_wildcard() {
            record.name = name.into();
        }
    }
    records
}
