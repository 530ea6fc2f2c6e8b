//! Draft
#[cfg(not(unix))]
compile_error!("socketserver runs on Unix systems only, so far");

mod address;
pub mod dispatch;
mod error;
mod handle;
mod handler;
pub mod listener;
mod options;
pub mod request;
pub mod server;
mod sys;

pub use crate::address::Address;
pub use crate::dispatch::Dispatch;
pub use crate::error::{HandlerError, HandlerResult, Panicked, RequestError, Stage};
pub use crate::handle::ServerHandle;
pub use crate::handler::RequestHandler;
pub use crate::listener::Listener;
pub use crate::request::{DatagramRequest, StreamRequest};
pub use crate::server::{
    BackgroundServer, Builder, Hooks, Server, TcpServer, ThreadingTcpServer, ThreadingUdpServer,
    ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer, UnixDatagramServer,
    UnixStreamServer,
};

/// What most programs need: `use socketserver::prelude::*;`. The traits of `std::io` that `rfile`
/// and `wfile` are used through come along.
pub mod prelude {
    pub use std::io::{BufRead, Read, Write};

    pub use crate::error::HandlerResult;
    pub use crate::handler::RequestHandler;
    pub use crate::request::{DatagramRequest, StreamRequest};
    pub use crate::server::{
        Hooks, TcpServer, ThreadingTcpServer, ThreadingUdpServer, ThreadingUnixDatagramServer,
        ThreadingUnixStreamServer, UdpServer, UnixDatagramServer, UnixStreamServer,
    };
}
