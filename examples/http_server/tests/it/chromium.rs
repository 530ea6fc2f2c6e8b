//! The example `http_server` in headless Chromium. Screenshots are saved in
//! `target/tmp/http_server`.

use std::fs;
use std::path::Path;
use std::process::Command;

use support::program;

use crate::script;
use crate::site::Site;

const PAGE: &str = r#"<!DOCTYPE html>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="../assets/style.css">
<h1>A page</h1>
<img src="../assets/picture.svg">
<script src="../assets/script.js"></script>
"#;

const PICTURE: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80">
<rect width="120" height="80" fill="#1f5fd0"/><circle cx="60" cy="40" r="24" fill="#e2a83b"/>
</svg>"##;

fn site() -> Site {
    let site = Site::new();
    site.add("page/index.html", PAGE);
    site.add("assets/style.css", "h1 { color: rgb(1, 2, 3); }");
    site.add("assets/picture.svg", PICTURE);
    site.add("assets/script.js", "document.title = 'the script has run';");
    site.add("a folder/in side/deep.txt", "Tief unten: ü");
    site.add_folder("a folder/empty");
    site.add("größe & <co>.txt", vec![b'x'; 12_345]);
    site.add(
        "a-name-that-is-as-long-as-names-of-downloaded-files-sometimes-are.tar.gz",
        "",
    );
    site.add("report.pdf", vec![0; 4_200_000]);
    site
}

fn browser() -> Command {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/npm/node_modules");
    program::installed("chromium", "--version");
    let mut node = program::installed("node", "--version");
    if !modules.join("playwright-core").exists() {
        let how = "npm install --prefix target/npm playwright-core@1";
        program::missing("playwright-core in target/npm", how);
    }
    let script = script("browse.cjs");
    node.arg(script).env("NODE_PATH", modules);
    node
}

#[test]
fn a_page_loads_and_links_of_the_listing_work() {
    let mut browser = browser();
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http_server");
    let _ = fs::remove_dir_all(&screenshots);
    fs::create_dir_all(&screenshots).expect("the target folder is writable");
    let site = site();
    let server = site.serve();
    let url = format!("http://{}", server.address);
    let output = browser.arg(url).arg(&screenshots).output();
    let output = output.expect("node is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in ["page", "listing", "folder", "dark", "narrow", "error"] {
        let picture = fs::metadata(screenshots.join(name).with_extension("png"));
        assert!(
            picture.expect("the screenshot exists").len() > 1000,
            "{name}"
        );
    }
}
