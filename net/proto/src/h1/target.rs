//! The request target: which of its four forms it is, and where its parts are.
//!
//! The scan finds the end of the target and its parts; whether the form fits the method is judged in
//! [`check_form`], once the head is complete.

use http::Method;

use super::Error;
use crate::head::{HeadTable, Span, Target};
use crate::message::authority;
use crate::scan::{self, PATH, QUERY};

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
        return match (is_authority_form, authority::is_endpoint(authority)) {
            (false, _) => Err(Error::TargetForm),
            (true, true) => Ok(()),
            (true, false) => Err(Error::TargetAuthority),
        };
    }
    if target == b"*" {
        return if table.method == Method::OPTIONS { Ok(()) } else { Err(Error::TargetForm) };
    }
    if parts.authority.start == parts.whole.start || target.first() == Some(&b'*') {
        return Err(Error::TargetForm);
    }
    if authority.is_empty() || !authority::is_host(authority) { Err(Error::TargetAuthority) } else { Ok(()) }
}
