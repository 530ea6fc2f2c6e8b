//! Who has sent a message, to whom, and how it came here.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use socketserver::prelude::*;

pub struct Envelope {
    pub sender: String,
    pub recipients: Vec<String>,
}

/// HELO or EHLO.
pub struct Hello {
    pub name: String,
    pub is_extended: bool,
}

impl Envelope {
    /// What is written before the message's own header.
    pub fn header(&self, hello: &Hello, request: &StreamRequest, host: &str, id: &str) -> String {
        let mut header = format!("Return-Path: <{}>\r\n", self.sender);
        for recipient in &self.recipients {
            header += &format!("Delivered-To: {recipient}\r\n");
        }
        let tls = request.tls();
        // RFC 3848.
        let protocol = match (hello.is_extended, &tls) {
            (true, Some(_)) => "ESMTPS",
            (true, None) => "ESMTP",
            (false, _) => "SMTP",
        };
        let client = match request.client_address.ip() {
            Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
            Some(ip) => format!("[{ip}]"),
            None => "local".to_owned(),
        };
        let name = &hello.name;
        header += &format!("Received: from {name} ({client})\r\n\tby {host} with {protocol}");
        if let Some(tls) = tls {
            let _ = write!(header, " ({}, {})", tls.version(), tls.cipher());
        }
        // The format of HTTP has the old name of the zone.
        let now = httpdate::fmt_http_date(SystemTime::now()).replace("GMT", "+0000");
        header + &format!("\r\n\tid {id}; {now}\r\n")
    }
}
