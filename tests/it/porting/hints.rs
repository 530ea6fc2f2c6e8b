//! What the compiler says about common mistakes.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The library that these tests were linked with: the newest one beside them.
fn library() -> PathBuf {
    let tests = env::current_exe().expect("the program has a path");
    let folder = tests.parent().expect("the path has a parent");
    let files = folder.read_dir().expect("the folder can be read").flatten();
    let libraries = files.map(|file| file.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libsocketserver-") && name.ends_with(".rlib")
    });
    let modified = |path: &PathBuf| {
        let metadata = fs::metadata(path);
        metadata
            .and_then(|file| file.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    libraries
        .max_by_key(modified)
        .expect("the library was built")
}

/// The compiler's messages about a program.
fn compile(main: &str) -> String {
    const TYPES: &str = "use socketserver::prelude::*;
        struct Upper;
        impl RequestHandler for Upper {
            fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
        }
        impl Hooks for Upper {}";
    let library = library();
    let folder = library.parent().expect("the path has a parent");
    let temporary = tempfile::tempdir().expect("the temporary folder is writable");
    let mut compiler = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args([
            "--edition=2024",
            "--emit=metadata",
            "--crate-name=mistake",
            "-",
        ])
        .arg("--out-dir")
        .arg(temporary.path())
        .arg("-L")
        .arg(folder)
        .arg("--extern")
        .arg(format!("socketserver={}", library.display()))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the compiler is installed");
    let mut source = compiler.stdin.take().expect("it is a pipe");
    write!(source, "{TYPES}\nfn main() {{ let _ = {main}; }}").expect("the compiler reads");
    drop(source);
    let output = compiler.wait_with_output().expect("the compiler ends");
    String::from_utf8(output.stderr).expect("the messages are text")
}

#[track_caller]
fn expect(main: &str, messages: &[&str]) {
    let said = compile(main);
    for message in messages {
        assert!(said.contains(message), "{message:?} is not in: {said}");
    }
}

#[test]
fn correct_programs_compile() {
    for main in [
        r#"TcpServer::bind("127.0.0.1:0", || Upper)"#,
        r#"TcpServer::builder().hooks(Upper).bind_fn("127.0.0.1:0", |_| Ok(()))"#,
        r#"TcpServer::bind("127.0.0.1:0", || |_: &mut StreamRequest| Ok(()))"#,
        r#"TcpServer::bind("127.0.0.1:0", || Box::new(Upper) as Box<dyn RequestHandler>)"#,
    ] {
        let said = compile(main);
        assert!(!said.contains("error"), "{said}");
    }
}

#[test]
fn a_handler_instead_of_its_factory() {
    expect(
        r#"TcpServer::bind("127.0.0.1:0", Upper)"#,
        &[
            "`Upper` is not a handler factory",
            "makes a handler for each request: `|| MyHandler`",
            "`bind_fn` takes a closure that handles each request",
        ],
    );
}

#[test]
fn closures_of_the_other_kind() {
    expect(
        r#"TcpServer::bind("127.0.0.1:0", |request| Ok(request.wfile.write_all(b"hello")?))"#,
        &["expected to take 0 arguments, but it takes 1 argument"],
    );
    expect(
        r#"TcpServer::bind_fn("127.0.0.1:0", || Upper)"#,
        &["expected to take 1 argument, but it takes 0 arguments"],
    );
}

#[test]
fn a_handler_of_streams_in_a_datagram_server() {
    expect(
        r#"UdpServer::bind("127.0.0.1:0", || Upper)"#,
        &[
            "`Upper` cannot handle a `DatagramRequest`",
            "implement `RequestHandler<DatagramRequest>`",
        ],
    );
}

#[test]
fn hooks_of_streams_in_a_datagram_server() {
    expect(
        r#"UdpServer::builder().hooks(Upper).bind_fn("127.0.0.1:0", |_| Ok(()))"#,
        &[
            "`Upper` has no hooks for a server whose requests are `DatagramRequest`s",
            "implement `Hooks<DatagramRequest>` for it",
        ],
    );
}
