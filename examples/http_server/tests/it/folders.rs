//! The example `http_server`: listings, redirects, and files outside of the directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::site::{Client, Site, TEXT, ask};

#[test]
fn a_redirect_stays_on_this_host() {
    let site = Site::new();
    site.add("a b/é/x", "");
    let server = site.serve();
    for (path, location) in [
        ("/a%20b", "/a%20b/"),
        ("/a%20b/%C3%A9?q=%20&r", "/a%20b/%C3%A9/?q=%20&r"),
        ("//other.example/%2e%2e", "/"),
        ("/\\other.example/..%2f", "/"),
        ("/%2Fother.example/..", "/"),
        ("http://other.example/a%20b", "/a%20b/"),
    ] {
        let answer = ask(&server.address, &format!("GET {path}")).expect("the server answers");
        let redirect = (answer.status, answer.field("location"));
        assert_eq!(redirect, (301, Some(location)), "{path}");
    }
}

/// Names are displayed correctly, with any special characters of HTML or URLs.
#[test]
fn the_links_of_a_listing_work() {
    let site = Site::new();
    let names: [&[u8]; 7] = [
        b"<script>alert(1)<b>",
        b"a&b \"c\" 'd'",
        b"javascript:alert(1)",
        b"100%25",
        b"?#;",
        b"\xFF\xFE",
        "ünï".as_bytes(),
    ];
    for name in names {
        site.add(OsStr::from_bytes(name), name);
    }
    mkfifo(&site.path().join("pipe"), Mode::S_IRUSR).expect("the temporary folder is writable");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    let listing = client.get("/");
    assert!(!listing.text().contains("<script>") && !listing.text().contains("pipe"));
    let (_, list) = listing
        .text()
        .split_once("<main>")
        .expect("the page has a list");
    let links = list.split("<a href=\"").skip(1);
    let links = links.map(|rest| rest.split('"').next().expect("the link has an end"));
    let mut found: Vec<_> = links
        .map(|link| client.get(&format!("/{link}")).body)
        .collect();
    found.retain(|body| body != TEXT.as_bytes());
    found.sort_unstable();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort_unstable();
    assert_eq!(found, expected, "{list}");
    assert_eq!(client.get("/pipe").status, 404);
}

/// Links within the directory work. Links that lead out of it do not, and are not listed.
#[test]
fn files_outside_of_the_directory_are_not_served() {
    let site = Site::new();
    let outside = site
        .path()
        .parent()
        .expect("the path has a parent")
        .to_owned();
    site.add("sub/index.html", "inside");
    site.link("in", "sub");
    site.link("out", "..");
    site.link("secret", "../secret.txt");
    site.link(
        "absolute",
        outside
            .join("secret.txt")
            .to_str()
            .expect("the path is UTF-8"),
    );
    site.link("root", "/");
    site.link("indirect", "out");
    site.link("sub/up", "../..");
    site.add_folder("indexed");
    site.link("indexed/index.html", "../../secret.txt");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    assert_eq!(client.get("/in/").text(), "inside");
    for path in [
        "/out",
        "/out/",
        "/out/secret.txt",
        "/secret",
        "/absolute",
        "/root/",
        "/root/etc/passwd",
        "/indirect/secret.txt",
        "/sub/up/secret.txt",
        "/in/up/secret.txt",
        "/in/../../secret.txt",
        "/../secret.txt",
        "/..%2Fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5Csecret.txt",
        "/sub/%2e./%2E%2e/secret.txt",
        "//secret.txt",
        "/.%00./secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/site/a.txt",
        "/indexed/",
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("a secret"), "{path}");
    }
    let listing = client.get("/");
    for link in ["out", "secret", "absolute", "root", "indirect"] {
        assert!(!listing.text().contains(&format!("\"{link}")), "{link}");
    }
    assert!(listing.text().contains("<a href=\"in/\">in/</a>"));
}

/// A link alternates between a target inside and a target outside, while a client requests it. The
/// target outside is never served.
#[test]
fn a_changing_link_never_serves_files_outside_of_the_directory() {
    let site = Site::new();
    site.add("x/secret.txt", "no secret");
    let server = site.serve_with(&["--quiet"]);
    let folder = site.path();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut client = Client::new(&server.address);
            (0..2000)
                .filter(|_| {
                    let answer = client.get("/link/secret.txt");
                    assert!(matches!(answer.status, 200 | 404));
                    assert!(answer.status == 404 || answer.text() == "no secret");
                    answer.status == 200
                })
                .count()
        });
        for to in ["x", ".."].iter().cycle() {
            let _ = fs::remove_file(folder.join("new"));
            site.link("new", to);
            fs::rename(folder.join("new"), folder.join("link"))
                .expect("the temporary folder is writable");
            if client.is_finished() {
                break;
            }
        }
        assert!(client.join().expect("only files inside are served") > 0);
    });
}
