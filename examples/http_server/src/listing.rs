//! The listing of a folder without an index, for a browser.

use std::fmt::Write;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use cap_std::fs::Dir;
use html_escape::encode_text;
use humansize::{DECIMAL, format_size};

use super::date::http_date;
use super::page::page;
use super::response::Response;
use super::root::Root;
use super::status::Status;
use super::target::{Target, link};

/// One row. Folders come first, each kind by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    is_file: bool,
    sort_key: String,
    name: Vec<u8>,
    size: u64,
    modified: SystemTime,
}

pub fn respond(
    target: &Target<'_>,
    path: &Path,
    folder: &Dir,
    root: &Root,
) -> io::Result<Response> {
    let mut entries = Vec::new();
    for name in folder.entries()? {
        let name = name?.file_name();
        entries.extend(Entry::new(name.as_bytes(), root, &path.join(&name)));
    }
    entries.sort_unstable();
    let names = target
        .names
        .iter()
        .map(|name| String::from_utf8_lossy(name));
    let title = names.fold("/".to_owned(), |title, name| title + &name + "/");
    let main = format!("{}{}", way(target), table(&entries));
    let html = page(&format!("Index of {title}"), &main);
    Ok(Response::new(Status::OK).page(html))
}

impl Entry {
    /// `None` for what is not served: a pipe, a link that is broken or leads out of the directory.
    fn new(name: &[u8], root: &Root, path: &Path) -> Option<Self> {
        let metadata = root.metadata(path).ok()?;
        (metadata.is_file() || metadata.is_dir()).then(|| Entry {
            is_file: metadata.is_file(),
            sort_key: String::from_utf8_lossy(name).to_lowercase(),
            name: name.to_vec(),
            size: metadata.len(),
            modified: metadata
                .modified()
                .map_or(SystemTime::UNIX_EPOCH, |time| time.into_std()),
        })
    }

    fn row(&self) -> String {
        let (kind, slash) = if self.is_file {
            ("file", "")
        } else {
            ("folder", "/")
        };
        let (link, text) = (link(&self.name), String::from_utf8_lossy(&self.name));
        let text = encode_text(&text);
        let size = match self.is_file {
            true => format_size(self.size, DECIMAL),
            false => String::new(),
        };
        let date = http_date(self.modified);
        // `06 Nov 1994 08:49` of `Sun, 06 Nov 1994 08:49:37 GMT`.
        let changed = &date[5..22];
        format!(
            "<tr><td class=\"{kind}\"><a href=\"{link}{slash}\">{text}{slash}</a></td>\
             <td>{size}</td><td>{changed}</td></tr>\n"
        )
    }
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "<main>\n<p>This folder is empty.</p>\n</main>\n".to_owned();
    }
    let rows: String = entries.iter().map(Entry::row).collect();
    format!(
        "<main>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Changed (UTC)</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</main>\n"
    )
}

/// Links to the folders above, and the name of this one.
fn way(target: &Target<'_>) -> String {
    let mut links = String::from("<nav>\n<a href=\"/\">Home</a>\n");
    let mut url = String::from("/");
    for name in &target.names {
        let _ = write!(url, "{}/", link(name));
        let text = String::from_utf8_lossy(name);
        let text = encode_text(&text);
        let _ = writeln!(links, "<a href=\"{url}\">{text}</a>");
    }
    links + "</nav>\n"
}
