//! INFO: the server's state, in sections.

use std::process;
use std::sync::atomic::Ordering;

use super::client::Client;
use super::instance::Instance;
use super::reply::{Outcome, REDIS_VERSION, Reply};

type Section = (&'static str, fn(&Instance) -> String);

const SECTIONS: [Section; 5] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Stats", stats),
    ("Keyspace", keyspace),
];

pub fn info(client: &Client<'_>, words: &[Vec<u8>]) -> Outcome {
    let is_wanted = |section: &str| {
        let names = [section, "default", "all", "everything"];
        let is_name = |word: &Vec<u8>| {
            names
                .iter()
                .any(|n| word.eq_ignore_ascii_case(n.as_bytes()))
        };
        words.len() == 1 || words[1..].iter().any(is_name)
    };
    let wanted = SECTIONS.iter().filter(|(section, _)| is_wanted(section));
    let texts: Vec<_> = wanted
        .map(|(section, lines)| format!("# {section}\r\n{}", lines(client.instance)))
        .collect();
    Ok(Reply::text(texts.join("\r\n")))
}

fn server(instance: &Instance) -> String {
    format!(
        "redis_version:{REDIS_VERSION}\r\n\
         redis_mode:standalone\r\n\
         process_id:{}\r\n\
         uptime_in_seconds:{}\r\n",
        process::id(),
        instance.started.elapsed().as_secs()
    )
}

fn clients(instance: &Instance) -> String {
    format!(
        "connected_clients:{}\r\nmaxclients:{}\r\n",
        instance.clients(),
        instance.max_clients
    )
}

fn memory(instance: &Instance) -> String {
    format!(
        "used_memory:{}\r\nmaxmemory:{}\r\nmem_clients_normal:{}\r\n",
        instance.store().used(),
        instance.max_memory,
        instance.client_memory()
    )
}

fn stats(instance: &Instance) -> String {
    format!(
        "total_connections_received:{}\r\ntotal_commands_processed:{}\r\n",
        instance.connections.load(Ordering::Relaxed),
        instance.commands.load(Ordering::Relaxed)
    )
}

fn keyspace(instance: &Instance) -> String {
    let store = instance.store();
    match (store.len(), store.expiring()) {
        (0, _) => String::new(),
        (keys, expires) => format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n"),
    }
}
