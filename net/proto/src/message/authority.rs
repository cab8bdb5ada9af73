//! The authority of a target, and the `Host` field: whether a host is one, and its port.

use crate::scan::{self, REG_NAME};

/// Whether `value` is `uri-host [ ":" port ]`. An empty host says that the target has no authority (RFC 9110
/// section 7.2), so there can be no port then.
#[inline]
pub(crate) fn is_host(value: &[u8]) -> bool {
    // A name or an IPv4 address, with or without a port: nearly all are.
    match &value[scan::end_of(REG_NAME, value, 0)..] {
        [] => true,
        [b':', port @ ..] if port.len() < value.len() - 1 => is_port(port),
        _ => is_other_host(value),
    }
}

#[cold]
fn is_other_host(value: &[u8]) -> bool {
    matches!(host_and_port(value), Some((host, port)) if !host.is_empty() || port.is_none())
}

/// Whether `value` names a host and a port, as a `CONNECT` must. RFC 9110 section 9.3.6: an empty or invalid port must be
/// refused. Nobody listens on port 0.
pub(crate) fn is_endpoint(value: &[u8]) -> bool {
    let nobodys = |port: &[u8]| port.iter().all(|&digit| digit == b'0');
    matches!(host_and_port(value), Some((host, Some(port))) if !host.is_empty() && !nobodys(port))
}

/// Splits `uri-host [ ":" port ]` of RFC 3986 section 3.2; `None` if it is malformed. User information is.
fn host_and_port(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_end = match value {
        [b'[', literal @ ..] => {
            let end = literal.iter().position(|&byte| byte == b']')?;
            is_ip_literal(&literal[..end]).then_some(end + 2)?
        }
        _ => reg_name_end(value),
    };
    let (host, rest) = value.split_at(host_end);
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] if is_port(port) => Some((host, Some(port))),
        _ => None,
    }
}

/// Where the `reg-name` that the value begins with ends.
#[inline]
fn reg_name_end(value: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end = scan::end_of(REG_NAME, value, end);
        match &value[end..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => end += 3,
            _ => return end,
        }
    }
}

/// An IPv6 address, or the `IPvFuture` that the grammar has and nobody uses.
fn is_ip_literal(literal: &[u8]) -> bool {
    match std::str::from_utf8(literal) {
        Ok(text) => text.parse::<std::net::Ipv6Addr>().is_ok(),
        Err(_) => false,
    }
}

/// Empty, or a number up to 65,535: `port = *DIGIT`.
#[inline]
fn is_port(port: &[u8]) -> bool {
    let mut number = 0;
    for byte in port {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        number = number * 10 + digit;
        if digit > 9 || number > 0xffff {
            return false;
        }
    }
    true
}
