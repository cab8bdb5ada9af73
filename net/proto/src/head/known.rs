//! Well-known field names as small integers.
//!
//! The one idea: a name is found by one multiplication and one comparison. The multiplier is searched for at compile
//! time, so adding a name is adding a line, and a collision cannot be committed.

use http::HeaderName;

macro_rules! known {
    ($($(#[$attribute:meta])* $variant:ident = $name:literal,)+) => {
        /// A field name that the engines or many handlers ask for; every other name is [`Known::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// A name that is not in this list.
            Other,
            $(#[doc = concat!("`", $name, "`")] $(#[$attribute])* $variant,)+
        }

        const ALL: &[(Known, &str)] = &[(Known::Other, ""), $((Known::$variant, $name)),+];

        /// The first stands for none.
        static NAMES: [HeaderName; ALL.len()] =
            [HeaderName::from_static("other"), $(HeaderName::from_static($name)),+];
    };
}

// Those that decide framing and routing come first: see `Known::is_framing`.
known! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    Expect = "expect",
    Upgrade = "upgrade",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    Age = "age",
    Allow = "allow",
    Authorization = "authorization",
    CacheControl = "cache-control",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    ETag = "etag",
    Expires = "expires",
    Forwarded = "forwarded",
    Http2Settings = "http2-settings",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    LastModified = "last-modified",
    Location = "location",
    MaxForwards = "max-forwards",
    Origin = "origin",
    Pragma = "pragma",
    Priority = "priority",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    Range = "range",
    Referer = "referer",
    RetryAfter = "retry-after",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketExtensions = "sec-websocket-extensions",
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketProtocol = "sec-websocket-protocol",
    SecWebSocketVersion = "sec-websocket-version",
    Server = "server",
    SetCookie = "set-cookie",
    TraceParent = "traceparent",
    TraceState = "tracestate",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XRequestId = "x-request-id",
}

impl Known {
    /// The name's number, whatever the case of its letters; [`Known::Other`] if it is not in the list.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        if name.len() < NAME_BYTES_MIN || name.len() > NAME_BYTES_MAX {
            return Known::Other;
        }
        let known = SLOTS[slot(name, MULTIPLIER)];
        let lower = known.name().as_bytes();
        // Whoever writes has names in lower case.
        if name == lower || is_same(name, lower) { known } else { Known::Other }
    }

    /// [`of`](Self::of) for the name that lies at `start..end` of a head. Most names have no more than eight bytes, and
    /// those are one word read from the head with what follows them masked out.
    #[inline(always)]
    pub(crate) fn at(block: &[u8], start: usize, end: usize) -> Known {
        let count = end - start;
        match block.get(start..).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) if (NAME_BYTES_MIN..=8).contains(&count) => {
                let word = u64::from_le_bytes(*word) & (u64::MAX >> (64 - 8 * count));
                let known = SLOTS[slot(&block[start..end], MULTIPLIER)];
                if lower_case(word) == WORDS[known as usize] { known } else { Known::Other }
            }
            _ => Known::of(&block[start..end]),
        }
    }

    /// The name in lower case; empty for [`Known::Other`].
    #[inline]
    pub const fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// The same as a type that need not be looked up; `None` for [`Known::Other`].
    #[inline]
    pub fn header_name(self) -> Option<&'static HeaderName> {
        (self != Known::Other).then(|| &NAMES[self as usize])
    }

    /// Whether the field decides where a message ends, who it is for or what becomes of the connection.
    #[inline]
    pub(crate) fn is_framing(self) -> bool {
        self != Known::Other && self <= Known::Upgrade
    }

    /// Whether the field is for one connection alone and not passed on (RFC 9110 section 7.6.1), `Connection` itself included.
    pub fn is_hop_by_hop(self) -> bool {
        use Known::*;
        matches!(self, Connection | KeepAlive | ProxyConnection | Te | TransferEncoding | Upgrade)
    }

    /// Whether the field may stand in a trailer section. RFC 9110 section 6.5.1 forbids what is needed before the
    /// content: framing, routing, request modifiers, authentication, response controls and the content's format.
    pub fn is_allowed_in_trailers(self) -> bool {
        use Known::*;
        self > Trailer
            && !matches!(self, Age | Authorization | CacheControl | ContentEncoding | ContentRange | ContentType)
            && !matches!(self, Cookie | Date | Expires | Forwarded | Http2Settings | IfMatch | IfModifiedSince)
            && !matches!(self, IfNoneMatch | IfRange | IfUnmodifiedSince | Location | MaxForwards | Pragma)
            && !matches!(self, ProxyAuthenticate | ProxyAuthorization | Range | RetryAfter | SetCookie | Vary)
            && !matches!(self, WwwAuthenticate | XForwardedFor | XForwardedHost | XForwardedProto)
            || self == Other
    }
}

/// Where a name of the list would stand: its length and four of its letters, mixed. The letters' case is dropped.
#[inline(always)]
const fn slot(name: &[u8], multiplier: u32) -> usize {
    let count = name.len();
    let letters = u32::from_le_bytes([name[0], name[count / 2], name[count - 2], name[count - 1]]) | 0x2020_2020;
    (letters.wrapping_add((count as u32) << 6).wrapping_mul(multiplier) >> (32 - SLOT_BITS)) as usize
}

/// Whether `name` is `lower` but for the case of its letters: a word at a time, the last one overlapping.
#[inline(always)]
fn is_same(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    let (mut left, mut right) = (name, lower);
    while let (Some(a), Some(b)) = (left.first_chunk::<8>(), right.first_chunk::<8>()) {
        if lower_case(u64::from_le_bytes(*a)) != u64::from_le_bytes(*b) {
            return false;
        }
        (left, right) = (&left[8..], &right[8..]);
    }
    match (name.last_chunk::<8>(), lower.last_chunk::<8>()) {
        (Some(a), Some(b)) => lower_case(u64::from_le_bytes(*a)) == u64::from_le_bytes(*b),
        _ => lower_case(short(name)) == short(lower),
    }
}

/// A name of two to seven bytes in one word: its first and its last bytes, overlapping.
#[inline(always)]
fn short(name: &[u8]) -> u64 {
    match (name.first_chunk::<4>(), name.last_chunk::<4>(), name.first_chunk::<2>(), name.last_chunk::<2>()) {
        (Some(first), Some(last), ..) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        (_, _, Some(first), Some(last)) => {
            u64::from(u16::from_le_bytes(*first)) << 16 | u64::from(u16::from_le_bytes(*last))
        }
        _ => 0,
    }
}

/// Eight bytes with the bit set that makes a capital small: `A` to `Z` only.
#[inline(always)]
const fn lower_case(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let low = word & (ONES * 0x7f);
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let after_z = low + ONES * (0x7f - b'Z' as u64);
    let capitals = (from_a ^ after_z) & !word & (ONES * 0x80);
    word | capitals >> 2
}

const fn multiplier() -> u32 {
    let mut candidate: u32 = 0x9e37_79b1;
    loop {
        let mut taken = [false; 1 << SLOT_BITS];
        let mut index = 1;
        while index < ALL.len() {
            let slot = slot(ALL[index].1.as_bytes(), candidate);
            if taken[slot] {
                break;
            }
            taken[slot] = true;
            index += 1;
        }
        if index == ALL.len() {
            return candidate;
        }
        candidate = candidate.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f) | 1;
    }
}

const SLOTS: [Known; 1 << SLOT_BITS] = {
    let mut slots = [Known::Other; 1 << SLOT_BITS];
    let mut index = 1;
    while index < ALL.len() {
        slots[slot(ALL[index].1.as_bytes(), MULTIPLIER)] = ALL[index].0;
        index += 1;
    }
    slots
};

/// The names of at most eight bytes, each as one word; for the others, what no name is.
const WORDS: [u64; ALL.len()] = {
    let mut words = [u64::MAX; ALL.len()];
    let mut index = 1;
    while index < ALL.len() {
        let name = ALL[index].1.as_bytes();
        let (mut word, mut at) = (0, name.len());
        while name.len() <= 8 && at > 0 {
            at -= 1;
            word = word << 8 | name[at] as u64;
        }
        if name.len() <= 8 {
            words[index] = word;
        }
        index += 1;
    }
    words
};

/// 512 slots of one byte: sparse enough that a multiplier without collisions is found within the compiler's patience.
const SLOT_BITS: u32 = 9;
const MULTIPLIER: u32 = multiplier();
const NAME_BYTES_MIN: usize = 2;
const NAME_BYTES_MAX: usize = 24;
// A set of known names is one word.
const _: () = assert!(ALL.len() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_else_is() {
        for &(known, name) in &ALL[1..] {
            assert!((NAME_BYTES_MIN..=NAME_BYTES_MAX).contains(&name.len()), "{name}");
            assert_eq!(Known::of(name.as_bytes()), known);
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(known.header_name().expect("it has one"), name);
            for after in ["", ": x", ": a longer value\r\n"] {
                let line = format!("x{}{after}", name.to_ascii_uppercase());
                assert_eq!(Known::at(line.as_bytes(), 1, 1 + name.len()), known, "{line}");
                assert_eq!(Known::at(line.as_bytes(), 0, 1 + name.len()), Known::Other, "{line}");
            }
            for index in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[index] ^= 0x60;
                assert_eq!(Known::of(&other), Known::Other, "{name} with byte {index} changed");
            }
        }
        for name in ["", "x", "x-powered-by", "content-lengt", "content-length2", "sec-websocket-extensions-"] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }

    #[test]
    fn framing_comes_first() {
        assert!(Known::Host.is_framing() && Known::Upgrade.is_framing());
        assert!(!Known::Other.is_framing() && !Known::KeepAlive.is_framing());
    }

    #[test]
    fn trailers_hold_nothing_that_was_needed_before() {
        for known in [Known::Other, Known::ETag, Known::Server, Known::XRequestId] {
            assert!(known.is_allowed_in_trailers(), "{known:?}");
        }
        for known in [Known::Host, Known::ContentLength, Known::Trailer, Known::Authorization, Known::ContentType] {
            assert!(!known.is_allowed_in_trailers(), "{known:?}");
        }
    }
}
