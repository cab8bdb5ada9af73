//! The conformance tables of the engines: every entry whole, byte by byte and cut at random, with one result.

mod client;
mod requests;
mod responses;

use std::fmt::Write as _;

use super::*;
use crate::head::HeadTable;
use crate::message::{BodyLength, WriteError};

/// Feeds `input` to a server, in pieces as `cut` says, as a connection would: what is not consumed is shown again.
/// Every request is answered as soon as it has ended. Returns all that happened, in words.
fn transcript(input: &[u8], limits: &Limits, mut cut: impl FnMut(usize) -> usize) -> String {
    let (mut server, mut table) = (Server::new(), HeadTable::new());
    let (mut said, mut held, mut sent) = (String::new(), Vec::new(), 0);
    let mut data = Vec::new();
    loop {
        let step = match server.receive(&held, &mut table, limits) {
            Ok(step) => step,
            Err(error) => {
                flush(&mut said, &mut data);
                let mut out = [0; 512];
                let refused = server.refuse(error, Standing::default(), &mut out).map(|count| out[..count].to_vec());
                let status = refused.map(|answer| String::from_utf8_lossy(&answer[9..12]).into_owned());
                write!(said, "{} {error:?}", status.unwrap_or_default()).unwrap();
                let after = server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut table, limits).unwrap();
                assert_eq!(after, Step { consumed: 27, event: Event::Closed }, "nothing is parsed after an error");
                return said;
            }
        };
        let block = &held[..step.consumed];
        if !matches!(step.event, Event::Data(_)) && !matches!(step.event, Event::NeedMore) {
            flush(&mut said, &mut data);
        }
        match step.event {
            Event::NeedMore => {
                held.drain(..step.consumed);
                if sent == input.len() {
                    flush(&mut said, &mut data);
                    said.push_str(if server.end_of_input().is_ok() { "." } else { "…" });
                    return said;
                }
                let count = cut(input.len() - sent).clamp(1, input.len() - sent);
                held.extend_from_slice(&input[sent..sent + count]);
                sent += count;
                continue;
            }
            Event::Head(head) => {
                describe(&mut said, block, &table, head);
                if head.body == Body::None {
                    answer(&mut said, &mut server);
                }
            }
            Event::Data(range) => {
                assert!(!range.is_empty());
                data.extend_from_slice(&held[range]);
            }
            Event::End { trailers } => {
                for (name, value) in table.trailers().iter(&held[trailers]) {
                    write!(said, "+{}={} ", name.escape_ascii(), value.escape_ascii()).unwrap();
                }
                answer(&mut said, &mut server);
            }
            Event::Http2Preface => return said + "h2",
            Event::Tunnel => return said + "tunnel",
            Event::Closed => return said + "closed",
        }
        held.drain(..step.consumed);
    }
}

const NONE: [(&str, &str); 0] = [];

/// The request has ended.
fn answer(said: &mut String, server: &mut Server) {
    said.push_str("end ");
    assert!(server.is_request_ended());
    server.respond_whole(http::StatusCode::OK, NONE, Standing::default(), b"", &mut [0; 512]).unwrap();
}

fn flush(said: &mut String, data: &mut Vec<u8>) {
    if !data.is_empty() {
        write!(said, "'{}' ", data.escape_ascii()).unwrap();
        data.clear();
    }
}

/// `METHOD authority path?query version body flags [name=value …]`.
fn describe(said: &mut String, block: &[u8], table: &HeadTable, head: Head) {
    let path = table.path(block).escape_ascii();
    write!(said, "{} {} {path}", table.method(), table.authority(block).escape_ascii()).unwrap();
    if let Some(query) = table.query(block) {
        write!(said, "?{}", query.escape_ascii()).unwrap();
    }
    let body = match head.body {
        Body::None => String::new(),
        Body::Length(count) => format!(" length={count}"),
        other => format!(" {other:?}"),
    };
    let flag = |set: bool, name: &'static str| if set { name } else { "" };
    let old = flag(table.version() == http::Version::HTTP_10, " 1.0");
    let expect = flag(head.expect_continue, " expect");
    write!(said, "{old}{body}{expect}{}{}", flag(!head.keep_alive, " close"), flag(head.upgrade, " upgrade")).unwrap();
    for (name, value) in table.iter(block).filter(|(name, _)| name.first() == Some(&b'x')) {
        write!(said, " {}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    said.push_str("; ");
}

/// Checks one entry of a table: whatever the cuts, the same result.
#[track_caller]
fn check(clause: &str, input: &[u8], limits: &Limits, expect: &str) {
    let shown = input[..input.len().min(300)].escape_ascii();
    let whole = transcript(input, limits, |left| left);
    assert_eq!(whole, expect, "{clause}, whole: {shown}");
    let bytewise = transcript(input, limits, |_| 1);
    assert_eq!(bytewise, expect, "{clause}, byte by byte: {shown}");
    for seed in 1..=20 {
        let mut random = Random(seed);
        let cut = transcript(input, limits, |left| 1 + random.below(left.min(40)));
        assert_eq!(cut, expect, "{clause}, cut at random with seed {seed}: {shown}");
    }
}

/// Splitmix64: enough to cut at random, the same twice.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}
