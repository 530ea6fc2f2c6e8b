//! The counterpart of Python's `test_all`: this file only compiles if every public name exists at
//! its documented path.

use std::any::TypeId;

use socketserver::prelude;

/// Python's names and the names in this crate. The root and the module must export the same type.
#[allow(unused_imports)]
mod names {
    pub use socketserver::dispatch::{Inline, Job, ThreadPool, Waker};
    pub use socketserver::listener::{Bind, SocketOptions, Tcp, Udp, Unix, UnixDatagram};
    pub use socketserver::request::{
        Connection, DatagramSocket, Extensions, Reader, Request, Writer,
    };
    pub use socketserver::{
        Address, BackgroundServer, Builder, DatagramRequest, Dispatch, HandlerError, HandlerResult,
        Hooks, Listener, RequestError, RequestHandler, Server, ServerHandle, Stage, StreamRequest,
        TcpServer, ThreadingTcpServer, ThreadingUdpServer, ThreadingUnixDatagramServer,
        ThreadingUnixStreamServer, UdpServer, UnixDatagramServer, UnixStreamServer,
    };
}

/// The traits. Traits cannot be compared with `TypeId`.
#[allow(unused_imports)]
mod traits {
    pub use socketserver::dispatch::Dispatch as _;
    pub use socketserver::listener::Listener as _;
    pub use socketserver::prelude::{BufRead as _, Hooks as _, Read as _};
    pub use socketserver::prelude::{RequestHandler as _, Write as _};
    pub use socketserver::server::Hooks as _;
}

fn same<A: 'static, B: 'static>() {
    assert_eq!(TypeId::of::<A>(), TypeId::of::<B>());
}

#[test]
fn test_all() {
    use socketserver::{listener, request, server};

    same::<prelude::TcpServer, names::TcpServer>();
    same::<prelude::ThreadingTcpServer, names::ThreadingTcpServer>();
    same::<prelude::UdpServer, names::UdpServer>();
    same::<prelude::ThreadingUdpServer, names::ThreadingUdpServer>();
    same::<prelude::UnixStreamServer, names::UnixStreamServer>();
    same::<prelude::ThreadingUnixStreamServer, names::ThreadingUnixStreamServer>();
    same::<prelude::UnixDatagramServer, names::UnixDatagramServer>();
    same::<prelude::ThreadingUnixDatagramServer, names::ThreadingUnixDatagramServer>();
    same::<prelude::StreamRequest, request::StreamRequest>();
    same::<prelude::DatagramRequest, request::DatagramRequest>();
    same::<prelude::HandlerResult, names::HandlerResult>();
    same::<server::Server<names::Tcp, names::Inline>, names::TcpServer>();
    same::<names::Server<listener::Udp, names::ThreadPool>, server::ThreadingUdpServer>();
    same::<server::Builder<names::Tcp, names::Inline>, names::Builder<names::Tcp, names::Inline>>();
    same::<server::BackgroundServer, names::BackgroundServer>();
}
