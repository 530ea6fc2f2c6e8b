//! The units in `examples/deploy`.

use std::fs;
use std::path::{Path, PathBuf};

use support::example;
use support::program::installed;
use support::socket_folder;

/// Copies the units to `folder`. The copies start the programs that the tests have built.
fn copy_units(folder: &Path) -> Vec<PathBuf> {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let files = fs::read_dir(units).expect("the folder is there").flatten();
    let is_unit = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        extension == "service" || extension == "socket"
    };
    let copy = |path: PathBuf| {
        let mut text = fs::read_to_string(&path).expect("a unit is text");
        for program in ["echo_server", "http_server"] {
            let built = example::path(program);
            let installed = format!("/usr/local/bin/{program} ");
            text = text.replace(&installed, &format!("{} ", built.display()));
        }
        let copy = folder.join(path.file_name().expect("a file has a name"));
        fs::write(&copy, text).expect("the folder is writable");
        copy
    };
    files
        .map(|file| file.path())
        .filter(is_unit)
        .map(copy)
        .collect()
}

/// The complaints of `systemd-analyze verify`. It succeeds in spite of most of them.
fn verify(units: &[PathBuf]) -> String {
    let mut command = installed("systemd-analyze", "--version");
    command
        .args(["verify", "--man=no", "--generators=no"])
        .args(units);
    let output = command.output().expect("it can be started");
    let complaints = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    match status.success() {
        true => complaints.into_owned(),
        false => format!("{status}: {complaints}"),
    }
}

#[test]
fn systemd_has_no_complaint_about_the_units() {
    let folder = socket_folder();
    let units = copy_units(folder.path());
    assert_eq!(units.len(), 4, "{units:?}");
    assert_eq!(verify(&units), "");
}

#[test]
fn systemd_complains_about_a_misspelled_name_and_a_missing_program() {
    let folder = socket_folder();
    let units = copy_units(folder.path());
    let is_echo = |unit: &&PathBuf| unit.ends_with("echo_server.service");
    let unit = units.iter().find(is_echo).expect("it is there");
    let text = fs::read_to_string(unit).expect("a unit is text");
    let program = example::path("echo_server").display().to_string();
    for (from, to) in [("WatchdogSec=", "WatchdogSecs="), (&*program, "/missing")] {
        assert!(text.contains(from), "{text}");
        fs::write(unit, text.replace(from, to)).expect("the folder is writable");
        let complaints = verify(std::slice::from_ref(unit));
        assert!(
            complaints.contains(to.trim_end_matches('=')),
            "{complaints}"
        );
    }
}
