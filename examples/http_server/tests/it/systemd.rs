//! The server as a service: its socket comes from `systemd-socket-activate`.

use nix::sys::signal::Signal;

use support::example::{Example, command};
use support::program::installed;
use support::systemd::{Manager, activate, free_address};

use crate::PROGRAM;
use crate::site::{Site, TEXT};

support::for_threads_and_green! {
    the_first_client_starts_the_server_and_is_answered
}

fn the_first_client_starts_the_server_and_is_answered(options: &[&str]) {
    let site = Site::new();
    let manager = Manager::new();
    let mut server = command(PROGRAM, options);
    server.env("NOTIFY_SOCKET", &manager.name);
    server
        .arg("--directory")
        .arg(site.path())
        .arg("systemd:http");
    let address = || vec![free_address()];
    let (child, addresses) = activate(&["--fdname=http"], address, &server);
    let mut curl = installed("curl", "--version");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    curl.arg(format!("http://{}/a.txt", addresses[0]));
    let output = curl.output().expect("curl is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), TEXT);
    let server = Example::of(child);
    manager.wait_for("READY=1");
    server.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert!(server.finish().0.success());
}
