//! A handler that ends as its client says.

use socketserver::prelude::*;

pub fn obey(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        match &*line {
            "fail" => return Err("as told".into()),
            "panic" => panic!("as told"),
            line => writeln!(request.wfile, "{line}")?,
        }
    }
    Ok(())
}
