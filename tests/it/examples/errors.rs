//! Examples that cannot start print one helpful line to stderr, and exit with status 1.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use support::example::run;
use support::{ANY, socket_folder, socket_path};

/// Runs an example that cannot start, and checks that its error line contains each of `words`.
fn expect_failure(name: &str, arguments: &[&str], words: &[&str]) {
    let output = run(name, arguments);
    let printed = String::from_utf8(output.stderr).expect("the text is UTF-8");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {printed}");
    assert_eq!(printed.lines().count(), 1, "{arguments:?}: {printed}");
    assert!(printed.starts_with(&format!("{name}: ")), "{printed}");
    for word in words {
        assert!(printed.contains(word), "{word:?} is not in {printed:?}");
    }
    assert_eq!(output.stdout, b"", "{arguments:?}");
}

#[test]
fn invalid_address_text_is_quoted_in_the_error() {
    for name in ["echo_server", "upper_server", "udp_echo_server"] {
        for address in ["invalid", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", ""] {
            let quoted = format!("{address:?} is not an address");
            expect_failure(name, &[address], &[&quoted]);
        }
    }
}

#[test]
fn the_error_of_a_port_in_use_suggests_a_correction() {
    let taken = TcpListener::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let words = [
        &*address,
        "in use",
        "another program listens there",
        "another port",
    ];
    expect_failure("echo_server", &[&address], &words);
    expect_failure("upper_server", &[&address], &words);
    expect_failure("echo_server", &[&address, "--server", "tcp"], &words);

    let taken = UdpSocket::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let words = [
        &*address,
        "in use",
        "another program uses it",
        "another port",
    ];
    expect_failure("udp_echo_server", &[&address], &words);
    expect_failure("udp_echo_server", &[&address, "--threading"], &words);
}

#[test]
fn the_error_names_an_address_of_no_local_interface() {
    // 192.0.2.0/24 is for documentation only (RFC 5737). Nothing is sent.
    for name in ["echo_server", "upper_server", "udp_echo_server"] {
        expect_failure(name, &["192.0.2.1:0"], &["192.0.2.1:0", "no interface"]);
    }
}

#[test]
fn the_error_of_a_long_path_names_its_length_and_the_limit() {
    let path = format!("/tmp/{}", "x".repeat(200));
    for kind in ["unix-stream", "threading-unix-stream"] {
        let words = [&*path, "too long", "205 bytes", "107 at most"];
        expect_failure("echo_server", &["--server", kind, &path], &words);
    }
}

#[test]
fn a_file_at_the_path_is_not_replaced() {
    let (_folder, path) = socket_path();
    fs::write(&path, "file content").expect("the temporary folder is writable");
    let text = path.to_str().expect("the path is UTF-8");
    for kind in ["unix-stream", "threading-unix-stream"] {
        let words = [text, "not a socket", "choose another path"];
        expect_failure("echo_server", &["--server", kind, text], &words);
    }
    let kept = fs::read_to_string(&path).expect("the file exists");
    assert_eq!(kept, "file content");
}

#[test]
fn a_path_in_use_by_another_server_is_not_replaced() {
    let (_folder, path) = socket_path();
    let _live = UnixListener::bind(&path).expect("the temporary folder is writable");
    let text = path.to_str().expect("the path is UTF-8");
    let words = [text, "another program listens there"];
    expect_failure("echo_server", &["--server", "unix-stream", text], &words);
    assert!(path.exists());
}

#[test]
fn the_error_names_a_path_in_a_missing_folder() {
    let folder = socket_folder();
    let path = folder.path().join("missing").join("socket");
    let text = path.to_str().expect("the path is UTF-8");
    for kind in ["unix-stream", "threading-unix-stream"] {
        let words = [text, "No such file or directory"];
        expect_failure("echo_server", &["--server", kind, text], &words);
    }
}

#[test]
fn a_unix_server_needs_a_path() {
    expect_failure("echo_server", &["--server", "unix-stream", ""], &["path"]);
}

#[test]
fn usage_errors_have_status_2_and_name_the_help_option() {
    for (name, arguments) in [
        ("echo_server", &["--bogus"][..]),
        ("echo_server", &["--server", "carrier-pigeon"]),
        ("echo_server", &["--server"]),
        ("echo_server", &["--max-threads", "0"]),
        ("echo_server", &["--max-threads", "-1"]),
        ("echo_server", &["--max-threads", "many"]),
        ("echo_server", &[ANY, "and more"]),
        ("upper_server", &["--threading"]),
        ("upper_server", &[ANY, "and more"]),
        ("udp_echo_server", &["--bogus"]),
        ("udp_echo_server", &["--threading=maybe"]),
    ] {
        let output = run(name, arguments);
        let printed = String::from_utf8(output.stderr).expect("the text is UTF-8");
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name} {arguments:?}: {printed}"
        );
        assert!(
            printed.contains("--help"),
            "{name} {arguments:?}: {printed}"
        );
        assert_eq!(output.stdout, b"", "{name} {arguments:?}");
    }
}
