//! Codings in pieces of every size, whole, cut and spoilt, small ones that stand for a great deal among them.

use std::collections::VecDeque;
use std::task::Waker;

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use shards::Simulation;

use super::inflate::SUMS;
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
    assert!(Simulation::new(1).run(async |shard| Decoder::of(b"compress", shard.pool()).is_none()));
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

#[cfg(feature = "codings")]
mod others {
    use super::*;

    /// As the reference encoders make it of forty foxes.
    const BR: &[u8] =
        b"\x1b\x07\x07\x88\x8c\x94\x6e\xe6\x22\xd0\x83\xa5\xba\xd2\xdf\x2a\x14\x8d\x80\x7c\x43\x0b\x83\x0d\x38\
        \x70\x48\x20\x6f\x24\xbf\x41\xa7\x15\xce\x66\xc7\xe3\x44\x85\xa5\x60\x23\x9c\x4a\xab\x3f\x4c\x0a\x0c";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\xbd\x01\x00\xc4\x02the quick brown fox jumps over the lazy dog;\
        \x02\x00\xd4\x42\xf5\x01\x43\x98\x65\x0d\x2d\x33\x91";

    fn foxes() -> Vec<u8> {
        b"the quick brown fox jumps over the lazy dog; ".repeat(40)
    }

    /// A frame of blocks that each repeat a byte, with a window of 8 MiB.
    fn repeated(blocks: u32) -> Vec<u8> {
        let mut bytes = b"\x28\xb5\x2f\xfd\x00\x68".to_vec();
        for block in 1..=blocks {
            let head = (128 * 1024) << 3 | 1 << 1 | u32::from(block == blocks);
            bytes.extend_from_slice(&head.to_le_bytes()[..3]);
            bytes.push(b'x');
        }
        bytes
    }

    fn stored(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn what_was_coded_comes_back() {
        check("br", BR, &foxes());
        check("BR", b"\x06", b"");
        check("br", b"", b"");
        check("br", &[BR, b"\0\0"].concat(), &foxes());
        check("zstd", ZSTD, &foxes());
        check("zstd", b"", b"");
        for count in [0, 1, 100, 20_000, 300_000] {
            let bytes = pattern(count);
            check("zstd", &stored(&bytes), &bytes);
        }
        // Frames one behind the other, and one for somebody else between them.
        let skipped: &[u8] = b"\x53\x2a\x4d\x18\x05\0\0\0hello";
        check("zstd", &[skipped, ZSTD, skipped, ZSTD].concat(), &foxes().repeat(2));
    }

    #[test]
    fn what_is_cut_or_spoilt_is_an_error() {
        for (coding, whole) in [("br", BR), ("zstd", ZSTD)] {
            for end in 1..whole.len() {
                for size in [1, end] {
                    assert!(decode(coding, &whole[..end], size).is_err(), "{coding}, {end} bytes of {}", whole.len());
                }
            }
        }
        for at in 0..ZSTD.len() {
            let mut spoilt = ZSTD.to_vec();
            spoilt[at] ^= 0x41;
            let decoded = decode("zstd", &spoilt, 1000);
            assert!(decoded.is_err() || decoded == Ok(foxes()), "byte {at}");
        }
        assert!(decode("br", b"hello, world", 100).is_err());
        assert!(decode("zstd", b"hello, world", 100).unwrap_err().ends_with("it is not zstd"));
        assert!(decode("zstd", &[ZSTD, b"hello"].concat(), 100).unwrap_err().ends_with("it is not zstd"));
    }

    #[test]
    fn who_refers_too_far_back_is_refused() {
        // 16 MiB, and a gibibyte as large windows have it, which no content coding is.
        let mut wide = repeated(1);
        wide[5] = 0x70;
        let why =
            "the answer's body cannot be decoded: it is not zstd as it is known, or refers further back than it may";
        assert_eq!(decode("zstd", &wide, 100).unwrap_err(), why);
        assert!(decode("br", b"\x11\x1e\x06", 100).is_err());
    }

    #[test]
    fn a_great_deal_comes_piece_by_piece() {
        const ZEROS: &[u8] =
            b"\xcb\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x8f\xff\xff\x7f\xf0\x4f\x00\xc4\x61\x11\x80\
            \xee\xfd\x5f\xfe\xb3\xc4\xe0\x9f\x00\x88\xc3\x02\x00\x5d\x92\x18";
        assert_eq!(decode("br", ZEROS, 4096).map(|bytes| bytes.len()), Ok(20_000_000));
        assert_eq!(decode("zstd", &repeated(160), 4096).map(|bytes| bytes.len()), Ok(160 * 128 * 1024));
    }
}
