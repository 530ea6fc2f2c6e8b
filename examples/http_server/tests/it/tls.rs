//! The example `http_server` over HTTPS, with curl.

use std::process::Output;

use support::certificates::Authority;
use support::example::{Example, run};
use support::program;

use crate::PROGRAM;
use crate::site::{Site, TEXT};

support::for_threads_and_green! {
    curl_reads_a_page_over_https
    clients_need_a_certificate
}

fn serve(site: &Site, authority: &Authority, options: &[&str]) -> Example {
    let (certificate, key) = authority.certify("DNS:localhost,IP:127.0.0.1");
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    site.serve_with(&[&tls, options].concat())
}

fn curl(server: &Example, authority: &Authority, options: &[&str]) -> Output {
    let mut curl = program::installed("curl", "--version");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
        .arg(authority.pem())
        .args(options)
        .arg(format!("https://{}/a.txt", server.address));
    curl.output().expect("curl is installed")
}

fn text(output: &Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

fn curl_reads_a_page_over_https(options: &[&str]) {
    let (site, authority) = (Site::new(), Authority::new("Test"));
    let server = serve(&site, &authority, options);
    let ask = |options: &[&str]| text(&curl(&server, &authority, options));
    assert_eq!(ask(&[]), TEXT);
    assert_eq!(ask(&["--http1.1"]), TEXT);
    assert_eq!(ask(&["--tls-max", "1.2"]), TEXT);
    assert_eq!(ask(&["--tlsv1.3"]), TEXT);
    assert_eq!(ask(&["--no-alpn", "--no-sessionid"]), TEXT);
    assert_eq!(ask(&["--range", "1-3"]), TEXT[1..=3]);
    assert!(ask(&["--head"]).starts_with("HTTP/1.1 200 OK"));
    // One connection for both.
    let again = format!("https://{}/a.txt", server.address);
    let printed = ask(&["-w", "%{num_connects}", &again]);
    assert_eq!(printed, format!("{TEXT}1{TEXT}0"));
    // Somebody else's certificate.
    let stranger = Authority::new("Stranger");
    let refused = curl(&server, &stranger, &[]);
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");
}

fn clients_need_a_certificate(options: &[&str]) {
    let (site, authority) = (Site::new(), Authority::new("Test"));
    let ca = authority.pem().display().to_string();
    let options = [options, &["--tls-client-ca", &ca]].concat();
    let server = serve(&site, &authority, &options);
    assert!(!curl(&server, &authority, &[]).status.success());
    let (certificate, key) = authority.certify("DNS:client");
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let output = curl(
        &server,
        &authority,
        &["--cert", &certificate, "--key", &key],
    );
    assert_eq!(text(&output), TEXT);
}

#[test]
fn a_certificate_needs_its_key() {
    let output = run(PROGRAM, &["127.0.0.1:0", "--tls-cert", "cert.pem"]);
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("--tls-key"), "{log}");
    let files = ["--tls-cert", "missing.pem", "--tls-key", "key.pem"];
    let output = run(PROGRAM, &[&["127.0.0.1:0"], &files[..]].concat());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("cannot read missing.pem"), "{log}");
}
