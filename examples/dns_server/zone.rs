//! A zone: its records, by name.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use hickory_proto::rr::{DNSClass, LowerName, RData, Record, RecordType};

use super::master_file;

pub struct Zone {
    apex: LowerName,
    soa: Record,
    /// Every name there is: also those that are there only because there are names below them.
    nodes: HashMap<LowerName, Vec<Record>>,
}

impl Zone {
    pub fn load(path: &Path, origin: Option<&str>) -> io::Result<Self> {
        let records = master_file::read(path, origin)?;
        Zone::new(records).map_err(|problem| {
            let message = format!("{}: {problem}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    fn new(records: Vec<Record>) -> Result<Self, String> {
        let mut soas = records.iter().filter_map(negative);
        let (Some(soa), None) = (soas.next(), soas.next()) else {
            return Err("a zone has one SOA record, no more and no less".to_owned());
        };
        let mut zone = Zone {
            apex: (&soa.name).into(),
            soa,
            nodes: HashMap::new(),
        };
        for record in records {
            zone.insert(record)?;
        }
        zone.check_aliases()?;
        Ok(zone)
    }

    fn insert(&mut self, record: Record) -> Result<(), String> {
        let mut name = LowerName::from(&record.name);
        let problem = if !self.contains(&name) {
            format!("is outside the zone {}", self.apex)
        } else if record.dns_class != DNSClass::IN {
            "is not of class IN".to_owned()
        } else {
            self.nodes.entry(name.clone()).or_default().push(record);
            while name != self.apex {
                name = name.base_name();
                self.nodes.entry(name.clone()).or_default();
            }
            return Ok(());
        };
        Err(format!("{name} {} {problem}", record.record_type()))
    }

    /// RFC 1034, section 3.6.2.
    fn check_aliases(&self) -> Result<(), String> {
        let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
        let bad = |(_, node): &(_, &Vec<Record>)| node.len() > 1 && node.iter().any(is_alias);
        match self.nodes.iter().find(bad) {
            Some((name, _)) => Err(format!("{name} has a CNAME record and others beside it")),
            None => Ok(()),
        }
    }

    pub fn contains(&self, name: &LowerName) -> bool {
        self.apex.zone_of(name)
    }

    /// The SOA record for the answer that there is nothing.
    pub fn soa(&self) -> &Record {
        &self.soa
    }

    /// The records of a name: its own, or else the wildcard's nearest to it (RFC 4592). `None` if
    /// there is no such name.
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

    /// The NS records of the zone below this one that the name is in.
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

    /// The addresses, as far as they are in the zone, of the hosts that these records name.
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

/// What says that there is nothing may be remembered for so long: RFC 2308, section 3.
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
