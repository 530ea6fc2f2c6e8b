//! The example `http_server` under the load of wrk.

use support::program;
use support::{eventually, process};

use crate::site::{Client, Site};

support::for_threads_and_green! {
    no_errors_at_256_connections
}

/// The output of wrk with 256 connections that request a path for two seconds.
fn wrk(address: &str, path: &str) -> String {
    let mut wrk = program::installed("wrk", "--version");
    wrk.args(["-t2", "-c256", "-d2s", "--timeout", "20s"]);
    let output = wrk.arg(format!("http://{address}{path}")).output();
    let output = output.expect("wrk is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text")
}

fn no_errors_at_256_connections(options: &[&str]) {
    let site = Site::new();
    site.add("big.bin", vec![b'x'; 200_000]);
    let quiet = ["--quiet", "--idle-timeout", "3600"];
    let server = site.serve_with(&[&quiet, options].concat());
    // With `--green` the first connection starts the threads, and they have descriptors. It stays open, and no file
    // does, which might be closed after its answer.
    let mut first = Client::new(&server.address);
    assert_eq!(first.get("/missing").status, 404);
    let before = process::descriptors(server.pid());
    for path in ["/a.txt", "/big.bin", "/"] {
        let report = wrk(&server.address, path);
        let requests = report.split(" requests in ").next();
        let requests = requests.and_then(|text| text.split_whitespace().last());
        let requests: usize = requests.and_then(|n| n.parse().ok()).expect(&report);
        // The number of requests depends on the machine.
        assert!(requests > 0, "{path}: {report}");
        // wrk prints this line only if there are errors.
        for error in ["Socket errors", "Non-2xx"] {
            assert!(!report.contains(error), "{path}: {report}");
        }
    }
    eventually("every descriptor is closed", || {
        process::descriptors(server.pid()) == before
    });
}
