//! The clients in the room, and their commands.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use socketserver::request::{Connection, Outbox};

/// How much may wait for a client that reads slowly, in bytes.
const MAX_WAITING: usize = 256 << 10;

/// The people in it, by the numbers of their connections. The lock is held while a line is put in all
/// outboxes, so everybody sees all lines in the same order. No client delays that.
#[derive(Default)]
pub struct Room(Mutex<BTreeMap<u64, Person>>);

struct Person {
    name: String,
    outbox: Outbox,
}

impl Room {
    pub fn enter(&self, connection: &Connection) {
        let id = connection.id();
        let mut people = self.people();
        let mut name = format!("guest{id}");
        while people.values().any(|person| person.name == name) {
            name.push('_');
        }
        let person = Person {
            name: name.clone(),
            outbox: connection.outbox(MAX_WAITING),
        };
        person.send(&format!(
            "* welcome, {name}; there are /nick NAME, /who and /quit"
        ));
        people.insert(id, person);
        broadcast(&people, id, &format!("* {name} has come"));
    }

    pub fn leave(&self, id: u64) {
        let mut people = self.people();
        if let Some(person) = people.remove(&id) {
            broadcast(&people, id, &format!("* {} has left", person.name));
        }
    }

    /// Runs the command in a line, or sends it to the others; false after `/quit`.
    pub fn run(&self, id: u64, line: &str) -> bool {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("/quit", _) => return false,
            ("/who", _) => self.reply(id, &self.names()),
            ("/nick", name) => self.rename(id, name.trim()),
            (command, _) if command.starts_with('/') => {
                self.reply(id, "there are /nick NAME, /who and /quit")
            }
            _ => self.say(id, line),
        }
        true
    }

    /// A message of the server to one person.
    pub fn reply(&self, id: u64, text: &str) {
        if let Some(person) = self.people().get(&id) {
            person.send(&format!("* {text}"));
        }
    }

    fn say(&self, id: u64, text: &str) {
        let people = self.people();
        if let Some(person) = people.get(&id) {
            broadcast(&people, id, &format!("{}: {text}", person.name));
        }
    }

    fn names(&self) -> String {
        let people = self.people();
        let names: Vec<_> = people.values().map(|person| &*person.name).collect();
        format!("here: {}", names.join(", "))
    }

    fn rename(&self, id: u64, name: &str) {
        if !is_name(name) {
            return self.reply(id, "a name is 1 to 32 letters, digits, - and _");
        }
        let mut people = self.people();
        let taken = people
            .iter()
            .any(|(other, person)| *other != id && person.name == name);
        let Some(person) = people.get_mut(&id) else {
            return;
        };
        if taken {
            return person.send(&format!("* somebody else is {name}"));
        }
        let old = mem::replace(&mut person.name, name.to_owned());
        person.send(&format!("* you are now {name}"));
        broadcast(&people, id, &format!("* {old} is now {name}"));
    }

    fn people(&self) -> MutexGuard<'_, BTreeMap<u64, Person>> {
        self.0.lock()
    }
}

impl Person {
    fn send(&self, text: &str) {
        self.send_line(format!("{text}\n").into_bytes().into());
    }

    /// Never blocks. A person whose outbox is full is disconnected.
    fn send_line(&self, line: Arc<[u8]>) {
        // After any other error the handler's read ends, and the person leaves.
        if self
            .outbox
            .push(line)
            .is_err_and(|e| e.kind() == ErrorKind::QuotaExceeded)
        {
            let connection = self.outbox.connection();
            log::warn!(
                "{} does not read, and is dropped",
                connection.client_address()
            );
            let _ = connection.shutdown();
        }
    }
}

/// Sends a line to everybody but the person with this number. All outboxes share its text.
fn broadcast(people: &BTreeMap<u64, Person>, except: u64, text: &str) {
    let line: Arc<[u8]> = format!("{text}\n").into_bytes().into();
    for (id, person) in people {
        if *id != except {
            person.send_line(Arc::clone(&line));
        }
    }
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&name.chars().count()) && name.chars().all(good)
}
