//! Where exploring starts, and how it goes on without libFuzzer: the conformance tables' bytes, conversations, what fuzzing
//! has found, and a mutator that knows what a message is made of.

use std::path::{Path, PathBuf};

use proto::h2::Role;

use crate::cut::Random;
use crate::{accepted, refused};

/// What `name` is shown first.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    let probes = [accepted::probes(), accepted::waiting(), refused::probes()].concat();
    // Long ones show bounds, which the tables have shown already; short ones leave room to explore.
    let requests = probes.into_iter().map(|probe| probe.bytes).filter(|bytes| bytes.len() <= SEED_BYTES_MAX);
    let mut seeds: Vec<Vec<u8>> = match name {
        "h1_client" => RESPONSES.iter().flat_map(|response| (0..4).map(|asked| asked_for(asked, response))).collect(),
        "h1_chunked" => requests.filter_map(|bytes| bytes.strip_prefix(CHUNKED).map(<[u8]>::to_vec)).collect(),
        "dns" => dns_answers(),
        "proxy" => proxy_headers(),
        "capsule" => capsules(),
        "ws" => ws_frames(),
        "h2_server" => h2_bytes(Role::Server),
        "h2_client" => h2_bytes(Role::Client),
        "h3_server" => h3_records(proto::h3::Role::Server),
        "h3_client" => h3_records(proto::h3::Role::Client),
        "h2_frames" | "h3_frames" | "h2_server_vs_h2" | "h2_client_vs_h2" | "hpack_round_trip" | "qpack_encoder"
        | "qpack_round_trip" => choices(),
        "h2_bytes_vs_h2" => h2_conversations(),
        "hpack_decoder" => hpack_blocks(),
        "qpack_decoder" => qpack_streams(),
        _ => requests.collect(),
    };
    seeds.extend(kept(name));
    seeds.extend(FOUND.iter().filter(|(known, _)| *known == name).map(|(_, bytes)| bytes.to_vec()));
    seeds
}

/// What exploring has found and is kept.
pub fn kept(name: &str) -> Vec<Vec<u8>> {
    std::fs::read_to_string(kept_path(name)).unwrap_or_default().lines().map(bytes).collect()
}

/// Where that lies, each input a line in hexadecimal.
pub fn kept_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kept").join(name)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Frames for an engine of each kind: to a server they are masked by nothing.
fn ws_frames() -> Vec<Vec<u8>> {
    let frame = |is_masked: bool, &(first, payload): &(u8, &[u8])| {
        let mask: &[u8] = if is_masked { &[0; 4] } else { &[] };
        [&[first, payload.len() as u8 | if is_masked { 0x80 } else { 0 }], mask, payload].concat()
    };
    let said = |manner: u8, frames: &[(u8, &[u8])]| {
        let frames = frames.iter().flat_map(|each| frame(manner & 1 == 0, each));
        [manner].into_iter().chain(frames).collect()
    };
    (0..16).flat_map(|manner| WS_FRAMES.map(|frames| said(manner, frames))).collect()
}

const WS_FRAMES: [&[(u8, &[u8])]; 5] = [
    &[(0x81, b"hello"), (0x82, b"\0\xff"), (0x89, b"ping"), (0x8a, b"")],
    &[(0x01, b"caf\xc3"), (0x89, b""), (0x80, b"\xa9"), (0x88, b"\x03\xe8bye")],
    // Compressed, and once more by what went before (RFC 7692 section 7.2.3).
    &[(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\0"), (0xc1, b"\xf2\0\x11\0\0")],
    &[(0x41, b"\xf2\x48\xcd"), (0x80, b"\xc9\xc9\x07\0"), (0x88, b"")],
    &[(0x81, b"\xed\xa0\x80"), (0x88, b"\x03\xee"), (0x83, b"")],
];

/// What a peer of HTTP/2 might send, to owners of several manners.
fn h2_bytes(role: Role) -> Vec<Vec<u8>> {
    let sent = |seed: u64| crate::h2::sent(Random(seed), role);
    (0..60).map(|seed| [&[0, (seed % 7) as u8], &sent(seed)[..]].concat()).collect()
}

/// What a peer of HTTP/3 might send, on which streams.
fn h3_records(role: proto::h3::Role) -> Vec<Vec<u8>> {
    (0..80).map(|seed| crate::h3::sent(Random(seed), role)).collect()
}

/// What a client has sent: one of the crate `h2`, and one that makes mistakes.
fn h2_conversations() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = choices().iter().map(|choices| crate::h2::said(choices)).collect();
    seeds.extend((0..60).map(|seed| crate::h2::sent(Random(seed), Role::Server)));
    seeds.retain(|seed| seed.len() <= 2 * SEED_BYTES_MAX);
    seeds
}

/// Decisions that mean something else to every target.
fn choices() -> Vec<Vec<u8>> {
    let choices = |seed| {
        let mut random = Random(seed);
        (0..40 * (1 + seed % 10)).map(|_| random.below(256) as u8).collect()
    };
    (0..80).map(choices).collect()
}

/// The RFC's examples, each block behind its length.
fn hpack_blocks() -> Vec<Vec<u8>> {
    let framed = |block: Vec<u8>| [&[block.len() as u8], &block[..]].concat();
    let stories =
        HPACK_STORIES.iter().map(|story| story.iter().flat_map(|hex| framed(bytes(hex))).collect::<Vec<u8>>());
    let resized = [&[0x20][..], &[0x3f, 0x09], &[0x20, 0x3f, 0xe1, 0x1f], &[0x3f, 0xe2, 0x1f]];
    let stories: Vec<Vec<u8>> = stories.collect();
    let with_sizes = |story: &Vec<u8>| resized.map(|size| [framed(size.to_vec()), story.clone()].concat());
    stories.iter().flat_map(|story| [story.clone()].into_iter().chain(with_sizes(story))).collect()
}

/// RFC 7541 appendix C.
const HPACK_STORIES: &[&[&str]] = &[
    &["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"],
    &["040c 2f73 616d 706c 652f 7061 7468"],
    &["1008 7061 7373 776f 7264 0673 6563 7265 74"],
    &["82"],
    &[
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    &[
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
    &[
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
    ],
];

/// The RFC's examples, as the target reads them, for tables of all sizes and as many streams as may wait.
fn qpack_streams() -> Vec<Vec<u8>> {
    let piece = |&(way, hex): &(&[u8], &str)| {
        let piece = bytes(hex);
        [&[way[0], piece.len() as u8], &way[1..], &piece[..]].concat()
    };
    let all: Vec<u8> = QPACK_STORY.iter().flat_map(piece).collect();
    (0..9)
        .flat_map(|capacity| (0..4).map(move |blocked| [capacity, blocked]))
        .map(|setting| [&setting, &all[..]].concat())
        .collect()
}

/// RFC 9204 appendix B: what it is (and of which stream), and its bytes.
const QPACK_STORY: &[(&[u8], &str)] = &[
    (&[3, 0], "0000 510b 2f69 6e64 6578 2e68 746d 6c"),
    (&[3, 4], "0381 10 11"),
    (&[0], "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468"),
    (&[7], ""),
    (&[0], "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565"),
    (&[3, 8], "0500 80 c1 81"),
    (&[6, 8], ""),
    (&[0], "02"),
    (&[0], "810d 6375 7374 6f6d 2d76 616c 7565 32"),
    (&[3, 12], "0600 80 81 82 83"),
];

fn asked_for(asked: u8, response: &str) -> Vec<u8> {
    [&[asked], response.as_bytes()].concat()
}

/// PROXY headers of both versions, with a request behind each.
fn proxy_headers() -> Vec<Vec<u8>> {
    let lines = PROXY_LINES.iter().map(|line| format!("PROXY {line}\r\n").into_bytes());
    let rests: [&[u8]; 4] = [b"", b"\x04\0\x02xx", b"\x03\0\x04\0\0\0\0", b"\x01\0\x02h2\x20\0\x05\x07\0\0\0\0"];
    let binary = |command, family, addresses: usize, rest: &[u8]| {
        let said = [&PROXY_ADDRESSES.repeat(18)[..addresses], rest].concat();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family, 0, said.len() as u8][..], &said].concat()
    };
    let binaries =
        [(0x20, 0, 0), (0x21, 0, 0), (0x21, 0x11, 12), (0x21, 0x12, 12), (0x21, 0x21, 36), (0x21, 0x31, 216)]
            .into_iter()
            .flat_map(|(command, family, addresses)| rests.map(|rest| binary(command, family, addresses, rest)));
    lines.chain(binaries).map(|header| [&header[..], b"GET / HTTP/1.1\r\n"].concat()).collect()
}

/// Capsules of several kinds and lengths, cut in several ways.
fn capsules() -> Vec<Vec<u8>> {
    let streams: [&[u8]; 5] = [
        b"\x00\x05hello\x00\x00\x3f\x01x",
        b"\x40\x00\x80\x00\x00\x02hi\x01\x03abc\x00\x01y",
        b"\xc0\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xffrest",
        b"\x80\xff\xe3\x7d\x04\x01\x02\x03\x04\x00\x40\x41",
        b"\x00",
    ];
    streams.iter().flat_map(|stream| (0..8).map(|manner| [&[manner], *stream].concat())).collect()
}

const PROXY_LINES: &[&str] = &[
    "TCP4 192.0.2.7 198.51.100.1 56324 443",
    "TCP4 255.255.255.255 0.0.0.0 65535 0",
    "TCP6 2001:db8::7 2001:db8::1 56324 443",
    "TCP6 ::ffff:192.0.2.7 ::1 1 2",
    "UNKNOWN",
    "UNKNOWN ffff::1 1 2",
    "TCP4 192.0.2.7 198.51.100.1 056324 443",
    "TCP4 192.0.2.7 198.51.100.1 56324",
];

const PROXY_ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

/// Answers of each kind, fine, cut, and of every code that is told apart.
fn dns_answers() -> Vec<Vec<u8>> {
    let flags = ["8180", "8380", "8181", "8182", "8183"];
    DNS_ANSWERS.iter().flat_map(|hex| flags.map(|flags| bytes(&["0007", flags, "0001", hex].concat()))).collect()
}

/// Addresses, aliases, services, nothing, errors; names that point to the front, to themselves and in a circle.
const DNS_ANSWERS: &[&str] = &[
    "0001 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001 c00c 0001 0001 0000003c 0004 c0000207",
    "0002 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001 c00c 0005 0001 0000003c 0004 0162c00e c027 0001 0001 0000003c 0004 c0000207",
    "0001 0000 0000 0161 0765 7861 6d70 6c65 00 001c 0001 c00c 001c 0001 0000003c 0010 fd000000000000000000000000000001",
    "0001 0000 0000 0161 0765 7861 6d70 6c65 00 0021 0001 c00c 0021 0001 0000003c 000a 000100021f90 0162c00e",
    "0000 0001 0000 0161 0765 7861 6d70 6c65 00 0001 0001 c00e 0006 0001 00000384 0018 c00ec00e 00000000000000000000000000000000 0000012c",
    "0001 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001 c01b 0001 0001 0000003c 0004 c0000207",
    "0002 0000 0000 0161 0765 7861 6d70 6c65 00 0001 0001 c00c 0005 0001 00000001 0002 c00c c00c 0005 0001 00000001 0002 c00e",
];

const SEED_BYTES_MAX: usize = 1024;

/// How the tables begin a request in chunks.
const CHUNKED: &[u8] = b"POST /request HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Inputs that a target once failed for.
const FOUND: &[(&str, &[u8])] = &[
    // Crumbs of a cookie, the last one empty.
    (
        "h2_server",
        b"\0\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x10\x01\x05\0\0\0\x01\x82\x84\x86\x41\x04here\x60\x03a=b\x60\0",
    ),
    // A window is granted while the head that ends a stream has begun, and is to be continued.
    (
        "h2_frames",
        b"\xd6\xff\xff\0\0\0\0\0WRRRR\xad\xad\x86\x7f\xff\xff\x0c\x0c\xff\0\0\x0c\x0c\x0c\xfb\xff",
    ),
    // Whole requests that come again: GET twice, and HEAD twice.
    (
        "h3_server",
        b"\0\x08\x0d\x01\x0b\0\0\xd1\xd7\xc1\x50\x04here\x09\x0d\x01\x0b\0\0\xd1\xd7\xc1\x50\x04here\x0a\x0d\x01\x0b\0\0\xd2\xd7\xc1\x50\x04here\x0b\x0d\x01\x0b\0\0\xd2\xd7\xc1\x50\x04here",
    ),
    // A section that waited, and required something else when it was shown again.
    (
        "qpack_decoder",
        b"2\x02\x03\x0f\x00\x00\x00Q\x0b'index.html\x03\x04\x04\x03\x81\x10\x11\x00\x22?\xbd\x01\xc0\x0fwsampl\xe5/p\x02\x00\x0fx\x00\x00\x00\x00\x00\x00\x00\x00\x00@\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff-alue2\x03\x06\x0c\x06\x00\x80\x81\x82\x83",
    ),
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "HTTP/1.1 200\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhiHTTP/1.0 200 OK\r\n\r\nend",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nanything",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 18446744073709551615\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
];

/// Changes `input` in one to four places: bytes, pieces of messages, and pieces of `other`.
pub fn mutate(mut input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(12)).min(input.len());
        match random.below(9) {
            0 if at < input.len() => input[at] = random.below(256) as u8,
            1 => input.insert(at, EDGES[random.below(EDGES.len())]),
            2 if at < input.len() => input[at] = EDGES[random.below(EDGES.len())],
            3 => drop(input.drain(at..end)),
            4 => drop(input.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            5 => drop(input.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
            6 => {
                let again = input[at..end].to_vec();
                drop(input.splice(end..end, again));
            }
            7 if !other.is_empty() => {
                let from = random.below(other.len());
                let to = (from + random.below(60)).min(other.len());
                drop(input.splice(at..at, other[from..to].iter().copied()));
            }
            8 => input.truncate(at),
            _ => {}
        }
    }
    input
}

/// Bytes at which parsers turn.
const EDGES: &[u8] = b"\r\n\0 \t:,;=\"\\/*?#%0129afAFxX\x0b\x0c\x1f\x7f\x80\xff-+_.@[](){}<>";

/// Pieces of messages.
const PIECES: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "\r",
    "GET ",
    "POST / HTTP/1.1\r\n",
    "HEAD",
    "CONNECT a:1",
    "OPTIONS *",
    "http://",
    "https://",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/1.2",
    " HTTP/2.0",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Host: a\r\n",
    "Host: [::1]:80\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: upgrade\r\nUpgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "Trailer: x\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "0;a=b\r\n",
    ";a=\"b\\\"c\"",
    "ffffffffffffffff",
    "18446744073709551615",
    "00000000",
    "x: y\r\n",
    "x : y\r\n",
    " x: y\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "%00",
    "%2f",
    "chunked, chunked",
    "PROXY TCP4 ",
    "PROXY TCP6 ::1 ",
    "PROXY UNKNOWN",
    " 1.2.3.4 5.6.7.8 1 2\r\n",
    "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c",
];
