//! The servers that are compared.

use std::path::PathBuf;
use std::process::Command;

use crate::load::Kind;

/// All loads for streams.
const STREAM: &[Kind] = &[Kind::PingPong, Kind::Connect, Kind::Bulk, Kind::Idle];
/// The same and `scale`, which needs more threads than others may have.
const SCALING: &[Kind] = &[
    Kind::PingPong,
    Kind::Connect,
    Kind::Bulk,
    Kind::Idle,
    Kind::Scale,
];
/// A pool serves no more connections than it has threads.
const POOL: &[Kind] = &[Kind::Connect];
const DATAGRAM: &[Kind] = &[Kind::Datagrams];

/// What a server is built from.
pub enum Source {
    /// An example of this crate, with options.
    Example(&'static str, &'static [&'static str]),
    /// A binary of the package `peers`.
    Peer(&'static str),
    /// A file in the folder `peers`.
    Go(&'static str),
    Python(&'static str),
    Poco(&'static str),
}

pub struct Program {
    /// For the option `--servers`.
    pub name: &'static str,
    /// For tables and plots.
    pub label: &'static str,
    pub source: Source,
    pub kinds: &'static [Kind],
}

impl Program {
    pub fn is_ours(&self) -> bool {
        matches!(self.source, Source::Example(..))
    }
}

/// A program that can be started.
#[derive(Clone)]
pub struct Built {
    pub program: &'static Program,
    pub path: PathBuf,
    pub arguments: Vec<String>,
}

impl Built {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }
}

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "threads",
        label: "socketserver threads",
        source: Source::Example(
            "echo_server",
            &["--server", "threading-tcp", "--max-threads", "11000"],
        ),
        kinds: SCALING,
    },
    Program {
        name: "green",
        label: "socketserver green",
        source: Source::Example("echo_server", &["--server", "green-tcp"]),
        kinds: SCALING,
    },
    Program {
        name: "std-threads",
        label: "std threads",
        source: Source::Peer("echo_threads"),
        kinds: STREAM,
    },
    Program {
        name: "std-pool",
        label: "std, 64 threads",
        source: Source::Peer("echo_pool"),
        kinds: POOL,
    },
    Program {
        name: "tokio",
        label: "tokio",
        source: Source::Peer("echo_tokio"),
        kinds: STREAM,
    },
    Program {
        name: "actix",
        label: "actix-server",
        source: Source::Peer("echo_actix"),
        kinds: STREAM,
    },
    Program {
        name: "monoio",
        label: "monoio (io_uring)",
        source: Source::Peer("echo_monoio"),
        kinds: STREAM,
    },
    Program {
        name: "go",
        label: "Go",
        source: Source::Go("echo.go"),
        kinds: STREAM,
    },
    Program {
        name: "poco",
        label: "POCO (C++)",
        source: Source::Poco("echo.cpp"),
        kinds: STREAM,
    },
    Program {
        name: "python",
        label: "Python socketserver",
        source: Source::Python("echo.py"),
        kinds: STREAM,
    },
    Program {
        name: "udp",
        label: "socketserver inline",
        source: Source::Example("udp_echo_server", &[]),
        kinds: DATAGRAM,
    },
    Program {
        name: "udp-threads",
        label: "socketserver threads",
        source: Source::Example("udp_echo_server", &["--threading"]),
        kinds: DATAGRAM,
    },
    Program {
        name: "udp-green",
        label: "socketserver green",
        source: Source::Example("udp_echo_server", &["--green"]),
        kinds: DATAGRAM,
    },
    Program {
        name: "udp-std",
        label: "std loop",
        source: Source::Peer("datagrams_loop"),
        kinds: DATAGRAM,
    },
    Program {
        name: "udp-batch",
        label: "recvmmsg loop",
        source: Source::Peer("datagrams_batch"),
        kinds: DATAGRAM,
    },
    Program {
        name: "udp-tokio",
        label: "tokio",
        source: Source::Peer("datagrams_tokio"),
        kinds: DATAGRAM,
    },
];
