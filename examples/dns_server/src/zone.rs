//! A zone: its records, by name.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::path::Path;

use hickory_proto::rr::{LowerName, RData, Record, RecordType};

use super::master_file::{self, Placed};

pub struct Zone {
    apex: LowerName,
    soa: Record,
    /// All names, also those that exist only because there are names below them.
    nodes: HashMap<LowerName, Vec<Record>>,
}

impl Zone {
    pub fn load(path: &Path, origin: Option<&str>) -> io::Result<Self> {
        let records = master_file::read(path, origin)?;
        let soa = only_soa(&records, path)?;
        let mut zone = Zone {
            apex: (&soa.name).into(),
            soa,
            nodes: HashMap::new(),
        };
        for Placed { place, record } in records {
            let inserted = zone.insert(record);
            inserted.map_err(|problem| invalid(&place, &problem))?;
        }
        Ok(zone)
    }

    fn insert(&mut self, record: Record) -> Result<(), String> {
        let mut name = LowerName::from(&record.name);
        if !self.contains(&name) {
            return Err(format!("{name} is outside the zone {}", self.apex));
        }
        let node = self.nodes.entry(name.clone()).or_default();
        // RFC 1034, section 3.6.2.
        let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
        if node.iter().any(is_alias) || (is_alias(&record) && !node.is_empty()) {
            return Err(format!("{name} has a CNAME record and others beside it"));
        }
        node.push(record);
        while name != self.apex {
            name = name.base_name();
            self.nodes.entry(name.clone()).or_default();
        }
        Ok(())
    }

    pub fn contains(&self, name: &LowerName) -> bool {
        self.apex.zone_of(name)
    }

    /// The SOA record for a negative answer.
    pub fn soa(&self) -> &Record {
        &self.soa
    }

    /// The records of a name, or of the nearest wildcard (RFC 4592). `None` if there is no such name.
    pub fn records(&self, name: &LowerName) -> Option<&[Record]> {
        if let Some(node) = self.nodes.get(name) {
            return Some(node);
        }
        let mut below = name.clone();
        while !self.nodes.contains_key(&below.base_name()) {
            below = below.base_name();
        }
        let wildcard = self.nodes.get(&below.into_wildcard());
        wildcard.map(Vec::as_slice)
    }

    /// The NS records of the delegated zone that contains the name.
    pub fn delegation(&self, name: &LowerName) -> Option<Vec<Record>> {
        let mut name = name.clone();
        let mut found = None;
        while name != self.apex {
            let servers = self.nodes.get(&name).map(|n| of_type(n, RecordType::NS));
            found = servers.filter(|servers| !servers.is_empty()).or(found);
            name = name.base_name();
        }
        found
    }

    /// The addresses, if they are in the zone, of the hosts in these records.
    pub fn addresses(&self, records: &[Record]) -> Vec<Record> {
        let hosts = records.iter().filter_map(|record| match &record.data {
            RData::NS(ns) => Some(LowerName::from(&ns.0)),
            RData::MX(mx) => Some(LowerName::from(&mx.exchange)),
            _ => None,
        });
        let nodes = hosts.filter_map(|host| self.nodes.get(&host));
        nodes
            .flatten()
            .filter(|record| record.record_type().is_ip_addr())
            .cloned()
            .collect()
    }
}

fn only_soa(records: &[Placed], path: &Path) -> io::Result<Record> {
    let mut soas = records.iter().filter_map(|placed| {
        let soa = negative(&placed.record)?;
        Some((soa, &placed.place))
    });
    let (soa, first) = soas.next().ok_or_else(|| {
        invalid(
            &path.display(),
            "there is no SOA record, and a zone has one",
        )
    })?;
    match soas.next() {
        None => Ok(soa),
        Some((_, second)) => {
            let problem = format!("a second SOA record; the first is at {first}");
            Err(invalid(second, &problem))
        }
    }
}

fn invalid(place: &dyn Display, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {problem}"))
}

/// How long a negative answer may be cached: RFC 2308, section 3.
fn negative(record: &Record) -> Option<Record> {
    let RData::SOA(data) = &record.data else {
        return None;
    };
    let mut soa = record.clone();
    soa.ttl = soa.ttl.min(data.minimum);
    Some(soa)
}

pub fn of_type(records: &[Record], kind: RecordType) -> Vec<Record> {
    let matches = |record: &&Record| kind == RecordType::ANY || record.record_type() == kind;
    records.iter().filter(matches).cloned().collect()
}
