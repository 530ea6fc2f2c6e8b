//! Of several servers that bind one path at once, one succeeds, and its path stays until it ends.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use socketserver::Server;
use socketserver::dispatch::Inline;
use socketserver::prelude::*;

use support::kind::{Client, Kind, echo_message};
use support::{entries, for_each, socket_folder, socket_path, stale_socket};

const RACERS: usize = 8;

fn bind<L: Kind>(path: &Path) -> io::Result<Server<L, Inline>> {
    Server::bind_fn(path.display().to_string(), echo_message)
}

fn race<L: Kind>(path: &Path) -> Vec<io::Result<Server<L, Inline>>> {
    let barrier = Barrier::new(RACERS);
    let bind = || {
        barrier.wait();
        bind::<L>(path)
    };
    thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(bind)).collect();
        let results = racers.into_iter().map(|racer| racer.join());
        results.map(|result| result.expect("no panic")).collect()
    })
}

fn one_wins<L: Kind>(rounds: usize, prepare: fn(&Path)) {
    let (folder, path) = socket_path();
    for round in 0..rounds {
        prepare(&path);
        let (winners, losers): (Vec<_>, Vec<_>) = race::<L>(&path)
            .into_iter()
            .partition(|result| result.is_ok());
        assert_eq!(winners.len(), 1, "round {round}");
        for error in losers.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        }
        let winner = winners.into_iter().flatten().next().expect("it is there");
        let winner = winner
            .serve_in_background()
            .expect("a thread can be started");
        let mut client = L::connect(winner.server_address());
        assert_eq!(client.exchange("reached"), "reached");
        drop(winner);
        drop(client);
        assert!(!path.exists());
        // The sockets of datagram clients stay; nothing else may.
        let is_left = |name: &str| !name.starts_with("client-");
        assert!(!names(folder.path()).iter().any(|name| is_left(name)));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the temporary folder is readable");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn of_servers_on_a_free_path_one_wins<L: Kind>() {
    one_wins::<L>(rounds(), |_| {});
}

fn of_servers_on_a_stale_socket_one_wins<L: Kind>() {
    one_wins::<L>(rounds(), |path| stale_socket(path, L::STREAM));
}

/// More rounds can be set to measure.
fn rounds() -> usize {
    env::var("ROUNDS").map_or(200, |rounds| rounds.parse().expect("a number"))
}

/// Between the two steps a stream socket refuses clients, as a stale one does.
fn a_bound_server_that_is_not_active_keeps_its_path<L: Kind>() {
    let (folder, path) = socket_path();
    let builder = Server::<L, Inline>::builder();
    let first = builder.unbound_fn(path.display().to_string(), echo_message);
    let mut first = first.expect("the address is a path");
    first.server_bind().expect("the path is free");
    let error = bind::<L>(&path).expect_err("the path is in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    first.server_activate().expect("the socket is bound");
    let first = first
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(L::connect(first.server_address()).exchange("mine"), "mine");
    drop(first);
    assert!(!path.exists());
    drop(folder);
}

/// A process that was killed during a bind leaves the file of its lock behind.
fn the_lock_file_of_a_killed_process_does_no_harm<L: Kind>() {
    let (folder, path) = socket_path();
    stale_socket(&path, L::STREAM);
    let lock = path.with_extension("bind-lock");
    fs::write(&lock, "").expect("the temporary folder is writable");
    let server = bind::<L>(&path).expect("the socket is stale");
    assert_eq!(entries(folder.path()), 1, "the socket");
    drop(server);
    assert_eq!(entries(folder.path()), 0);
}

fn a_file_with_the_name_of_the_lock_is_kept<L: Kind>() {
    let (_folder, path) = socket_path();
    stale_socket(&path, L::STREAM);
    let lock = path.with_extension("bind-lock");
    fs::write(&lock, "content").expect("the temporary folder is writable");
    let error = bind::<L>(&path).expect_err("the lock is not a lock");
    assert!(error.to_string().contains("bind-lock"), "{error}");
    let content = fs::read_to_string(&lock).expect("the file exists");
    assert_eq!(content, "content");
}

for_each! {{
    of_servers_on_a_free_path_one_wins
    of_servers_on_a_stale_socket_one_wins
    a_bound_server_that_is_not_active_keeps_its_path
    the_lock_file_of_a_killed_process_does_no_harm
    a_file_with_the_name_of_the_lock_is_kept
} unix_stream: Unix; unix_datagram: UnixDatagram; }

/// The folder in which a process of the next test binds sockets.
const FOLDER: &str = "SOCKETSERVER_BIND_RACE";
const PATHS: usize = 100;

/// Each process binds the same paths in the same order. Half of them have a stale socket.
#[test]
fn of_several_processes_one_wins() {
    if let Some(folder) = env::var_os(FOLDER) {
        return race_with_other_processes(Path::new(&folder));
    }
    let folder = socket_folder();
    for path in (0..PATHS).step_by(2) {
        stale_socket(&folder.path().join(path.to_string()), true);
    }
    let mut racers: Vec<_> = (0..4).map(|_| start_process(folder.path())).collect();
    for racer in &mut racers {
        let input = racer.stdin.as_mut().expect("it is piped");
        input.write_all(b"go\n").expect("the process reads");
    }
    let mut won: Vec<usize> = racers.iter_mut().flat_map(won_paths).collect();
    won.sort_unstable();
    assert_eq!(won, (0..PATHS).collect::<Vec<_>>());
    assert_eq!(entries(folder.path()), PATHS);
    for mut racer in racers {
        drop(racer.stdin.take());
        assert!(racer.wait().expect("it is a child").success());
    }
    assert_eq!(entries(folder.path()), 0);
}

fn race_with_other_processes(folder: &Path) {
    let mut input = io::stdin().lock();
    input
        .read_line(&mut String::new())
        .expect("the parent writes");
    let bind = |path: usize| UnixStreamServer::bind_fn(folder.join(path.to_string()), echo_message);
    let servers: Vec<_> = (0..PATHS).map(|path| (path, bind(path).ok())).collect();
    for (path, _) in servers.iter().filter(|(_, server)| server.is_some()) {
        println!("won {path}");
    }
    println!("done");
    input
        .read_to_end(&mut Vec::new())
        .expect("the parent closes");
}

fn start_process(folder: &Path) -> Child {
    let mut command = Command::new(env::current_exe().expect("the test binary has a path"));
    command.args([
        "unix::bind_race::of_several_processes_one_wins",
        "--exact",
        "--nocapture",
    ]);
    command.env(FOLDER, folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("the test binary can be started")
}

fn won_paths(racer: &mut Child) -> Vec<usize> {
    let output = BufReader::new(racer.stdout.as_mut().expect("it is piped"));
    let lines = output.lines().map(|line| line.expect("text"));
    let lines = lines.take_while(|line| line != "done");
    let won = lines.filter_map(|line| line.strip_prefix("won ")?.parse().ok());
    won.collect()
}
