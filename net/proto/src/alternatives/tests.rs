//! What servers say, and what they might.

use super::{Service, is_clear, services};

/// `protocol host port seconds`, one service after the other.
#[track_caller]
fn check(value: &str, expect: &str) {
    let found: Vec<_> = services(value.as_bytes())
        .map(|Service { protocol, host, port, seconds }| {
            format!("{} {host:?} {port} {seconds}", String::from_utf8_lossy(protocol))
        })
        .collect();
    assert_eq!(found.join(", "), expect, "{value}");
}

#[test]
fn services_are_named_with_their_time() {
    check(r#"h3=":443""#, r#"h3 "" 443 86400"#);
    check(r#"h3=":443"; ma=2592000"#, r#"h3 "" 443 2592000"#);
    check(r#"h3=":443";ma=60;persist=1"#, r#"h3 "" 443 60"#);
    check(r#"h3=":443"; MA="60""#, r#"h3 "" 443 60"#);
    check(r#"h3="other.example:8443" ; ma=0"#, r#"h3 "other.example" 8443 0"#);
    check(r#"h3="[2001:db8::1]:1""#, r#"h3 "[2001:db8::1]" 1 86400"#);
    check(r#"h3=":1", h2="b:2"; ma=5 , w%3Dx%3Ay#z=":3""#, r#"h3 "" 1 86400, h2 "b" 2 5, w%3Dx%3Ay#z "" 3 86400"#);
    check(r#", ,h3=":1",,"#, r#"h3 "" 1 86400"#);
    check(r#"h3=":1"; ma=99999999999999999999"#, r#"h3 "" 1 4294967295"#);
    check(r#"h3=":1"; v="46,43"; ma=7"#, r#"h3 "" 1 7"#);
}

#[test]
fn what_cannot_be_understood_ends_them() {
    for value in [
        "",
        "clear",
        "h3",
        "h3=",
        "h3=:443",
        "h3=\"443\"",
        "h3=\":\"",
        "h3=\":0\"",
        "h3=\":65536\"",
        "h3=\":+1\"",
        "h3=\":4x\"",
        "h3=\":443",
        "=\":443\"",
        "h3=\":443\"; ma",
        "h3=\":443\"; ma=",
        "h3=\":443\"; ma=-1",
        "h3=\":443\"; ma=x",
        "h3=\":443\" ma=1",
        "h3=\"a\\:1\"",
        "h3=\"\u{e9}\\\"",
        "h3 h3=\":1\"",
    ] {
        check(value, "");
    }
    check(r#"h3=":1", h3=, h3=":2""#, r#"h3 "" 1 86400"#);
}

#[test]
fn all_may_be_forgotten() {
    assert!(is_clear(b"clear") && is_clear(b" clear "));
    assert!(!is_clear(b"Clear") && !is_clear(b"h3=\":1\"") && !is_clear(b""));
}

/// Whatever comes, it ends.
#[test]
fn any_bytes_come_to_an_end() {
    let pieces: [&[u8]; 10] = [b"h3", b"=", b"\"", b":443", b";", b"ma", b",", b" ", b"\xff", b"\\"];
    for number in 0..100_000usize {
        let mut left = number;
        let mut value = Vec::new();
        while left > 0 {
            value.extend_from_slice(pieces[left % 10]);
            left /= 10;
        }
        assert!(services(&value).count() <= 5);
    }
}
