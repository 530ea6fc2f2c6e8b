use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{Address, sys};

/// What to do if the manager does not read, and its queue is full.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Wait for half a second, then fail.
    Wait,
    /// Fail at once: the message is repeated later.
    Fail,
}

impl Patience {
    fn flags(self) -> i32 {
        match self {
            Patience::Wait => 0,
            Patience::Fail => sys::MSG_DONTWAIT,
        }
    }
}

/// Sends messages to the service manager. See sd_notify(3).
///
/// It stays open, so that a process without free descriptors can send too.
pub(super) struct NotifySocket {
    socket: Socket,
    manager: SockAddr,
}

impl NotifySocket {
    /// How long a message waits if the manager's queue is full.
    const TIMEOUT: Duration = Duration::from_millis(500);

    /// `None` if no service manager waits for messages.
    pub(super) fn from_env() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        Self::to(&name).map(Some)
    }

    pub(super) fn to(name: &OsStr) -> io::Result<Self> {
        let manager = address(name)?.to_sock_addr()?;
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_write_timeout(Some(Self::TIMEOUT))?;
        Ok(NotifySocket { socket, manager })
    }

    /// Sends lines of the form `NAME=value`.
    pub(super) fn send(&self, message: &str, patience: Patience) -> io::Result<()> {
        let (message, flags) = (message.as_bytes(), patience.flags());
        loop {
            let sent = self
                .socket
                .send_to_with_flags(message, &self.manager, flags);
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn address(name: &OsStr) -> io::Result<Address> {
    match name.as_bytes() {
        [b'/', ..] => Ok(Address::Path(name.into())),
        [b'@', rest @ ..] => Ok(Address::Abstract(rest.to_vec())),
        _ => {
            let text = format!("NOTIFY_SOCKET is {name:?}: neither a path nor an abstract name");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
