//! The HTML around every page that the server makes itself.

use html_escape::encode_text;

use super::status::Status;

const STYLE: &str = include_str!("page.css");

/// `main` is HTML; the title is text.
pub fn page(title: &str, main: &str) -> String {
    let title = encode_text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{main}</body>\n</html>\n"
    )
}

pub fn error(status: Status) -> String {
    let Status(number, name) = status;
    let main = format!("<main class=\"error\">\n<h1>{number}</h1>\n<p>{name}</p>\n</main>\n");
    page(&status.to_string(), &main)
}
