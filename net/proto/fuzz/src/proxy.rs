//! The PROXY header, beside what holds for any: bounds, one verdict whatever has come behind it, and a writer that says the
//! same again.

use std::net::SocketAddr;

use proto::proxy::{Ends, HEADER_BYTES_MAX, Header, LINE_BYTES_MAX, parse};

/// Each part of the input is what the whole is, or more is to come; and what a header names can be said in both versions.
pub fn proxy(input: &[u8]) {
    let whole = parse(input);
    for end in 0..input.len() {
        match (parse(&input[..end]), whole) {
            (Ok(None), _) => {}
            (Ok(Some(part)), Ok(Some(all))) => {
                assert_eq!(part, all);
                assert!(end >= all.bytes, "read before it had come");
            }
            (Err(_), Err(_)) => {}
            (part, whole) => panic!("{part:?} of {end} bytes, {whole:?} of all"),
        }
    }
    match whole {
        Ok(None) => assert!(input.len() < HEADER_BYTES_MAX, "more is awaited of what is as long as it may be"),
        Ok(Some(Header { ends, bytes })) => {
            let bytes_max = if input[0] == b'P' { LINE_BYTES_MAX } else { HEADER_BYTES_MAX };
            assert!(bytes <= bytes_max.min(input.len()));
            if let Some(ends) = ends {
                for said in [line(ends), binary(ends)] {
                    assert_eq!(parse(&said), Ok(Some(Header { ends: Some(ends), bytes: said.len() })));
                }
            }
        }
        Err(_) => {}
    }
}

fn line(Ends { source, destination }: Ends) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn binary(Ends { source, destination }: Ends) -> Vec<u8> {
    let mut said = Vec::new();
    for end in [source, destination] {
        match end {
            SocketAddr::V4(end) => said.extend(end.ip().octets()),
            SocketAddr::V6(end) => said.extend(end.ip().octets()),
        }
    }
    said.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, family, 0, said.len() as u8][..], &said].concat()
}
