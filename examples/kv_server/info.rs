//! INFO: what the server tells of itself, in sections.

use std::process;
use std::sync::atomic::Ordering;

use super::instance::Instance;
use super::reply::{Outcome, REDIS_VERSION, Reply};

pub fn info(instance: &Instance, words: &[Vec<u8>]) -> Outcome {
    let wanted = |section: &str| {
        let mut names = words[1..].iter().map(|word| word.to_ascii_lowercase());
        words.len() == 1
            || names.any(|name| {
                name == section.to_ascii_lowercase().as_bytes()
                    || [&b"default"[..], b"all", b"everything"].contains(&&*name)
            })
    };
    let sections = sections(instance);
    let found = sections.iter().filter(|(section, _)| wanted(section));
    let texts: Vec<_> = found
        .map(|(section, lines)| format!("# {section}\r\n{lines}"))
        .collect();
    Ok(Reply::text(texts.join("\r\n")))
}

fn sections(instance: &Instance) -> [(&'static str, String); 5] {
    let store = instance.store();
    let server = format!(
        "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n",
        process::id(),
        instance.started.elapsed().as_secs()
    );
    let clients = format!(
        "connected_clients:{}\r\nmaxclients:{}\r\n",
        instance.clients(),
        instance.max_clients
    );
    let memory = format!(
        "used_memory:{}\r\nmaxmemory:{}\r\n",
        store.used(),
        instance.max_memory
    );
    let stats = format!(
        "total_connections_received:{}\r\ntotal_commands_processed:{}\r\n",
        instance.connections.load(Ordering::Relaxed),
        instance.commands.load(Ordering::Relaxed)
    );
    let keyspace = match (store.len(), store.expiring()) {
        (0, _) => String::new(),
        (keys, expires) => format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n"),
    };
    [
        ("Server", server),
        ("Clients", clients),
        ("Memory", memory),
        ("Stats", stats),
        ("Keyspace", keyspace),
    ]
}
