//! The request, and how the command line describes it.

use cookie::Cookie;
use url::form_urlencoded::Serializer;
use url::{Position, Url};

use crate::Options;

/// The whole request, in bytes. RFC 9112, section 3.
pub fn encode(options: &Options) -> Vec<u8> {
    let mut url = options.url.clone();
    if !options.params.is_empty() {
        url.query_pairs_mut().extend_pairs(&options.params);
    }
    let method = if options.data.is_empty() {
        "GET"
    } else {
        "POST"
    };
    let mut text = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: socketserver-http_get\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n",
        &url[Position::BeforePath..Position::AfterQuery],
        // With the port only if it is not the scheme's default; an IPv6 address is in brackets.
        &url[Position::BeforeHost..Position::AfterPort],
    );
    if !options.cookies.is_empty() {
        let cookies = options.cookies.iter().map(|c| c.stripped().to_string());
        text += &format!("Cookie: {}\r\n", cookies.collect::<Vec<_>>().join("; "));
    }
    text += &form(&options.data);
    text.into_bytes()
}

/// The end of the header, and the form after it.
fn form(data: &[(String, String)]) -> String {
    if data.is_empty() {
        return "\r\n".to_owned();
    }
    let form = Serializer::new(String::new()).extend_pairs(data).finish();
    format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

pub fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{e}; it looks like http://HOST/PATH"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{} is neither http nor https", url.scheme()));
    }
    Ok(url)
}

pub fn parse_pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("there is no `=` in it")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A line break or a semicolon could add another header field or cookie.
pub fn parse_cookie(text: &str) -> Result<Cookie<'static>, String> {
    if text.contains(|c: char| c == ';' || c.is_control()) {
        return Err("a cookie has no `;` and no control character in it".to_owned());
    }
    Cookie::parse(text.to_owned()).map_err(|e| e.to_string())
}
