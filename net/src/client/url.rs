//! A URL, taken apart where it lies: whom to ask, and for what.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use super::Error;

/// An `http` or `https` URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'u> {
    /// Scheme, host and port as they are written: what connections are kept by.
    pub(super) origin: &'u str,
    pub(super) is_secure: bool,
    /// Host and port as they are written: the `Host` field.
    pub(super) authority: &'u str,
    /// Without the brackets of an IPv6 address.
    pub(super) host: &'u str,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: Cow<'u, str>,
}

impl<'u> Url<'u> {
    /// What is said of characters is left to the engine, which refuses what it cannot write.
    pub(super) fn parse(text: &'u str) -> Result<Self, Error> {
        let fault = |what| Error::Url { url: text.into(), what };
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| fault("it does not begin with http:// or https://"))?;
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(fault("only http and https are spoken"));
        }
        // A fragment is not the server's (RFC 9110 section 4.2.5).
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(fault("it holds credentials: send them in a header"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| fault("the host has no closing bracket"))?;
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err(fault("what stands in brackets is no IPv6 address"));
                }
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err(fault("it has no host"));
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() && is_secure => 443,
            None if port.is_empty() => 80,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(fault("the port is not between 1 and 65535")),
            },
            _ => return Err(fault("the port is not a number")),
        };
        let target = match target {
            "" => Cow::Borrowed("/"),
            query if query.starts_with('?') => Cow::Owned(format!("/{query}")),
            path => Cow::Borrowed(path),
        };
        let origin = &text[..scheme.len() + "://".len() + authority.len()];
        Ok(Url { origin, is_secure, authority, host, port, target })
    }

    /// The host, if it is an address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}
