//! Other people's clients: `openssl s_client` and Python's `ssl`, with `echo_server`.

use std::io::Write;
use std::process::{Command, Stdio};

use support::ANY;
use support::example::{Example, TCP_KINDS};
use support::program::installed;
use support::python::script;
use support::tls::AUTHORITY;

fn echo_server(kind: &str, more: &[&str]) -> Example {
    let (certificate, key) = AUTHORITY.certify("DNS:localhost,IP:127.0.0.1");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let options = [
        ANY,
        "--server",
        kind,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    Example::start("echo_server", &[&options, more].concat())
}

/// What `openssl s_client` receives for a line, and what it says.
fn s_client(server: &Example, options: &[&str]) -> (String, String) {
    let mut command = installed("openssl", "version");
    command.args(["s_client", "-connect", &server.address, "-CAfile"]);
    command.arg(AUTHORITY.pem());
    command.args([
        "-servername",
        "localhost",
        "-verify_return_error",
        "-ign_eof",
    ]);
    command.args(options);
    run(command, b"hello\n")
}

fn run(mut command: Command, input: &[u8]) -> (String, String) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may have ended already, with an error.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn openssl_speaks_both_versions_with_all_kinds() {
    for kind in TCP_KINDS {
        // The client stays until the server ends the connection. On a busy machine it may begin late.
        let server = echo_server(kind, &["--idle-timeout", "1.5"]);
        for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let (output, log) = s_client(&server, &[option]);
            assert!(output.contains("\nhello\n"), "{kind}: {output}{log}");
            assert!(output.contains(version), "{kind}: {output}");
            assert!(output.contains("Verify return code: 0"), "{kind}: {output}");
            assert!(output.trim_end().ends_with("closed"), "{kind}: {output}");
        }
    }
}

#[test]
fn openssl_shows_its_certificate() {
    let authority = support::certificates::Authority::new("Clients");
    let (certificate, key) = authority.certify("DNS:client");
    let ca = authority.pem().display().to_string();
    let server = echo_server(
        "threading-tcp",
        &["--tls-client-ca", &ca, "--idle-timeout", "1.5"],
    );
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let (output, _) = s_client(&server, &["-cert", &certificate, "-key", &key]);
    assert!(output.contains("\nhello\n"), "{output}");
    let (output, log) = s_client(&server, &[]);
    assert!(!output.contains("\nhello\n"), "{output}");
    assert!(log.contains("certificate required"), "{log}");
}

#[test]
fn a_python_client_sees_a_proper_end() {
    for kind in TCP_KINDS {
        let server = echo_server(kind, &[]);
        let mut command = script("tls_client.py");
        command.arg(&server.address).arg(AUTHORITY.pem());
        let (output, log) = run(command, b"");
        assert_eq!(output, "done\n", "{kind}: {log}");
    }
}
