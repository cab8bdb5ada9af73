//! The static table (RFC 9204 appendix A), and where to look in it.

use crate::fields::Name;
use crate::head::Known;

const OTHER: Name = Name::Field(Known::Other);

/// Entries 0 to 98: whose name, name, value.
#[rustfmt::skip]
pub(super) const ENTRIES: [(Name, &str, &str); 99] = [
    (Name::Authority, ":authority", ""),
    (Name::Path, ":path", "/"),
    (Name::Field(Known::Age), "age", "0"),
    (Name::Field(Known::ContentDisposition), "content-disposition", ""),
    (Name::Field(Known::ContentLength), "content-length", "0"),
    (Name::Field(Known::Cookie), "cookie", ""),
    (Name::Field(Known::Date), "date", ""),
    (Name::Field(Known::ETag), "etag", ""),
    (Name::Field(Known::IfModifiedSince), "if-modified-since", ""),
    (Name::Field(Known::IfNoneMatch), "if-none-match", ""),
    (Name::Field(Known::LastModified), "last-modified", ""),
    (OTHER, "link", ""),
    (Name::Field(Known::Location), "location", ""),
    (Name::Field(Known::Referer), "referer", ""),
    (Name::Field(Known::SetCookie), "set-cookie", ""),
    (Name::Method, ":method", "CONNECT"),
    (Name::Method, ":method", "DELETE"),
    (Name::Method, ":method", "GET"),
    (Name::Method, ":method", "HEAD"),
    (Name::Method, ":method", "OPTIONS"),
    (Name::Method, ":method", "POST"),
    (Name::Method, ":method", "PUT"),
    (Name::Scheme, ":scheme", "http"),
    (Name::Scheme, ":scheme", "https"),
    (Name::Status, ":status", "103"),
    (Name::Status, ":status", "200"),
    (Name::Status, ":status", "304"),
    (Name::Status, ":status", "404"),
    (Name::Status, ":status", "503"),
    (Name::Field(Known::Accept), "accept", "*/*"),
    (Name::Field(Known::Accept), "accept", "application/dns-message"),
    (Name::Field(Known::AcceptEncoding), "accept-encoding", "gzip, deflate, br"),
    (Name::Field(Known::AcceptRanges), "accept-ranges", "bytes"),
    (OTHER, "access-control-allow-headers", "cache-control"),
    (OTHER, "access-control-allow-headers", "content-type"),
    (OTHER, "access-control-allow-origin", "*"),
    (Name::Field(Known::CacheControl), "cache-control", "max-age=0"),
    (Name::Field(Known::CacheControl), "cache-control", "max-age=2592000"),
    (Name::Field(Known::CacheControl), "cache-control", "max-age=604800"),
    (Name::Field(Known::CacheControl), "cache-control", "no-cache"),
    (Name::Field(Known::CacheControl), "cache-control", "no-store"),
    (Name::Field(Known::CacheControl), "cache-control", "public, max-age=31536000"),
    (Name::Field(Known::ContentEncoding), "content-encoding", "br"),
    (Name::Field(Known::ContentEncoding), "content-encoding", "gzip"),
    (Name::Field(Known::ContentType), "content-type", "application/dns-message"),
    (Name::Field(Known::ContentType), "content-type", "application/javascript"),
    (Name::Field(Known::ContentType), "content-type", "application/json"),
    (Name::Field(Known::ContentType), "content-type", "application/x-www-form-urlencoded"),
    (Name::Field(Known::ContentType), "content-type", "image/gif"),
    (Name::Field(Known::ContentType), "content-type", "image/jpeg"),
    (Name::Field(Known::ContentType), "content-type", "image/png"),
    (Name::Field(Known::ContentType), "content-type", "text/css"),
    (Name::Field(Known::ContentType), "content-type", "text/html; charset=utf-8"),
    (Name::Field(Known::ContentType), "content-type", "text/plain"),
    (Name::Field(Known::ContentType), "content-type", "text/plain;charset=utf-8"),
    (Name::Field(Known::Range), "range", "bytes=0-"),
    (OTHER, "strict-transport-security", "max-age=31536000"),
    (OTHER, "strict-transport-security", "max-age=31536000; includesubdomains"),
    (OTHER, "strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    (Name::Field(Known::Vary), "vary", "accept-encoding"),
    (Name::Field(Known::Vary), "vary", "origin"),
    (OTHER, "x-content-type-options", "nosniff"),
    (OTHER, "x-xss-protection", "1; mode=block"),
    (Name::Status, ":status", "100"),
    (Name::Status, ":status", "204"),
    (Name::Status, ":status", "206"),
    (Name::Status, ":status", "302"),
    (Name::Status, ":status", "400"),
    (Name::Status, ":status", "403"),
    (Name::Status, ":status", "421"),
    (Name::Status, ":status", "425"),
    (Name::Status, ":status", "500"),
    (Name::Field(Known::AcceptLanguage), "accept-language", ""),
    (OTHER, "access-control-allow-credentials", "FALSE"),
    (OTHER, "access-control-allow-credentials", "TRUE"),
    (OTHER, "access-control-allow-headers", "*"),
    (OTHER, "access-control-allow-methods", "get"),
    (OTHER, "access-control-allow-methods", "get, post, options"),
    (OTHER, "access-control-allow-methods", "options"),
    (OTHER, "access-control-expose-headers", "content-length"),
    (OTHER, "access-control-request-headers", "content-type"),
    (OTHER, "access-control-request-method", "get"),
    (OTHER, "access-control-request-method", "post"),
    (OTHER, "alt-svc", "clear"),
    (Name::Field(Known::Authorization), "authorization", ""),
    (OTHER, "content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    (OTHER, "early-data", "1"),
    (OTHER, "expect-ct", ""),
    (Name::Field(Known::Forwarded), "forwarded", ""),
    (Name::Field(Known::IfRange), "if-range", ""),
    (Name::Field(Known::Origin), "origin", ""),
    (OTHER, "purpose", "prefetch"),
    (Name::Field(Known::Server), "server", ""),
    (OTHER, "timing-allow-origin", "*"),
    (OTHER, "upgrade-insecure-requests", "1"),
    (Name::Field(Known::UserAgent), "user-agent", ""),
    (Name::Field(Known::XForwardedFor), "x-forwarded-for", ""),
    (OTHER, "x-frame-options", "deny"),
    (OTHER, "x-frame-options", "sameorigin"),
];

/// The first entry with a name, and whether it has the value too; the one with both if there is one.
pub(super) fn find(known: Known, name: &[u8], value: &[u8]) -> Option<(usize, bool)> {
    let mut at = match known {
        Known::Other => OTHERS.get(name.len()).copied().unwrap_or(NONE),
        known => KNOWN[known as usize],
    };
    let mut named = None;
    while let Some(entry) = ENTRIES.get(usize::from(at)) {
        // A number is a name, but for that of all others.
        if known != Known::Other || entry.1.as_bytes() == name {
            if entry.2.as_bytes() == value {
                return Some((usize::from(at), true));
            }
            named = named.or(Some((usize::from(at), false)));
        }
        at = NEXT[usize::from(at)];
    }
    named
}

/// No entry's index.
const NONE: u8 = u8::MAX;

/// Where the first entry of a well-known name is.
const KNOWN: [u8; 64] = {
    let mut known = [NONE; 64];
    let mut at = ENTRIES.len();
    while at > 0 {
        at -= 1;
        if let Name::Field(name) = ENTRIES[at].0 {
            known[name as usize] = at as u8;
        }
    }
    known
};

/// Where the first entry of another name of this length is.
const OTHERS: [u8; OTHER_BYTES_MAX + 1] = {
    let mut others = [NONE; OTHER_BYTES_MAX + 1];
    let mut at = ENTRIES.len();
    while at > 0 {
        at -= 1;
        if matches!(ENTRIES[at].0, OTHER) {
            others[ENTRIES[at].1.len()] = at as u8;
        }
    }
    others
};

/// Behind each entry the next with the same number, and among others of the same length.
const NEXT: [u8; 99] = {
    let mut next = [NONE; 99];
    let mut at = 0;
    while at < ENTRIES.len() {
        let mut after = at + 1;
        while after < ENTRIES.len() && next[at] == NONE {
            if let (Name::Field(one), Name::Field(other)) = (ENTRIES[at].0, ENTRIES[after].0)
                && one as u8 == other as u8
                && (one as u8 != Known::Other as u8 || ENTRIES[at].1.len() == ENTRIES[after].1.len())
            {
                next[at] = after as u8;
            }
            after += 1;
        }
        at += 1;
    }
    next
};

/// No name in the table is longer: `access-control-allow-credentials`.
const OTHER_BYTES_MAX: usize = 32;
