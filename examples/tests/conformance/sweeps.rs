//! Entries that differ in one byte: each value in each place.

use crate::probe::{CLOSED, KEPT, Probe, expand};

/// Places where a byte can stand, as `@`, within a request that is good without it.
const PLACES: &[(&str, &str, &str)] = &[
    ("RFC 9112 §3", "before the method", "@{G}\r\n"),
    ("RFC 9112 §3.1", "in the method", "GE@T /request{V}\r\n"),
    ("RFC 9112 §3", "behind the method", "GET@ /request{V}\r\n"),
    ("RFC 9112 §3", "before the target", "GET @/request{V}\r\n"),
    ("RFC 9112 §3.2", "in the path", "GET /request/a@b{V}\r\n"),
    ("RFC 9112 §3.2", "in the query", "GET /request?a@b{V}\r\n"),
    ("RFC 9112 §3", "behind the target", "GET /request@ HTTP/1.1\r\nHost: here\r\n\r\n"),
    ("RFC 9112 §2.3", "before the version", "GET /request @HTTP/1.1\r\nHost: here\r\n\r\n"),
    ("RFC 9112 §2.3", "in the version", "GET /request HTTP/@1.1\r\nHost: here\r\n\r\n"),
    ("RFC 9112 §2.3", "behind the version", "GET /request HTTP/1.1@\r\nHost: here\r\n\r\n"),
    ("RFC 9112 §5", "before a name", "{G}@x: y\r\n\r\n"),
    ("RFC 9110 §5.1", "in a name", "{G}x@y: z\r\n\r\n"),
    ("RFC 9112 §5.1", "before the colon", "{G}x@: y\r\n\r\n"),
    ("RFC 9110 §5.5", "before a value", "{G}x:@y\r\n\r\n"),
    ("RFC 9110 §5.5", "in a value", "{G}x: a@b\r\n\r\n"),
    ("RFC 9110 §5.5", "behind a value", "{G}x: y@\r\n\r\n"),
    ("RFC 9110 §7.2", "in the host", "GET /request HTTP/1.1\r\nHost: he@re\r\n\r\n"),
    ("RFC 9110 §8.6", "in the length", "{P}Content-Length: 1@0\r\n\r\n0123456789"),
    ("RFC 9112 §6.1", "in the coding", "{P}Transfer-Encoding: chun@ked\r\n\r\n0\r\n\r\n"),
    ("RFC 9112 §6.1", "behind the coding", "{P}Transfer-Encoding: chunked@x\r\n\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1", "before the chunk size", "{C}@2\r\nhi\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1", "in the chunk size", "{C}0@2\r\nhi\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1.1", "in an extension's name", "{C}2;a@b\r\nhi\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1.1", "in an extension's value", "{C}2;a=b@c\r\nhi\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1.1", "in a quoted value", "{C}2;a=\"b@c\"\r\nhi\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1", "behind a chunk", "{C}2\r\nhi@\r\n0\r\n\r\n"),
    ("RFC 9112 §7.1.2", "in a trailer's name", "{C}2\r\nhi\r\n0\r\nx@y: z\r\n\r\n"),
    ("RFC 9112 §7.1.2", "in a trailer's value", "{C}2\r\nhi\r\n0\r\nx: a@b\r\n\r\n"),
];

/// Where a tab is white space.
const TABS: &[&str] = &["before a value", "in a value", "behind a value", "in a quoted value", "in a trailer's value"];

/// A control character stands nowhere but for tabs in values (RFC 9110 §5.5) and what ends a line.
pub(crate) fn refused() -> Vec<Probe> {
    let mut probes = Vec::new();
    for (clause, place, text) in PLACES {
        for byte in (0..b' ').chain([0x7f]).filter(|&byte| byte != b'\t' || !TABS.contains(place)) {
            probes.push(Probe::new(clause, format!("{byte:#04x} {place}"), with(text, byte), "400", CLOSED));
        }
    }
    // RFC 9110 §5.6.2: delimiters are not part of a token. (A colon ends a name.)
    for byte in *b"\"(),/;<=>?@[\\]{}" {
        let name = format!("{:?} in a name", byte as char);
        probes.push(Probe::new("RFC 9110 §5.6.2", name, with("{G}x@y: z\r\n\r\n", byte), "400 name", CLOSED));
        let name = format!("{:?} in the method", byte as char);
        probes.push(Probe::new("RFC 9110 §9.1", name, with("GE@T /request{V}\r\n", byte), "400 method", CLOSED));
    }
    for byte in 0x80..=0xff_u8 {
        let name = format!("{byte:#04x} in the path");
        probes.push(Probe::new("RFC 3986 §2", name, with("GET /request/@{V}\r\n", byte), "400 target", CLOSED));
    }
    probes
}

/// All that a token, a path, a query, a value and a host may hold.
pub(crate) fn accepted() -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut add = |clause, what: &str, text: &str, byte: u8, expect: String| {
        probes.push(Probe::new(clause, format!("{byte:#04x} {what}"), with(text, byte), &expect, KEPT));
    };
    for byte in (b'0'..=b'z')
        .chain(*b"!#$%&'*+-.|~")
        .filter(|&byte| byte.is_ascii_alphanumeric() || !b":;<=>?@[\\]".contains(&byte))
    {
        let shown = byte as char;
        add("RFC 9110 §5.6.2", "in a name", "{G}x@y: z\r\n\r\n", byte, format!("GET /request; x{shown}y: z"));
        add("RFC 9110 §9.1", "in the method", "GE@T /request{V}\r\n", byte, format!("GE{shown}T /request"));
    }
    // Of these RFC 3986 wants `[`, `\`, `]`, `^`, `{`, `|` and `}` encoded. Browsers send some of them as they are, and
    // none of them parts a target from what follows it, so we let them be.
    for byte in (b'!'..=b'~').filter(|byte| !b"\"#<>?`".contains(byte)) {
        let shown = byte.escape_ascii().to_string().replace("\\'", "'");
        add("RFC 3986 §3.3", "in the path", "GET /request/@{V}\r\n", byte, format!("GET /request/{shown}"));
    }
    for byte in (b'!'..=b'~').filter(|byte| !b"\"#<>".contains(byte)) {
        let shown = byte.escape_ascii().to_string().replace("\\'", "'");
        add("RFC 3986 §3.4", "in the query", "GET /request?@{V}\r\n", byte, format!("GET /request?{shown}"));
    }
    for byte in (b' '..=0xff).filter(|&byte| byte != 0x7f).chain([b'\t']) {
        let shown = byte.escape_ascii().to_string().replace("\\'", "'");
        add("RFC 9110 §5.5", "in a value", "{G}x: a@b\r\n\r\n", byte, format!("GET /request; x: a{shown}b"));
    }
    for byte in *b"!$&'()*+,;=-._~0aZ" {
        let text = "GET /request HTTP/1.1\r\nHost: @\r\n\r\n";
        add("RFC 3986 §3.2.2", "in the host", text, byte, format!("GET /request; Host: {}", byte as char));
    }
    probes
}

fn with(text: &str, byte: u8) -> Vec<u8> {
    let (before, after) = text.split_once('@').expect("a place");
    [&expand(before)[..], &[byte], &expand(after)].concat()
}
