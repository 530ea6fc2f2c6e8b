//! The example `http_server` and files without read permission: clients get 404, and the log has
//! the reason.

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

/// A site with a file and a folder that their owner may not read.
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
    let mode = Permissions::from_mode(0o0);
    fs::set_permissions(site.path().join(name), mode).expect("the permissions can be changed");
}

/// The command that runs the server on a site. If the test runs as root, the command drops the
/// privileges that would allow the server to read everything.
fn server(site: &Site) -> Command {
    let path = site.path();
    let path = path.to_str().expect("the path is UTF-8");
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
fn an_unreadable_file_is_not_found_and_the_log_has_the_reason() {
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

/// Paths that do not exist, are invalid or lead out of the directory are errors of the client.
#[test]
fn a_path_that_is_not_found_is_not_logged_as_an_error() {
    let site = Site::new();
    site.link("out", "..");
    site.link("loop", "loop");
    let _socket =
        UnixListener::bind(site.path().join("socket")).expect("the temporary folder is writable");
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
fn an_unreadable_root_directory_is_an_error() {
    let site = unreadable();
    let mut command = server(&site);
    forbid(&site, "");
    let output = command.output().expect("the program can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let expected = format!("http_server: cannot serve {}: ", site.path().display());
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert!(stderr.contains(FORBIDDEN), "{stderr}");
}
