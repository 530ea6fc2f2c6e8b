//! Who is there, and what they may say.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use socketserver::request::Connection;

use super::outbox::Outbox;

/// The people in it, by their connections' numbers. The lock is held while a line is handed out, so
/// all see all lines in the same order; nothing blocks meanwhile.
#[derive(Default)]
pub struct Room(Mutex<BTreeMap<u64, Person>>);

struct Person {
    name: String,
    outbox: Arc<Outbox>,
    connection: Connection,
}

impl Room {
    pub fn enter(&self, connection: Connection, outbox: Arc<Outbox>) {
        let id = connection.id();
        let mut people = self.0.lock();
        let mut name = format!("guest{id}");
        while people.values().any(|person| person.name == name) {
            name.push('_');
        }
        let person = Person {
            name: name.clone(),
            outbox,
            connection,
        };
        person.hear(&format!(
            "* welcome, {name}; there are /nick NAME, /who and /quit"
        ));
        people.insert(id, person);
        hear_all(&people, id, &format!("* {name} has come"));
    }

    pub fn leave(&self, id: u64) {
        let mut people = self.0.lock();
        if let Some(person) = people.remove(&id) {
            person.outbox.close();
            hear_all(&people, id, &format!("* {} has left", person.name));
        }
    }

    /// Does what a line says; false if it says to leave.
    pub fn obey(&self, id: u64, line: &str) -> bool {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("/quit", _) => return false,
            ("/who", _) => self.tell(id, &self.names()),
            ("/nick", name) => self.rename(id, name.trim()),
            (command, _) if command.starts_with('/') => {
                self.tell(id, "there are /nick NAME, /who and /quit")
            }
            _ => self.say(id, line),
        }
        true
    }

    /// The server's word to one person.
    pub fn tell(&self, id: u64, text: &str) {
        if let Some(person) = self.0.lock().get(&id) {
            person.hear(&format!("* {text}"));
        }
    }

    fn say(&self, id: u64, text: &str) {
        let people = self.0.lock();
        if let Some(person) = people.get(&id) {
            hear_all(&people, id, &format!("{}: {text}", person.name));
        }
    }

    fn names(&self) -> String {
        let people = self.0.lock();
        let names: Vec<_> = people.values().map(|person| &*person.name).collect();
        format!("here: {}", names.join(", "))
    }

    fn rename(&self, id: u64, name: &str) {
        if !is_name(name) {
            return self.tell(id, "a name is 1 to 32 letters, digits, - and _");
        }
        let mut people = self.0.lock();
        let taken = people
            .iter()
            .any(|(other, person)| *other != id && person.name == name);
        let Some(person) = people.get_mut(&id) else {
            return;
        };
        if taken {
            return person.hear(&format!("* somebody else is {name}"));
        }
        let old = std::mem::replace(&mut person.name, name.to_owned());
        person.hear(&format!("* you are now {name}"));
        hear_all(&people, id, &format!("* {old} is now {name}"));
    }
}

impl Person {
    fn hear(&self, line: &str) {
        if !self.outbox.put(&format!("{line}\n")) {
            log::warn!(
                "{} does not read, and is dropped",
                self.connection.client_address()
            );
            // Its handler sees the end of the stream, and leaves the room.
            let _ = self.connection.shutdown();
        }
    }
}

/// Everybody but the speaker.
fn hear_all(people: &BTreeMap<u64, Person>, speaker: u64, line: &str) {
    for (id, person) in people {
        if *id != speaker {
            person.hear(line);
        }
    }
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&name.chars().count()) && name.chars().all(good)
}
