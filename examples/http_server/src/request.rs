/// A client's request.
pub struct Request {
    pub method: String,
    pub target: String,
    /// `1.0` or `1.1`.
    version: &'static str,
    /// Whether the connection stays open for the next request.
    pub keep_alive: bool,
    fields: Vec<(String, String)>,
}

/// The header does not say where the body ends, so neither is it known where the next request begins.
pub struct InvalidLength;

impl Request {
    pub fn new(parsed: &httparse::Request<'_, '_>) -> Result<Self, InvalidLength> {
        let fields = parsed.headers.iter().map(|field| {
            let value = String::from_utf8_lossy(field.value).into_owned();
            (field.name.to_owned(), value)
        });
        let mut request = Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            version: if parsed.version == Some(1) {
                "1.1"
            } else {
                "1.0"
            },
            keep_alive: false,
            fields: fields.collect(),
        };
        // A body is not read here, so the connection cannot be used for another request after it.
        let has_body = request.length()? > 0 || request.field("transfer-encoding").is_some();
        request.keep_alive = request.stays(parsed.version == Some(1)) && !has_body;
        Ok(request)
    }

    /// The first line, as it was received.
    pub fn line(&self) -> String {
        format!("{} {} HTTP/{}", self.method, self.target, self.version)
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

    /// The body's length: digits only, and the same number if it is there several times (RFC 9112, 6.3).
    fn length(&self) -> Result<u64, InvalidLength> {
        let lengths = self.values("content-length");
        let lengths = lengths.flat_map(|value| value.split(','));
        let mut known = None;
        for text in lengths.map(|text| text.trim_matches([' ', '\t'])) {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let length: u64 = text.parse().map_err(|_| InvalidLength)?;
            if !is_number || known.is_some_and(|other| other != length) {
                return Err(InvalidLength);
            }
            known = Some(length);
        }
        Ok(known.unwrap_or(0))
    }
}
