//! The example `dns_server` with queries of `dig`.

use nix::sys::signal::Signal;
use support::example::Example;

use crate::client::{dig, start, start_with};

const SOA: &str = "example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. \
                   2026112101 7200 3600 1209600 300";

/// Sends a query, and checks the status, the flags and the other lines of the answer.
fn assert_answer(server: &Example, question: &str, status: &str, flags: &str, lines: &[&str]) {
    let answer = dig(server, question);
    let status = format!("status: {status},");
    assert!(answer.contains(&status), "{question}: {answer}");
    let flags = format!("flags: {flags}; QUERY");
    assert!(answer.contains(&flags), "{question}: {answer}");
    let records = answer.lines().filter(|line| !line.starts_with(';'));
    assert_eq!(records.collect::<Vec<_>>(), lines, "{question}");
}

#[test]
fn each_record_type_is_answered_over_udp_and_tcp() {
    let server = start();
    for way in ["+notcp", "+tcp"] {
        for (question, records) in [
            ("example.com A", &["example.com. 3600 IN A 192.0.2.1"][..]),
            (
                "example.com AAAA",
                &["example.com. 3600 IN AAAA 2001:db8::1"],
            ),
            (
                "example.com TXT",
                &["example.com. 3600 IN TXT \"v=spf1 mx -all\""],
            ),
            (
                "example.com SOA",
                &[
                    "example.com. 3600 IN SOA ns1.example.com. hostmaster.example.com. \
                   2026112101 7200 3600 1209600 300",
                ],
            ),
            (
                "example.com MX",
                &[
                    "example.com. 3600 IN MX 10 mail.example.com.",
                    "example.com. 3600 IN MX 20 mail.example.net.",
                    "mail.example.com. 60 IN A 192.0.2.4",
                    "mail.example.com. 3600 IN AAAA 2001:db8::4",
                ],
            ),
            (
                "example.com NS",
                &[
                    "example.com. 3600 IN NS ns1.example.com.",
                    "example.com. 3600 IN NS ns2.example.com.",
                    "ns1.example.com. 3600 IN A 192.0.2.2",
                    "ns2.example.com. 3600 IN A 192.0.2.3",
                ],
            ),
            (
                "www.example.com CNAME",
                &["www.example.com. 3600 IN CNAME example.com."],
            ),
            (
                "ada.users.example.com TXT",
                &["ada.users.example.com. 3600 IN TXT \
                   \"a semicolon; and \\\"quotes\\\"\" \"and \\195\\188\""],
            ),
        ] {
            assert_answer(
                &server,
                &format!("{way} {question}"),
                "NOERROR",
                "qr aa rd",
                records,
            );
        }
    }
}

#[test]
fn names_are_case_insensitive() {
    let server = start();
    let record = ["example.com. 3600 IN A 192.0.2.1"];
    assert_answer(&server, "eXaMpLe.CoM", "NOERROR", "qr aa rd", &record);
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let server = start();
    let www = "www.example.com. 3600 IN CNAME example.com.";
    let ftp = "ftp.example.com. 3600 IN CNAME www.example.com.";
    let a = "example.com. 3600 IN A 192.0.2.1";
    let external = "shop.example.com. 3600 IN CNAME shops.example.net.";
    let missing = "lost.example.com. 3600 IN CNAME nowhere.example.com.";
    for (question, status, records) in [
        ("ftp.example.com", "NOERROR", &[ftp, www, a][..]),
        ("shop.example.com", "NOERROR", &[external]),
        ("lost.example.com", "NXDOMAIN", &[missing, SOA]),
        ("www.example.com SRV", "NOERROR", &[www, SOA]),
    ] {
        assert_answer(&server, question, status, "qr aa rd", records);
    }
}

#[test]
fn a_loop_of_aliases_is_answered() {
    let server = start();
    let records = [
        "loop.example.com. 3600 IN CNAME pool.example.com.",
        "pool.example.com. 3600 IN CNAME loop.example.com.",
    ];
    assert_answer(&server, "loop.example.com", "NOERROR", "qr aa rd", &records);
}

#[test]
fn a_missing_name_differs_from_a_missing_record() {
    let server = start();
    for (question, status) in [
        ("nowhere.example.com", "NXDOMAIN"),
        ("x.www.example.com", "NXDOMAIN"),
        ("mail.example.com MX", "NOERROR"),
        // The name exists because a.deep exists.
        ("deep.example.com", "NOERROR"),
    ] {
        assert_answer(&server, question, status, "qr aa rd", &[SOA]);
    }
}

#[test]
fn wildcards_match_names_that_do_not_exist() {
    let server = start();
    let bob = ["bob.users.example.com. 3600 IN A 192.0.2.6"];
    assert_answer(
        &server,
        "bob.users.example.com",
        "NOERROR",
        "qr aa rd",
        &bob,
    );
    assert_answer(
        &server,
        "bob.users.example.com TXT",
        "NOERROR",
        "qr aa rd",
        &[SOA],
    );
    assert_answer(
        &server,
        "ada.users.example.com A",
        "NOERROR",
        "qr aa rd",
        &[SOA],
    );
}

#[test]
fn queries_for_a_subzone_get_a_referral() {
    let server = start();
    let servers = [
        "sub.example.com. 3600 IN NS ns.sub.example.com.",
        "ns.sub.example.com. 3600 IN A 192.0.2.7",
    ];
    for question in [
        "sub.example.com NS",
        "a.b.sub.example.com",
        "ns.sub.example.com",
    ] {
        assert_answer(&server, question, "NOERROR", "qr rd", &servers);
    }
}

#[test]
fn queries_outside_of_the_zone_are_refused() {
    let server = start();
    for question in [
        "example.org",
        "com",
        "notexample.com",
        ".",
        "example.com -c CH",
    ] {
        assert_answer(&server, question, "REFUSED", "qr rd", &[]);
    }
    let transfer = dig(&server, "example.com AXFR");
    assert!(transfer.contains("Transfer failed."), "{transfer}");
}

#[test]
fn other_opcodes_and_edns_versions_have_different_errors() {
    let server = start();
    for (question, status) in [
        ("+opcode=NOTIFY example.com", "NOTIMP"),
        ("+opcode=UPDATE example.com", "NOTIMP"),
        ("+opcode=9 example.com", "NOTIMP"),
        ("+header-only +noedns", "FORMERR"),
        ("+edns=1 +noednsnegotiation example.com", "BADVERS"),
    ] {
        assert_answer(&server, question, status, "qr rd", &[]);
    }
}

/// 40 records of 60 bytes: over 1,232 bytes with EDNS, over 512 without it.
fn big_zone() -> String {
    let records = (0..40).map(|n| format!("big TXT \"{n:048}\"\n"));
    let few = (0..10).map(|n| format!("few TXT \"{n:048}\"\n"));
    let start = "$ORIGIN big.example.\n$TTL 60\n@ SOA ns mail 1 2 3 4 5\n".to_owned();
    start + &records.collect::<String>() + &few.collect::<String>()
}

#[test]
fn answers_too_long_for_udp_are_retried_over_tcp() {
    let server = start_with(&big_zone());
    for (question, retries) in [
        ("big.big.example TXT", true),
        ("+bufsize=65535 big.big.example TXT", true),
        ("few.big.example TXT", false),
        ("+bufsize=512 few.big.example TXT", true),
        ("+noedns few.big.example TXT", true),
        ("+tcp big.big.example TXT", false),
    ] {
        let answer = dig(&server, question);
        let retried = answer.contains(";; Truncated, retrying in TCP mode.");
        assert_eq!(retried, retries, "{question}: {answer}");
        let records = answer.lines().filter(|line| line.contains(" IN TXT "));
        let expected = if question.contains("few.") { 10 } else { 40 };
        assert_eq!(records.count(), expected, "{question}");
    }
    let truncated = dig(&server, "+ignore big.big.example TXT");
    assert!(
        truncated.contains("flags: qr aa tc rd; QUERY: 1, ANSWER: 0"),
        "{truncated}"
    );
}

#[test]
fn udp_and_tcp_get_the_same_free_port() {
    let servers: Vec<_> = (0..10).map(|_| start()).collect();
    let record = ["example.com. 3600 IN A 192.0.2.1"];
    for server in &servers {
        assert_answer(server, "+tcp example.com", "NOERROR", "qr aa rd", &record);
        assert_answer(server, "+notcp example.com", "NOERROR", "qr aa rd", &record);
    }
}

#[test]
fn ctrl_c_ends_the_server() {
    let server = start();
    server.signal(Signal::SIGINT);
    let (status, output, _) = server.finish();
    assert!(status.success());
    assert_eq!(output, "");
}
