//! The porting guide: its table of names, its idioms, and its Python snippets. The Rust snippets
//! are documentation tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::python;

const NAMES: &str = include_str!("../../../src/porting/names.md");

const IDIOMS: [&str; 6] = [
    include_str!("../../../src/porting/idioms/servers.md"),
    include_str!("../../../src/porting/idioms/handlers.md"),
    include_str!("../../../src/porting/idioms/guards.md"),
    include_str!("../../../src/porting/idioms/tls.md"),
    include_str!("../../../src/porting/idioms/life.md"),
    include_str!("../../../src/porting/idioms/connections.md"),
];

/// Names that not every Python since 3.11 has. They must be in the table with any installed Python.
const NOT_IN_ALL: [(&str, &str); 6] = [
    ("The module", "ForkingUnixStreamServer"),
    ("The module", "ForkingUnixDatagramServer"),
    ("TCPServer", "request_queue_size = 5"),
    ("TCPServer", "request_queue_size = 4096"),
    // The script does not list such names.
    ("The module", "__all__"),
    ("The module", "__version__ = '0.4'"),
];

/// A class, or "The module", and one of its names.
type Name = (String, String);

/// A line of the tables of Python names.
struct Row {
    names: Vec<Name>,
    here: String,
    differs: String,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let sections = NAMES.split("\n## ").skip(1);
    for section in sections.take_while(|text| !text.starts_with("Beside the module")) {
        let (class, table) = section.split_once('\n').expect("a table follows");
        let class = class.trim_matches('`');
        let lines = table.lines().filter(|line| line.starts_with("| `"));
        rows.extend(lines.map(|line| row(class, line)));
    }
    rows
}

fn row(class: &str, line: &str) -> Row {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [_, python, here, differs, _] = cells[..] else {
        panic!("not three cells: {line}");
    };
    let name = |code: &str| (class.to_owned(), code.to_owned());
    Row {
        names: python.split('`').skip(1).step_by(2).map(name).collect(),
        here: here.to_owned(),
        differs: differs.to_owned(),
    }
}

fn names() -> BTreeSet<Name> {
    rows().into_iter().flat_map(|row| row.names).collect()
}

fn not_in_all() -> BTreeSet<Name> {
    let own = |(class, name): (&str, &str)| (class.to_owned(), name.to_owned());
    NOT_IN_ALL.into_iter().map(own).collect()
}

/// Runs the script, and returns its output.
fn run(mut script: Command) -> String {
    let output = script.output().expect("python3 is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// The names in the module of the installed Python.
fn python_names() -> BTreeSet<Name> {
    let printed = run(python::script("names.py"));
    let name = |line: &str| {
        let (class, name) = line
            .split_once('\t')
            .expect("the line has a class and a name");
        (class.to_owned(), name.to_owned())
    };
    printed.lines().map(name).collect()
}

#[test]
fn every_name_of_the_installed_python_is_in_the_table() {
    let wanted = python_names();
    assert!(wanted.len() > 80, "only {} names", wanted.len());
    let names = names();
    let missing: Vec<_> = wanted.difference(&names).collect();
    assert!(missing.is_empty(), "not in names.md: {missing:?}");
}

#[test]
fn every_name_in_the_table_is_in_python() {
    let there = python_names();
    let known = &there | &not_in_all();
    let names = names();
    let unknown: Vec<_> = names.difference(&known).collect();
    assert!(unknown.is_empty(), "not in Python: {unknown:?}");
}

#[test]
fn names_of_some_python_versions_are_in_the_table() {
    let (wanted, names) = (not_in_all(), names());
    let missing: Vec<_> = wanted.difference(&names).collect();
    assert!(missing.is_empty(), "not in names.md: {missing:?}");
}

#[test]
fn every_name_has_a_counterpart_or_a_remark() {
    for row in rows() {
        let described = !row.here.is_empty() || !row.differs.is_empty();
        assert!(described, "{:?}", row.names);
    }
}

#[test]
fn each_idiom_is_shown_in_python_and_in_rust() {
    let mut number = 0;
    for idiom in IDIOMS.iter().flat_map(|file| file.split("\n## ").skip(1)) {
        number += 1;
        assert!(idiom.starts_with(&format!("{number}. ")), "{idiom}");
        let python = idiom
            .find("\n```python\n")
            .expect("the idiom has a Python snippet");
        let rust = idiom.find("\n```\nuse ");
        let rust = rust.or_else(|| idiom.find("\n```no_run\nuse "));
        assert!(
            rust.expect("the idiom has a Rust snippet") > python,
            "idiom {number}"
        );
    }
    assert_eq!(number, 21);
}

/// All files of the guide.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the entry can be read").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => pages(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn python_snippets_compile() {
    let mut compile = python::script("compile.py");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/porting");
    compile.args(pages(&guide));
    let count: usize = run(compile).trim().parse().expect("the output is a number");
    assert!(count >= 24, "only {count} snippets");
}
