//! One client: runs its commands in the order that SMTP allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::task;
use socketserver::tls::TlsConfig;

use super::command::{self, Command};
use super::envelope::{Envelope, Hello};
use super::mailbox::{self, Mailbox};
use super::message;
use super::path;
use super::reply::Reply;

/// How long a client may be silent between two commands, and inside a command or message (RFC 5321, 4.5.3.2.7).
pub const TIMEOUT: Duration = Duration::from_secs(300);

const MAX_RECIPIENTS: usize = 100;

/// After as many errors in a row the client is disconnected: it probably speaks another protocol, or guesses.
const MAX_ERRORS: u32 = 20;

/// What all sessions share.
pub struct Service {
    /// The server's own name.
    pub host: String,
    /// Whose recipients are accepted; all if it is empty.
    pub domains: Vec<String>,
    pub max_size: usize,
    /// For STARTTLS.
    pub start_tls: Option<TlsConfig>,
    pub requires_tls: bool,
    pub mailbox: Mailbox,
}

pub struct Session {
    service: Arc<Service>,
    hello: Option<Hello>,
    envelope: Option<Envelope>,
    errors: u32,
}

impl RequestHandler for Session {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let host = &self.service.host;
        write!(
            request.wfile,
            "{}",
            Reply::new(220, format!("{host} ESMTP"))
        )?;
        loop {
            let since = Instant::now();
            if !request.wait_for_data()? {
                return explain_end(request, since.elapsed());
            }
            let reply = match command::read(&mut request.rfile)? {
                Ok(Command::StartTls) => match self.start_tls(request)? {
                    None => continue,
                    Some(reply) => reply,
                },
                Ok(command) => self.run(command, request)?,
                Err(reply) => reply,
            };
            write!(request.wfile, "{reply}")?;
            if reply.is_last {
                return Ok(());
            }
            self.errors = if reply.is_error() { self.errors + 1 } else { 0 };
            if self.errors >= MAX_ERRORS {
                write!(request.wfile, "{}", Reply::last(421, "too many errors"))?;
                return Ok(());
            }
        }
    }
}

/// The stream has ended between two commands. The client reads why, unless it has ended the stream itself.
fn explain_end(request: &mut StreamRequest, waited: Duration) -> HandlerResult {
    let why = match request.server.is_shutting_down() {
        true => "the server shuts down",
        false if waited >= TIMEOUT => "no command for too long",
        false => return Ok(()),
    };
    Ok(write!(request.wfile, "{}", Reply::last(421, why))?)
}

impl Session {
    pub fn new(service: &Arc<Service>) -> Self {
        Session {
            service: Arc::clone(service),
            hello: None,
            envelope: None,
            errors: 0,
        }
    }

    /// No reply if TLS has begun.
    fn start_tls(&mut self, request: &mut StreamRequest) -> Result<Option<Reply>, HandlerError> {
        if request.tls().is_some() {
            return Ok(Some(Reply::new(503, "TLS has begun already")));
        }
        let Some(tls) = &self.service.start_tls else {
            return Ok(Some(Reply::new(502, "there is no TLS")));
        };
        if !request.rfile.buffer().is_empty() {
            // Somebody between client and server may have added it.
            let text = "nothing follows STARTTLS before its reply";
            return Ok(Some(Reply::last(501, text)));
        }
        write!(request.wfile, "{}", Reply::new(220, "begin TLS"))?;
        request.start_tls(tls)?;
        // What was said before may be an attacker's: the client says it again.
        *self = Session::new(&self.service);
        Ok(None)
    }

    fn run(
        &mut self,
        command: Command,
        request: &mut StreamRequest,
    ) -> Result<Reply, HandlerError> {
        let is_free = matches!(command, Command::Ehlo(_) | Command::Noop | Command::Quit);
        if self.service.requires_tls && request.tls().is_none() && !is_free {
            return Ok(Reply::new(530, "begin TLS first: STARTTLS"));
        }
        Ok(match command {
            Command::Helo(name) => self.hello(name, false, request),
            Command::Ehlo(name) => self.hello(name, true, request),
            Command::Mail(sender, size) => self.mail(sender, size),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => return self.data(request),
            Command::Rset => {
                self.envelope = None;
                Reply::new(250, "OK")
            }
            Command::Noop => Reply::new(250, "OK"),
            Command::Vrfy => Reply::new(252, "unknown; send it a message"),
            Command::Help => Reply::new(
                214,
                "RFC 5321; the commands are\n\
                HELO EHLO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
            ),
            Command::Quit => Reply::last(221, "goodbye"),
            Command::StartTls => unreachable!("`handle` runs it"),
        })
    }

    fn hello(&mut self, name: String, is_extended: bool, request: &StreamRequest) -> Reply {
        self.envelope = None;
        self.hello = Some(Hello { name, is_extended });
        let host = &self.service.host;
        if !is_extended {
            return Reply::new(250, host.clone());
        }
        let size = self.service.max_size;
        let mut text = format!("{host}\nSIZE {size}\nPIPELINING\n8BITMIME\n");
        if self.service.start_tls.is_some() && request.tls().is_none() {
            text += "STARTTLS\n";
        }
        Reply::new(250, text + "HELP")
    }

    fn mail(&mut self, sender: String, size: Option<u64>) -> Reply {
        if self.hello.is_none() {
            return Reply::new(503, "say EHLO first");
        }
        if self.envelope.is_some() {
            return Reply::new(503, "there is a sender already");
        }
        if size.is_some_and(|size| size > self.service.max_size as u64) {
            return Reply::new(552, "the message is too large");
        }
        self.envelope = Some(Envelope {
            sender,
            recipients: Vec::new(),
        });
        Reply::new(250, "OK")
    }

    fn rcpt(&mut self, recipient: String) -> Reply {
        let Some(envelope) = &mut self.envelope else {
            return Reply::new(503, "say MAIL first");
        };
        if !self.service.accepts(&recipient) {
            return Reply::new(550, "no such domain here, and nothing is relayed");
        }
        if envelope.recipients.len() >= MAX_RECIPIENTS {
            return Reply::new(452, "too many recipients");
        }
        envelope.recipients.push(recipient);
        Reply::new(250, "OK")
    }

    fn data(&mut self, request: &mut StreamRequest) -> Result<Reply, HandlerError> {
        let envelope = self
            .envelope
            .take_if(|envelope| !envelope.recipients.is_empty());
        let (Some(envelope), Some(hello)) = (envelope, &self.hello) else {
            return Ok(Reply::new(503, "say MAIL and RCPT first"));
        };
        write!(
            request.wfile,
            "{}",
            Reply::new(354, "end it with a dot on a line of its own")
        )?;
        // No `wait_for_data` here: a shutdown does not end a connection inside a message.
        let message = match message::receive(&mut request.rfile, self.service.max_size)? {
            Ok(message) => message,
            Err(reply) => return Ok(reply),
        };
        let id = mailbox::new_id();
        let header = envelope.header(hello, request, &self.service.host, &id);
        let mailbox = &self.service.mailbox;
        if let Err(error) = task::blocking(|| mailbox.deliver(&id, &header, &message)) {
            log::error!("{}: cannot keep a message: {error}", request.client_address);
            return Ok(Reply::new(451, "it cannot be kept now"));
        }
        let (client, size) = (&request.client_address, message.len());
        log::info!(
            "{client}: {id}, {size} bytes from <{}> to {}",
            envelope.sender,
            envelope.recipients.join(", ")
        );
        Ok(Reply::new(250, format!("OK {id}")))
    }
}

impl Service {
    fn accepts(&self, recipient: &str) -> bool {
        let domain = recipient.rsplit_once('@').map(|(_, domain)| domain);
        let is_listed = |domain: &str| {
            self.domains
                .iter()
                .any(|own| own.eq_ignore_ascii_case(domain))
        };
        self.domains.is_empty() || domain.map_or(path::is_postmaster(recipient), is_listed)
    }
}
