//! The example `http_server` and files without read permission: clients get 404, and the log has the
//! reason.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::sys::signal::Signal;
use support::example::{self, Example};
use support::program;

use crate::PROGRAM;
use crate::site::{Client, Site};

const FORBIDDEN: &str = "Permission denied";

/// A file that its owner may not read, in a folder of the same kind.
fn unreadable() -> Site {
    let site = Site::new();
    site.add("file.txt", "");
    site.add("folder/index.html", "");
    for name in ["file.txt", "folder"] {
        forbid(&site, name);
    }
    site
}

fn forbid(site: &Site, name: &str) {
    let nothing = Permissions::from_mode(0o0);
    fs::set_permissions(site.path().join(name), nothing).expect("it is ours");
}

/// The server on a site; `None` where there is no program to take root's privileges away, with which it
/// could read everything.
fn server(site: &Site) -> Command {
    let path = site.path();
    let path = path.to_str().expect("its name is text");
    let server = example::command(PROGRAM, &["127.0.0.1:0", "--directory", path]);
    if File::open(site.path().join("file.txt")).is_err() {
        return server;
    }
    let mut command = program::installed("setpriv", "--version");
    command.arg("--bounding-set=-all");
    command.arg(server.get_program()).args(server.get_args());
    command
}

#[test]
fn what_cannot_be_read_is_not_found_and_the_log_says_why() {
    let site = unreadable();
    let command = server(&site);
    let server = Example::launch(command);
    let mut client = Client::new(&server.address);
    for path in ["/file.txt", "/folder/", "/folder/index.html"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 3, "{log}");
    for (error, path) in errors
        .iter()
        .zip(["/file.txt", "/folder/", "/folder/index.html"])
    {
        assert!(error.contains(&format!("{path}: {FORBIDDEN}")), "{log}");
    }
}

/// What is not there, is no name or leads out is the client's affair.
#[test]
fn what_is_merely_not_found_is_no_error() {
    let site = Site::new();
    site.link("out", "..");
    site.link("loop", "loop");
    let _socket = UnixListener::bind(site.path().join("socket")).expect("the folder is ours");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    let long = format!("/{}", "x".repeat(300));
    for path in [
        "/none", "/a.txt/b", "/a%00b", "/out/", "/loop", "/socket", &long,
    ] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error() {
    let site = unreadable();
    let mut command = server(&site);
    forbid(&site, "");
    let output = command.output().expect("it is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!("http_server: cannot serve {}: ", site.path().display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains(FORBIDDEN), "{said}");
}
