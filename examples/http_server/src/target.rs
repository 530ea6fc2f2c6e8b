use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, percent_encode,
};

/// The characters that are not escaped in a link.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as a part of a link.
pub fn link(name: &[u8]) -> PercentEncode<'_> {
    percent_encode(name, NAME)
}

/// The path in a request's URL: names relative to the served directory, without dots.
pub struct Target<'a> {
    pub names: Vec<Vec<u8>>,
    /// Whether it ends with a slash, as the URL of a folder does.
    pub is_folder: bool,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Dots are resolved after decoding, and before anything is opened: `..` of the served directory
    /// is itself.
    pub fn new(url: &'a str) -> Self {
        let url = without_host(url).split('#').next().unwrap_or_default();
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        let mut names = Vec::new();
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        for name in decoded.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name.to_vec()),
            }
        }
        Target {
            names,
            is_folder: path.ends_with('/'),
            query,
        }
    }

    /// Relative to the served directory, whose own path is `.`.
    pub fn path(&self) -> PathBuf {
        let names = self.names.iter().cloned().map(OsString::from_vec);
        PathBuf::from(".").join(names.collect::<PathBuf>())
    }

    /// The URL with a slash at its end. It is built from the names, so it cannot lead to another host,
    /// as `//host/` and `/\host/` would.
    pub fn folder_url(&self) -> String {
        let mut url = String::from("/");
        for name in &self.names {
            url += &format!("{}/", link(name));
        }
        match self.query {
            Some(query) => url + "?" + query,
            None => url,
        }
    }
}

/// A client may send an absolute URL, as to a proxy (RFC 9112, 3.2.2).
fn without_host(url: &str) -> &str {
    match url.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}
