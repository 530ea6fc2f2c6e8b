//! Replies: a code, and one or more lines of text.

use std::borrow::Cow;
use std::fmt;

#[derive(Debug)]
pub struct Reply {
    code: u16,
    text: Cow<'static, str>,
    /// Whether the server closes the connection after it.
    pub is_last: bool,
}

impl Reply {
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply {
            code,
            text: text.into(),
            is_last: false,
        }
    }

    pub fn last(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply {
            is_last: true,
            ..Reply::new(code, text)
        }
    }

    pub fn is_error(&self) -> bool {
        self.code >= 400
    }
}

/// `250-LINE` for each line but the last one, which is `250 LINE`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.text.lines().peekable();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            write!(f, "{}{mark}{line}\r\n", self.code)?;
        }
        Ok(())
    }
}
