//! Headers of both versions as tables, each cut at every byte.

use super::*;

/// What a header comes to, in words.
fn told(input: &[u8]) -> String {
    match parse(input) {
        Ok(Some(Header { ends: Some(ends), bytes })) => format!("{} > {}, {bytes}", ends.source, ends.destination),
        Ok(Some(Header { ends: None, bytes })) => format!("own ends, {bytes}"),
        Ok(None) => "more".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// The verdict on the whole is `expect`, with something behind it as well; on each part of it, that more is to come, or, from
/// some byte on, the same error.
#[track_caller]
fn check(input: &[u8], expect: &str) {
    assert_eq!(told(input), expect, "{}", input.escape_ascii());
    let is_refused = parse(input).is_err();
    if !is_refused && parse(input) != Ok(None) {
        assert_eq!(told(&[input, b"GET / HTTP/1.1\r\n"].concat()), expect, "with a request behind it");
    }
    for end in 0..input.len() {
        let part = told(&input[..end]);
        assert!(part == "more" || is_refused && part == expect, "{}: {part}", input[..end].escape_ascii());
    }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").octets();
    [&address("2001:db8::7")[..], &address("2001:db8::1"), &[0xdc, 0x04, 0x01, 0xbb]].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

#[test]
fn lines() {
    for (line, expect) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7:56324 > 198.51.100.1:443, 45"),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535 > 0.0.0.0:0, 44"),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324 > [2001:db8::1]:443, 46"),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "[::ffff:192.0.2.7]:1 > [::1]:2, 37"),
        ("PROXY UNKNOWN\r\n", "own ends, 15"),
        ("PROXY UNKNOWN ffff::1 whatever \t it is\r\n", "own ends, 40"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443", "more"),
        ("PROXY", "more"),
    ] {
        check(line.as_bytes(), expect);
    }
}

#[test]
fn lines_that_are_none() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
    ] {
        check(line.as_bytes(), "Line");
    }
    for other in
        ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PROXX", "PRI * HTTP/2.0\r\n\r\n", "proxy ", "\r\n\r\n\r\n", "\0"]
    {
        check(other.as_bytes(), "Signature");
    }
    check(b"PROXY \xff\r\n", "Line");
}

#[test]
fn a_line_has_107_bytes_at_the_most() {
    let line = |bytes: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(bytes - 15)).into_bytes();
    check(&line(107), "own ends, 107");
    check(&line(108), "TooLong");
    check(&[b'P'; 1], "more");
    assert_eq!(told(&[b"PROXY ".to_vec(), vec![b' '; 10_000]].concat()), "TooLong");
}

#[test]
fn headers_of_version_2() {
    check(&v2(0x21, 0x11, V4), "192.0.2.7:56324 > 198.51.100.1:443, 28");
    check(&v2(0x21, 0x21, &v6()), "[2001:db8::7]:56324 > [2001:db8::1]:443, 52");
    check(&v2(0x21, 0x31, &[b'x'; 216]), "own ends, 232");
    check(&v2(0x21, 0x00, b""), "own ends, 16");
    check(&v2(0x21, 0x00, b"whatever"), "own ends, 24");
    // LOCAL: whatever else it says is not looked at.
    for family in [0x00, 0x11, 0x12, 0xff] {
        check(&v2(0x20, family, b""), "own ends, 16");
        check(&v2(0x20, family, b"junk"), "own ends, 20");
    }
}

#[test]
fn headers_of_version_2_that_are_none() {
    for (command, family, rest, expect) in [
        (0x11, 0x11, V4, "Version"),
        (0x31, 0x11, V4, "Version"),
        (0x22, 0x11, V4, "Command"),
        (0x2f, 0x00, V4, "Command"),
        // Datagrams do not come by a stream.
        (0x21, 0x12, V4, "Family"),
        (0x21, 0x22, V4, "Family"),
        (0x21, 0x32, V4, "Family"),
        (0x21, 0x10, V4, "Family"),
        (0x21, 0x01, V4, "Family"),
        (0x21, 0x13, V4, "Family"),
        (0x21, 0x41, V4, "Family"),
        (0x21, 0x11, &V4[..11], "Addresses"),
        (0x21, 0x21, V4, "Addresses"),
        (0x21, 0x31, V4, "Addresses"),
    ] {
        check(&v2(command, family, rest), expect);
    }
}

#[test]
fn what_follows_the_addresses_is_skipped_if_it_is_well_formed() {
    let with = |rest: &[u8]| v2(0x21, 0x11, &[V4, rest].concat());
    let whole = "192.0.2.7:56324 > 198.51.100.1:443";
    let names = [tlv(0x01, b"h2"), tlv(0x02, b"example.org"), tlv(0x04, &[0; 40]), tlv(0xea, b"")].concat();
    check(&with(&names), &format!("{whole}, {}", 28 + names.len()));
    for rest in [&b"\x01"[..], b"\x01\0", b"\x01\0\x01", b"\x01\xff\xffx", b"\x04\0\0\x04"] {
        check(&with(rest), "Tlv");
    }
}

#[test]
fn a_checksum_must_be_right() {
    // The check value of the polynomial's definition.
    assert_eq!(crc32c([b"123", b"456", b"789"]), 0xe306_9283);
    let around = |sum: &[u8]| {
        v2(0x21, 0x11, &[V4, &tlv(0x01, b"h2"), &tlv(TLV_CRC32C, sum), &tlv(0x02, b"example.org")].concat())
    };
    let sum = crc32c([&around(&[0; 4]), b"", b""]).to_be_bytes();
    check(&around(&sum), "192.0.2.7:56324 > 198.51.100.1:443, 54");
    for bit in 0..32 {
        let wrong = (u32::from_be_bytes(sum) ^ 1 << bit).to_be_bytes();
        check(&around(&wrong), "Checksum");
    }
    check(&around(&sum[..3]), "Tlv");
}

#[test]
fn a_long_header_is_refused_before_it_has_come() {
    let rest = |bytes: usize| [V4, &tlv(0x04, &vec![0; bytes - 12 - 3])].concat();
    let most = HEADER_BYTES_MAX - FIXED_BYTES;
    check(&v2(0x21, 0x11, &rest(most)), "192.0.2.7:56324 > 198.51.100.1:443, 4096");
    let long = v2(0x21, 0x11, &rest(most + 1));
    assert_eq!(told(&long[..FIXED_BYTES]), "TooLong");
    assert_eq!(told(&v2(0x20, 0x00, &[0; 65_535])[..FIXED_BYTES]), "TooLong");
}
