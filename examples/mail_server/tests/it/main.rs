//! Tests of the program `mail_server`, which runs as a child process.

mod clients;
mod encrypted;
mod protocol;
mod server;
mod shutdown;
mod smuggling;
