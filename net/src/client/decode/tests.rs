//! Codings in pieces of every size, whole, cut and spoilt, small ones that stand for a great deal among them.

use std::collections::VecDeque;
use std::task::Waker;

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use shards::Simulation;

use super::*;

fn sum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| SUMS[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

/// A member, with these flags and what they announce.
fn gzip(bytes: &[u8], flags: u8, rest: &[u8]) -> Vec<u8> {
    let tail = [sum(bytes).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
    [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3][..], rest, &compress_to_vec(bytes, 6), &tail].concat()
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|number| (number.wrapping_mul(number) / 7) as u8).collect()
}

/// What comes of it, in pieces so large; or why nothing does.
fn decode(coding: &'static str, bytes: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let pieces: VecDeque<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
    Simulation::new(1).run(async move |shard| {
        let (pool, mut pieces) = (shard.pool().clone(), pieces);
        let mut decoder = Decoder::of(coding.as_bytes(), &pool).expect("it is known");
        let (mut cx, mut decoded) = (Context::from_waker(Waker::noop()), Vec::new());
        loop {
            let polled = decoder.poll_chunk(&mut cx, |_| {
                Poll::Ready(Ok(pieces.pop_front().map(|piece| {
                    let mut chunk = pool.lease(piece.len()).expect("room");
                    chunk.put(&piece);
                    chunk.freeze()
                })))
            });
            match polled {
                Poll::Pending => {}
                Poll::Ready(Ok(Some(chunk))) => decoded.extend_from_slice(&chunk),
                Poll::Ready(Ok(None)) => return Ok(decoded),
                Poll::Ready(Err(error)) => return Err(error.to_string()),
            }
        }
    })
}

#[track_caller]
fn check(coding: &'static str, bytes: &[u8], expect: &[u8]) {
    for size in [1, 2, 3, 7, 1000, bytes.len().max(1)] {
        let decoded = decode(coding, bytes, size);
        assert!(decoded.as_deref() == Ok(expect), "{coding} in pieces of {size}: {:?}", decoded.map(|it| it.len()));
    }
}

#[test]
fn what_was_coded_comes_back() {
    for count in [0, 1, 100, 20_000, 70_000] {
        let bytes = pattern(count);
        check("gzip", &gzip(&bytes, 0, b""), &bytes);
        check("X-GZIP ", &gzip(&bytes, 0, b""), &bytes);
        check("deflate", &compress_to_vec_zlib(&bytes, 6), &bytes);
        check("deflate", &compress_to_vec(&bytes, 6), &bytes);
    }
    check("gzip", &gzip(b"hello", 4 | 8 | 16 | 2, b"\x03\0abcname\0remark\0xx"), b"hello");
    check("gzip", &[gzip(b"hello, ", 0, b""), gzip(b"world", 8, b"name\0")].concat(), b"hello, world");
    check("gzip", &[&gzip(b"hello", 0, b"")[..], &[0; 20]].concat(), b"hello");
    // One that is empty is what it says.
    check("gzip", b"", b"");
    assert!(Simulation::new(1).run(async |shard| Decoder::of(b"br", shard.pool()).is_none()));
}

#[test]
fn what_is_cut_or_spoilt_is_an_error() {
    for (coding, whole) in
        [("gzip", gzip(&pattern(300), 8, b"name\0")), ("deflate", compress_to_vec_zlib(&pattern(300), 6))]
    {
        for end in 1..whole.len() {
            for size in [1, end] {
                assert!(decode(coding, &whole[..end], size).is_err(), "{coding}, {end} bytes of {}", whole.len());
            }
        }
        for at in 0..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0x41;
            let decoded = decode(coding, &spoilt, 1000);
            // Of a head some says nothing of what follows.
            assert!(
                decoded.is_err() || decoded == Ok(pattern(300)) || coding == "deflate" && at < 2,
                "{coding}, byte {at}"
            );
        }
    }
    let long = gzip(b"hello", 8, &[b'x'; 100_000]);
    assert_eq!(decode("gzip", &long, 1000).unwrap_err(), "the answer's body cannot be decoded: its head is too long");
    assert!(decode("gzip", b"hello, world", 100).unwrap_err().ends_with("it is not gzip"));
}

#[test]
fn a_great_deal_comes_piece_by_piece() {
    let coded = gzip(&vec![0; 20_000_000], 0, b"");
    assert!(coded.len() < 30_000);
    assert_eq!(decode("gzip", &coded, 4096).map(|bytes| bytes.len()), Ok(20_000_000));
}
