//! The behaviour of the library, one folder for each topic.

mod accept {
    mod errors;
    mod handle_request;
    mod pause;
    mod shared_listener;
    mod stop_listening;
    mod stop_listening_address;
}
mod address {
    mod failed_binds;
    mod families;
    mod restart;
    mod unusable;
}
mod admission {
    mod limits;
    mod per_ip;
    mod permits;
    mod queue;
    mod reject;
    mod reject_slow;
}
#[cfg(feature = "auth")]
mod auth {
    #[cfg(feature = "auth-md5")]
    mod attacks;
    mod deadline;
    mod digests;
    mod examples;
    mod messages;
    #[cfg(feature = "auth-md5")]
    mod mp_peer;
    mod multiprocessing;
    mod plain;
    mod vectors;
}
mod datagram {
    mod local_address;
    mod replies;
    mod unsendable;
    mod write_timeout;
}
mod dispatch {
    mod custom;
    #[cfg(feature = "green")]
    mod green;
    #[cfg(feature = "green")]
    mod green_sockets;
    mod matrix;
}
mod errors {
    mod drops;
    mod fault;
    mod faults;
    mod server_faults;
}
mod examples {
    mod chat;
    mod classroom;
    mod descriptor_limit;
    mod echo;
    mod errors;
    mod framed;
    mod hello;
    mod limits;
    mod many_clients;
    mod relay;
    mod signals;
}
mod fork {
    mod beside_threads;
    mod processes;
}
mod framing {
    mod errors;
    mod messages;
    mod prefix;
    mod streams;
}
mod hooks {
    mod finish;
    mod order;
    mod service_actions;
}
mod logs {
    mod disconnects;
    mod escapes;
    mod handlers;
    mod limits;
    mod panics;
    mod rejections;
    mod request_numbers;
    mod requests;
}
mod pool {
    mod shared;
    mod threads;
}
mod porting {
    mod first_program;
    mod guide;
    mod hints;
    mod kinds;
    mod servers;
    mod sockets;
    mod streams;
}
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol {
    mod clients;
    #[cfg(feature = "fork")]
    mod fork;
    mod headers;
    mod invalid;
    mod proxies;
    mod relay;
    mod shutdown;
    mod trusted;
}
mod python {
    mod clients;
    mod processes;
    mod public_names;
    mod suite;
    mod write;
}
#[cfg(feature = "restart")]
mod restart {
    mod clients;
    mod in_process;
    mod replaced;
}
mod serving {
    mod fail;
    mod group;
    mod group_limit;
    mod health;
    mod names;
    mod stop;
}
mod shutdown {
    mod arrivals;
    mod callers;
    mod close;
    mod drain;
    mod drain_delay;
    mod idle;
    mod late_client;
    mod messages;
    mod reset;
    mod signals;
    mod wait;
    mod within;
}
#[cfg(feature = "restart")]
mod signals {
    mod table;
}
mod statistics {
    mod bytes;
    mod metrics;
    mod outcomes;
    #[cfg(feature = "metrics")]
    mod recorder;
    mod sum;
    mod threads;
}
mod stream {
    mod abort;
    mod auto_flush;
    mod connection;
    mod detach;
    mod fill_more;
    mod idle_timeout;
    mod line_limits;
    mod line_loop;
    mod lines;
    mod lingering;
    mod outbox;
    mod outbox_end;
    mod report;
    mod send_file;
    mod time_limits;
    mod timer;
    mod wfile;
    mod write_timeout;
}
#[cfg(feature = "systemd")]
mod systemd {
    mod messages;
    mod sockets;
    mod units;
    mod watchdog;
}
#[cfg(feature = "tls")]
mod tls {
    mod clients;
    mod ends;
    mod handshake;
    mod names;
    mod shutdown;
    mod start_tls;
    mod streams;
}
mod unix {
    mod bind_race;
    mod path;
}
