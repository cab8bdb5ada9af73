//! The static table (RFC 7541 appendix A), and where to look in it.

use crate::fields::Name;
use crate::head::Known;

const OTHER: Name = Name::Field(Known::Other);

/// Entries 1 to 61: whose name, name, value.
#[rustfmt::skip]
pub(super) const ENTRIES: [(Name, &str, &str); 61] = [
    (Name::Authority, ":authority", ""),
    (Name::Method, ":method", "GET"),
    (Name::Method, ":method", "POST"),
    (Name::Path, ":path", "/"),
    (Name::Path, ":path", "/index.html"),
    (Name::Scheme, ":scheme", "http"),
    (Name::Scheme, ":scheme", "https"),
    (Name::Status, ":status", "200"),
    (Name::Status, ":status", "204"),
    (Name::Status, ":status", "206"),
    (Name::Status, ":status", "304"),
    (Name::Status, ":status", "400"),
    (Name::Status, ":status", "404"),
    (Name::Status, ":status", "500"),
    (OTHER, "accept-charset", ""),
    (Name::Field(Known::AcceptEncoding), "accept-encoding", "gzip, deflate"),
    (Name::Field(Known::AcceptLanguage), "accept-language", ""),
    (Name::Field(Known::AcceptRanges), "accept-ranges", ""),
    (Name::Field(Known::Accept), "accept", ""),
    (OTHER, "access-control-allow-origin", ""),
    (Name::Field(Known::Age), "age", ""),
    (Name::Field(Known::Allow), "allow", ""),
    (Name::Field(Known::Authorization), "authorization", ""),
    (Name::Field(Known::CacheControl), "cache-control", ""),
    (Name::Field(Known::ContentDisposition), "content-disposition", ""),
    (Name::Field(Known::ContentEncoding), "content-encoding", ""),
    (OTHER, "content-language", ""),
    (Name::Field(Known::ContentLength), "content-length", ""),
    (OTHER, "content-location", ""),
    (Name::Field(Known::ContentRange), "content-range", ""),
    (Name::Field(Known::ContentType), "content-type", ""),
    (Name::Field(Known::Cookie), "cookie", ""),
    (Name::Field(Known::Date), "date", ""),
    (Name::Field(Known::ETag), "etag", ""),
    (Name::Field(Known::Expect), "expect", ""),
    (Name::Field(Known::Expires), "expires", ""),
    (OTHER, "from", ""),
    (Name::Field(Known::Host), "host", ""),
    (Name::Field(Known::IfMatch), "if-match", ""),
    (Name::Field(Known::IfModifiedSince), "if-modified-since", ""),
    (Name::Field(Known::IfNoneMatch), "if-none-match", ""),
    (Name::Field(Known::IfRange), "if-range", ""),
    (Name::Field(Known::IfUnmodifiedSince), "if-unmodified-since", ""),
    (Name::Field(Known::LastModified), "last-modified", ""),
    (OTHER, "link", ""),
    (Name::Field(Known::Location), "location", ""),
    (Name::Field(Known::MaxForwards), "max-forwards", ""),
    (Name::Field(Known::ProxyAuthenticate), "proxy-authenticate", ""),
    (Name::Field(Known::ProxyAuthorization), "proxy-authorization", ""),
    (Name::Field(Known::Range), "range", ""),
    (Name::Field(Known::Referer), "referer", ""),
    (OTHER, "refresh", ""),
    (Name::Field(Known::RetryAfter), "retry-after", ""),
    (Name::Field(Known::Server), "server", ""),
    (Name::Field(Known::SetCookie), "set-cookie", ""),
    (OTHER, "strict-transport-security", ""),
    (Name::Field(Known::TransferEncoding), "transfer-encoding", ""),
    (Name::Field(Known::UserAgent), "user-agent", ""),
    (Name::Field(Known::Vary), "vary", ""),
    (Name::Field(Known::Via), "via", ""),
    (Name::Field(Known::WwwAuthenticate), "www-authenticate", ""),
];

/// Where a well-known name stands; zero where it does not.
const KNOWN: [u8; 64] = {
    let mut known = [0; 64];
    let mut at = ENTRIES.len();
    while at > 0 {
        at -= 1;
        if let Name::Field(name) = ENTRIES[at].0
            && !matches!(name, Known::Other)
        {
            known[name as usize] = at as u8 + 1;
        }
    }
    known
};

/// The index of an entry with this name, if there is one.
pub(super) fn index_of(known: Known, name: &[u8]) -> Option<usize> {
    match known {
        Known::Other => Some(ENTRIES.iter().position(|entry| entry.0 == OTHER && entry.1.as_bytes() == name)? + 1),
        known => Some(usize::from(KNOWN[known as usize])).filter(|&index| index > 0),
    }
}
