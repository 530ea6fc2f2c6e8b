use std::fmt;

/// A client's request.
pub struct Request {
    pub method: String,
    pub target: String,
    /// Whether the connection stays open for the next request.
    pub keep_alive: bool,
    fields: Vec<(String, String)>,
}

impl Request {
    pub fn new(parsed: &httparse::Request<'_, '_>) -> Self {
        let fields = parsed.headers.iter().map(|field| {
            let value = String::from_utf8_lossy(field.value).into_owned();
            (field.name.to_owned(), value)
        });
        let mut request = Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            keep_alive: false,
            fields: fields.collect(),
        };
        request.keep_alive = request.stays(parsed.version == Some(1)) && !request.has_body();
        request
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self
            .fields
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    fn stays(&self, by_default: bool) -> bool {
        let has_token = |word: &str| {
            let mut words = self.values("connection").flat_map(|value| value.split(','));
            words.any(|token| token.trim().eq_ignore_ascii_case(word))
        };
        !has_token("close") && (by_default || has_token("keep-alive"))
    }

    /// A body is not read here, so the connection cannot be used for another request after it.
    fn has_body(&self) -> bool {
        let mut lengths = self.values("content-length");
        lengths.any(|length| length != "0") || self.field("transfer-encoding").is_some()
    }
}

/// For the log, with escapes: a client cannot send control characters to a terminal.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{} {}\"", self.method, self.target.escape_debug())
    }
}
