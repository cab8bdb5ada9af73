//! The request target: which of its four forms it is, where its parts are, and whether its host is one.
//!
//! The scan finds the end of the target and its parts; whether the form fits the method is judged in
//! [`check_form`], once the head is complete.

use http::Method;

use super::Error;
use crate::head::{HeadTable, Span, Target};
use crate::scan::{self, PATH, QUERY, REG_NAME};

/// Scans the target that starts at `at` into the table and says where it ends; `None` if the bytes end first.
#[inline(always)]
pub(crate) fn parse(window: &[u8], at: usize, table: &mut HeadTable) -> Result<Option<usize>, Error> {
    let mut target = Target::default();
    let path_start = if window.get(at) == Some(&b'/') { at } else { before_path(window, at, &mut target)? };
    let path_end = scan::end_of(PATH, window, path_start);
    if path_end > path_start {
        target.path = Some(Span::between(path_start, path_end));
    }
    let mut end = path_end;
    if window.get(path_end) == Some(&b'?') {
        end = scan::end_of(QUERY, window, path_end + 1);
        target.query = Some(Span::between(path_end + 1, end));
    }
    target.whole = Span::between(at, end);
    table.target = target;
    Ok(if end < window.len() { Some(end) } else { None })
}

/// The forms that do not begin with `/`: where their path starts, if they have one.
#[cold]
fn before_path(window: &[u8], at: usize, target: &mut Target) -> Result<usize, Error> {
    let rest = &window[at..];
    if let [b'*', ..] = rest {
        return Ok(at);
    }
    let is_prefix =
        |scheme: &&str| rest.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()));
    let scheme = ["http://", "https://"].iter().find(|scheme| is_prefix(scheme)).map_or(0, |scheme| scheme.len());
    let start = at + scheme;
    if scheme > 0 {
        target.scheme = Span::between(at, start - "://".len());
    }
    let count = window[start..].iter().take_while(|&&byte| scan::is(PATH, byte) && byte != b'/').count();
    target.authority = Span::between(start, start + count);
    Ok(start + count)
}

/// Whether the form fits the method (RFC 9112 section 3.2), and a host named in the target is one.
#[inline]
pub(crate) fn check_form(block: &[u8], table: &HeadTable) -> Result<(), Error> {
    let target = table.target(block);
    let connect = table.method == Method::CONNECT;
    if target.first() == Some(&b'/') && !connect { Ok(()) } else { check_other_form(target, table, block, connect) }
}

#[cold]
fn check_other_form(target: &[u8], table: &HeadTable, block: &[u8], connect: bool) -> Result<(), Error> {
    let parts = &table.target;
    let authority = parts.authority.of(block);
    if connect {
        let is_authority_form = parts.whole == parts.authority;
        return match (is_authority_form, host_and_port(authority)) {
            (false, _) => Err(Error::TargetForm),
            // RFC 9110 section 9.3.6: an empty or invalid port must be refused. Nobody listens on port 0.
            (true, Some((host, Some(port)))) if !host.is_empty() && port.iter().any(|&digit| digit != b'0') => Ok(()),
            (true, _) => Err(Error::TargetAuthority),
        };
    }
    if target == b"*" {
        return if table.method == Method::OPTIONS { Ok(()) } else { Err(Error::TargetForm) };
    }
    if parts.authority.start == parts.whole.start || target.first() == Some(&b'*') {
        return Err(Error::TargetForm);
    }
    match host_and_port(authority) {
        Some((host, _)) if !host.is_empty() => Ok(()),
        _ => Err(Error::TargetAuthority),
    }
}

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
