//! The `Alt-Svc` field (RFC 7838 section 3): where else a server is found, by its own word.
//!
//! ```
//! use shardwise_proto::alternatives::services;
//!
//! let mut services = services(br#"h3=":443"; ma=3600, h3="other.example:8443""#);
//! let first = services.next().unwrap();
//! assert_eq!((first.protocol, first.host, first.port, first.seconds), (&b"h3"[..], "", 443, 3600));
//! let second = services.next().unwrap();
//! assert_eq!((second.host, second.port, second.seconds), ("other.example", 8443, 86_400));
//! assert!(services.next().is_none());
//! ```

use crate::scan::{self, TOKEN};

/// A service that is as good as the one that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// What is spoken there, by its name in ALPN. One that has characters which no token has is percent-encoded.
    pub protocol: &'a [u8],
    /// The host, in brackets if it is an IPv6 address; empty for the one that says so.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// For how many seconds this holds, less those that the answer has spent in caches.
    pub seconds: u32,
}

/// The services that a field's value names, as [`services`] gives them.
#[derive(Clone, Debug)]
pub struct Services<'a> {
    rest: &'a [u8],
}

/// Whether a field's value says that all alternatives are to be forgotten.
pub fn is_clear(value: &[u8]) -> bool {
    value.trim_ascii() == b"clear"
}

/// The services that a field's value names, the server's favourite first. What cannot be understood ends them.
pub fn services(value: &[u8]) -> Services<'_> {
    Services { rest: value }
}

impl<'a> Iterator for Services<'a> {
    type Item = Service<'a>;

    fn next(&mut self) -> Option<Service<'a>> {
        let service = self.service();
        if service.is_none() {
            self.rest = b"";
        }
        service
    }
}

impl<'a> Services<'a> {
    fn service(&mut self) -> Option<Service<'a>> {
        // RFC 9110 section 5.6.1: a list may have empty members.
        while self.take(b',') {}
        let protocol = self.token()?;
        if !self.take(b'=') {
            return None;
        }
        let (host, port) = std::str::from_utf8(self.quoted()?).ok()?.rsplit_once(':')?;
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_port && *port > 0)?;
        let mut seconds = SECONDS_USUAL;
        while self.take(b';') {
            let name = self.token()?;
            if !self.take(b'=') {
                return None;
            }
            let value = if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.token()? };
            if name.eq_ignore_ascii_case(b"ma") {
                seconds = number(value)?;
            }
        }
        self.skip_space();
        if !self.rest.is_empty() && !self.take(b',') {
            return None;
        }
        Some(Service { protocol, host, port, seconds })
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Whether this comes next, with space around it.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_there = self.rest.first() == Some(&byte);
        if is_there {
            self.rest = &self.rest[1..];
            self.skip_space();
        }
        is_there
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let (token, rest) = self.rest.split_at(scan::end_of(TOKEN, self.rest, 0));
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// What stands in quotes. Nothing that has a use in them has to be escaped.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        self.rest = &rest[end + 1..];
        (!rest[..end].contains(&b'\\')).then_some(&rest[..end])
    }
}

/// RFC 9111 section 1.2.2: what is too large is as much as there can be.
fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, add))
}

/// RFC 7838 section 3.1: twenty-four hours.
const SECONDS_USUAL: u32 = 86_400;

#[cfg(test)]
mod tests;
