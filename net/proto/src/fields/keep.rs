//! Which values are worth a place in a table of the peer's.

use super::TABLE_BYTES;
use crate::head::Known;

/// What is known of a value beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It comes again.
    Yes,
    /// It is another in most answers, and would push out what does come again.
    No,
    /// It is secret, and nobody on the way may keep it (RFC 7541 section 7.1.3).
    Never,
}

/// Which values are worth a place in the table.
#[inline]
pub(crate) fn keep(known: Known, value: &[u8]) -> Keep {
    use Known::*;
    match known {
        Authorization | ProxyAuthorization | SetCookie => Keep::Never,
        // Short ones can be guessed by one who sees the length of what is sent.
        Cookie if value.len() < COOKIE_BYTES_MIN => Keep::Never,
        ContentLength | ContentRange | Range | ETag | LastModified | Location | Age | XRequestId | TraceParent => {
            Keep::No
        }
        IfModifiedSince | IfNoneMatch | IfUnmodifiedSince | IfMatch | IfRange => Keep::No,
        _ if value.len() > VALUE_BYTES_MAX => Keep::No,
        _ => Keep::Yes,
    }
}

/// Cookies shorter than this are not kept in the table; others have more to guess than a few requests can try.
const COOKIE_BYTES_MIN: usize = 20;

/// Values longer than this are not: a quarter of the table.
const VALUE_BYTES_MAX: usize = TABLE_BYTES / 4;
