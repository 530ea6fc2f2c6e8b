//! The example `log_receiver`: its limits of memory, time and connections.

use std::io::Write;

use nix::sys::signal::Signal;
use support::eventually;
use support::example::{self, Example};
use support::process::{peak_resident, resident};

use crate::PROGRAM;
use crate::records::{connect, ends, good, read_line, record, send, start, text};

/// Records that say much more than they are long: by what is used again, or by the format.
fn expanding() -> Vec<(&'static str, Vec<u8>)> {
    let any = |length: usize| text(&"x".repeat(length));
    let put = |n: u32| [b"r", &n.to_le_bytes()[..]].concat();
    let puts = [any(500_000), (0..100_000).flat_map(put).collect()].concat();
    let mut doubled = [b"](", &b"K\x01".repeat(150_000)[..], b"eq\0"].concat();
    for level in 0..16 {
        doubled.extend([b'h', level, 0x86, b'q', level + 1]);
    }
    let call = b"c_codecs\nencode\nh\0\x85R";
    let calls = [any(900_000), b"q\0".to_vec(), call.repeat(2000)].concat();
    let named = [b"}U\x01a", &any(100_000)[..], b"s"].concat();
    let named = |format: &str| {
        let format = text(&format.repeat(900_000 / format.len()));
        [b"}(U\x03msg", &format[..], b"U\x04args", &named, b"u."].concat()
    };
    let same = [any(100_000), b"q\0".to_vec(), b"h\0".repeat(249)].concat();
    vec![
        ("stored again", record(&puts, b"")),
        ("values", record(&text("%s"), &b"N".repeat(199_000))),
        (
            "memo",
            record(&text("%s"), &[b"N", &b"\x94".repeat(199_000)[..]].concat()),
        ),
        ("marks", [b"}", &b"(".repeat(199_000)[..], b"."].concat()),
        ("doubled", record(&text("%s"), &doubled)),
        ("contains itself", record(&text("%s"), b"]q\0(h\0h\0h\0e")),
        ("converted again", record(&text("%s"), &calls)),
        ("one argument by name", named("%(a)s")),
        ("one argument by name, in full width", named("%(a)1000.0s")),
        (
            "one argument by index",
            record(&text(&"%s".repeat(250)), &same),
        ),
        (
            "repr without output",
            record(&text(&"%.0r".repeat(250)), &same),
        ),
        (
            "width",
            record(&text(&"%1000d".repeat(4000)), &b"K\x01".repeat(4000)),
        ),
        ("huge width", record(&text("%099999999d"), b"K\x01")),
        ("escapes", record(&text(&"\x01".repeat(900_000)), b"")),
        (
            "escapes of repr",
            record(&text("%r"), &text(&"\u{202e}".repeat(300_000))),
        ),
        (
            "escapes of ascii",
            record(&text("%a"), &text(&"\u{1f600}".repeat(200_000))),
        ),
    ]
}

/// Each of them took up to 2.4 GiB when copies were made of what a pickle uses again.
#[test]
fn no_record_uses_much_memory() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    send(&mut stream, &good("first"));
    assert_eq!(read_line(&mut receiver), "- - -: first\n");
    for (name, pickle) in expanding() {
        assert!(pickle.len() <= 1 << 20, "{name}");
        send(&mut stream, &pickle);
        send(&mut stream, &good(name));
        // An invalid record is not printed.
        let after = format!("- - -: {name}\n");
        let printed = read_line(&mut receiver);
        assert!(
            printed.len() <= pickle.len() + (1 << 16) + 11,
            "{name}: {}",
            printed.len()
        );
        if printed != after {
            assert_eq!(read_line(&mut receiver), after);
        }
        let peak = peak_resident(receiver.pid());
        assert!(peak < 32 << 10, "{name}: {peak} KiB");
    }
}

#[test]
fn a_long_record_is_cut_off() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    send(
        &mut stream,
        &record(&text("%(a"), &text(&"é".repeat(500_000))),
    );
    let long = record(&text(&"\x01".repeat(500_000)), b"");
    send(&mut stream, &long);
    let line = read_line(&mut receiver);
    assert!(line.starts_with("- - -: %(a ('éé") && line.ends_with("é',)\n"));
    let line = read_line(&mut receiver);
    assert!(line.starts_with("- - -: \\u{1}\\u{1}"), "{line:.40}");
    assert!(line.ends_with(" [cut off]\n"));
    assert_eq!(line.len(), long.len() + (1 << 16) + 11);
}

/// Long records are received from all connections at once, so that each needs a buffer.
#[test]
fn idle_connections_do_not_keep_the_memory_of_long_records() {
    let mut command = example::command(PROGRAM, &["127.0.0.1:0", "--first-timeout", "3600"]);
    // With this setting the C library returns freed memory to the system.
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    let mut receiver = Example::launch(command);
    let long = record(&text("%s"), &text(&"x".repeat(1_000_000)));
    let mut streams: Vec<_> = (0..40).map(|_| connect(&receiver)).collect();
    let (begin, end) = long.split_at(long.len() - 1);
    let length = u32::try_from(long.len()).expect("the length fits");
    for stream in &mut streams {
        let sent = stream.write_all(&[&length.to_be_bytes(), begin].concat());
        sent.expect("the server reads");
    }
    // Soon after, because the server does not wait long for the rest of a record.
    for stream in &mut streams {
        stream.write_all(end).expect("the server reads");
    }
    for _ in &streams {
        assert_eq!(read_line(&mut receiver).len(), 1_000_008);
    }
    eventually("all wait", || receiver.is_asleep());
    let kept = resident(receiver.pid());
    assert!(kept < 32 << 10, "{kept} KiB");
}

#[test]
fn a_stranger_that_sends_nothing_is_disconnected() {
    let mut receiver = Example::start(PROGRAM, &["127.0.0.1:0", "--first-timeout", "2"]);
    let mut client = connect(&receiver);
    send(&mut client, &good("first"));
    assert_eq!(read_line(&mut receiver), "- - -: first\n");
    ends(&mut connect(&receiver));
    let mut slow = connect(&receiver);
    slow.write_all(b"\0\0\0\x09}").expect("the server reads");
    ends(&mut slow);
    // The limit was for the first record only.
    send(&mut client, &good("second"));
    assert_eq!(read_line(&mut receiver), "- - -: second\n");
    receiver.signal(Signal::SIGTERM);
    let (_, _, log) = receiver.finish();
    assert_eq!(log.matches("was disconnected: ").count(), 2, "{log}");
    assert!(!log.contains("[ERROR]"), "{log}");
}

/// A client may be idle between two records for longer than inside of one.
#[test]
fn an_idle_client_is_disconnected() {
    let receiver = Example::start(PROGRAM, &["127.0.0.1:0", "--idle-timeout", "1"]);
    ends(&mut connect(&receiver));
    receiver.signal(Signal::SIGTERM);
    let (_, _, log) = receiver.finish();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn connections_have_a_limit() {
    let options = ["127.0.0.1:0", "--max-connections", "3", "--per-ip", "2"];
    let mut receiver = Example::start(PROGRAM, &options);
    let mut served = [connect(&receiver), connect(&receiver)];
    for stream in &mut served {
        send(stream, &good("served"));
        assert_eq!(read_line(&mut receiver), "- - -: served\n");
    }
    ends(&mut connect(&receiver));
    drop(served);
}
