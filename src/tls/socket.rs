use std::io::{self, IoSlice, Write};
use std::os::fd::BorrowedFd;

use socket2::SockRef;

use crate::sys::MSG_DONTWAIT;
use crate::sys::stream::MSG_NOSIGNAL;

/// Sends what is encrypted. Never blocks.
pub(super) struct EncryptedSocket<'a>(pub(super) BorrowedFd<'a>);

impl Write for EncryptedSocket<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        if let [data] = data {
            // Cheaper for the system.
            return uninterrupted(|| SockRef::from(&self.0).send_with_flags(data, flags));
        }
        uninterrupted(|| SockRef::from(&self.0).send_vectored_with_flags(data, flags))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
