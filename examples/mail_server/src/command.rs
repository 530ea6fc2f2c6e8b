//! Commands: one line each.

use std::io;

use socketserver::request::Reader;

use super::path;
use super::reply::Reply;

/// The limit of a line, in bytes with its end: 512, and as much again for the parameters of extensions.
const MAX_LINE: usize = 1024;

pub enum Command {
    Helo(String),
    Ehlo(String),
    StartTls,
    /// The sender, which is empty for a notice that a message was not delivered, and the message's size.
    Mail(String, Option<u64>),
    Rcpt(String),
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// Reads a command, or returns the reply that says what is wrong with it.
pub fn read(rfile: &mut Reader) -> io::Result<Result<Command, Reply>> {
    let line = rfile.readline(MAX_LINE)?;
    if let Some(text) = line.strip_suffix(b"\r\n") {
        let is_text = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let text = String::from_utf8_lossy(text);
        return Ok(match is_text {
            true => parse(text.trim_end()),
            false => Err(Reply::new(500, "a command is printable ASCII")),
        });
    }
    if line.ends_with(b"\n") {
        // What another server takes for one line must not be two commands here.
        return Ok(Err(Reply::new(500, "a line ends with CR and LF")));
    }
    if line.len() < MAX_LINE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    io::BufRead::skip_until(rfile, b'\n')?;
    Ok(Err(Reply::new(500, "the line is too long")))
}

fn parse(line: &str) -> Result<Command, Reply> {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let bare = |command| match argument {
        "" => Ok(command),
        _ => Err(Reply::new(501, "it has no argument")),
    };
    match &*verb.to_ascii_uppercase() {
        "HELO" => client_name(argument).map(Command::Helo),
        "EHLO" => client_name(argument).map(Command::Ehlo),
        "STARTTLS" => bare(Command::StartTls),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "DATA" => bare(Command::Data),
        "RSET" => bare(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        "QUIT" => bare(Command::Quit),
        "EXPN" => Err(Reply::new(502, "it is not implemented")),
        _ => Err(Reply::new(500, "there is no such command")),
    }
}

fn client_name(argument: &str) -> Result<String, Reply> {
    let name = argument.trim();
    let name = path::is_domain(name).then(|| name.to_owned());
    name.ok_or_else(|| Reply::new(501, "it needs your domain, or your address in brackets"))
}

fn mail(argument: &str) -> Result<Command, Reply> {
    let (sender, parameters) = address(argument, "FROM:")?;
    let mut size = None;
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.to_ascii_uppercase();
        match &*name.to_ascii_uppercase() {
            "SIZE" => match value.parse() {
                Ok(bytes) => size = Some(bytes),
                Err(_) => return Err(Reply::new(501, "SIZE needs a number of bytes")),
            },
            "BODY" if matches!(&*value, "7BIT" | "8BITMIME") => {}
            "BODY" => return Err(Reply::new(501, "BODY is 7BIT or 8BITMIME")),
            _ => return Err(Reply::new(555, "there is no such parameter")),
        }
    }
    Ok(Command::Mail(sender.to_owned(), size))
}

fn rcpt(argument: &str) -> Result<Command, Reply> {
    match address(argument, "TO:")? {
        ("", _) => Err(Reply::new(501, "a recipient is not empty")),
        (recipient, "") => Ok(Command::Rcpt(recipient.to_owned())),
        _ => Err(Reply::new(555, "a recipient has no parameters")),
    }
}

fn address<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Reply> {
    let found = argument.split_at_checked(keyword.len());
    let found = found.filter(|(word, _)| word.eq_ignore_ascii_case(keyword));
    let address = found.and_then(|(_, path)| path::parse(path));
    address.ok_or_else(|| Reply::new(501, format!("after {keyword} it needs <NAME@DOMAIN>")))
}
