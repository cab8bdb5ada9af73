//! Capsules, beside a reader that has all of the stream at once.

use proto::capsule::{Event, HEAD_BYTES_MAX, Reader, put_head};

use crate::cut::Random;

/// However the input is cut, the same capsules are in it; and they can be said again. The first byte says how it is cut, and which
/// capsules are read over.
pub fn capsule(input: &[u8]) {
    let Some((&manner, bytes)) = input.split_first() else { return };
    let skips = |kind: u64| manner & 1 == 1 && kind % 2 == 1;
    let expect = whole(bytes);
    let (mut reader, mut random) = (Reader::new(), Random(manner.into()));
    let (mut found, mut waiting, mut rest) = (Vec::new(), Vec::new(), bytes);
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + random.below(40)).min(rest.len()));
        waiting.extend_from_slice(now);
        rest = later;
        loop {
            let step = reader.receive(&waiting);
            assert!(step.consumed <= waiting.len());
            match step.event {
                Event::NeedMore => assert_eq!(step.consumed, waiting.len(), "what is looked at is done with"),
                Event::Begins { kind, length } => {
                    if skips(kind) {
                        reader.skip();
                    } else {
                        found.push((kind, length, Vec::new()));
                    }
                }
                Event::Piece { count, is_last } => {
                    let (_, length, payload) = found.last_mut().expect("it has begun");
                    payload.extend_from_slice(&waiting[..count]);
                    assert_eq!(is_last, payload.len() as u64 == *length);
                }
            }
            waiting.drain(..step.consumed);
            if step.event == Event::NeedMore {
                break;
            }
        }
    }
    let kept: Vec<_> = expect.iter().filter(|(kind, ..)| !skips(*kind)).cloned().collect();
    assert_eq!(found, kept);
    let said: usize = expect.iter().map(|(kind, length, payload)| bytes_of(*kind, *length) + payload.len()).sum();
    assert!(said <= bytes.len(), "the shortest form is no longer");
}

fn bytes_of(kind: u64, length: u64) -> usize {
    put_head(kind, length, &mut [0; HEAD_BYTES_MAX]).expect("it was read")
}

/// The capsules of a stream, the last perhaps in part.
fn whole(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((kind, after)) = number(bytes)
        && let Some((length, after)) = number(after)
    {
        let count = (after.len() as u64).min(length) as usize;
        all.push((kind, length, after[..count].to_vec()));
        bytes = &after[count..];
    }
    all
}

/// As RFC 9000 appendix A.1 reads one.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1usize << (*bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    let mut value = u64::from(number[0] & 0x3f);
    for &byte in &number[1..] {
        value = (value << 8) + u64::from(byte);
    }
    Some((value, rest))
}
