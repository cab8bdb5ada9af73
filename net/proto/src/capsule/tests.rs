use super::*;

/// A capsule, its numbers in the shortest form.
fn capsule(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; HEAD_BYTES_MAX];
    let count = put_head(kind, payload.len() as u64, &mut head).expect("it may be written");
    [&head[..count], payload].concat()
}

/// What a reader makes of input that comes in pieces of this size, with these kinds skipped.
fn read(bytes: &[u8], size: usize, skipped: &[u64]) -> (Vec<(u64, Vec<u8>)>, bool) {
    let (mut reader, mut all, mut present) = (Reader::new(), Vec::new(), (0, Vec::new()));
    let mut waiting: Vec<u8> = Vec::new();
    for piece in bytes.chunks(size) {
        waiting.extend_from_slice(piece);
        loop {
            let step = reader.receive(&waiting);
            match step.event {
                Event::Begins { kind, .. } if skipped.contains(&kind) => reader.skip(),
                Event::Begins { kind, .. } => present = (kind, Vec::new()),
                Event::Piece { count, is_last } => {
                    present.1.extend_from_slice(&waiting[..count]);
                    if is_last {
                        all.push(std::mem::take(&mut present));
                    }
                }
                Event::NeedMore => {}
            }
            waiting.drain(..step.consumed);
            if step.event == Event::NeedMore {
                break;
            }
        }
    }
    (all, reader.is_between())
}

#[test]
fn capsules_are_read_however_they_are_cut() {
    let long = vec![7; 20_000];
    let said: Vec<(u64, Vec<u8>)> =
        vec![(DATAGRAM, b"hello".to_vec()), (DATAGRAM, Vec::new()), (0x1234_5678, long), (63, b"x".to_vec())];
    let bytes: Vec<u8> = said.iter().flat_map(|(kind, payload)| capsule(*kind, payload)).collect();
    for size in [1, 2, 3, 5, 1000, bytes.len()] {
        assert_eq!(read(&bytes, size, &[]), (said.clone(), true), "pieces of {size}");
        let left = [said[0].clone(), said[1].clone(), said[3].clone()].to_vec();
        assert_eq!(read(&bytes, size, &[0x1234_5678]), (left, true), "pieces of {size}");
    }
}

/// RFC 9297 section 3.3: a stream that ends within a capsule is malformed.
#[test]
fn an_end_within_a_capsule_shows() {
    let bytes = [capsule(DATAGRAM, b"whole"), capsule(DATAGRAM, b"hello")].concat();
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end], 3, &[]).1, end % 7 == 0, "after {end} bytes");
    }
}

/// RFC 9000 section 16: a number may take more bytes than it needs.
#[test]
fn numbers_of_every_length_are_read() {
    let bytes = [0x40, 0x00, 0x80, 0, 0, 2, b'h', b'i', 0xc0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0];
    let expect = vec![(DATAGRAM, b"hi".to_vec()), (DATAGRAM, Vec::new())];
    assert_eq!(read(&bytes, 1, &[]), (expect, true));
}

#[test]
fn no_length_makes_anybody_wait_for_memory() {
    let mut head = [0; HEAD_BYTES_MAX];
    let count = put_head(DATAGRAM, NUMBER_MAX, &mut head).expect("there is no larger");
    assert_eq!(
        (count, put_head(DATAGRAM, NUMBER_MAX + 1, &mut head), put_head(NUMBER_MAX + 1, 0, &mut head)),
        (9, None, None)
    );
    assert_eq!(put_head(DATAGRAM, 64, &mut [0; 2]), None, "no room");
    let mut reader = Reader::new();
    let step = reader.receive(&head[..count]);
    assert_eq!(step.event, Event::Begins { kind: DATAGRAM, length: NUMBER_MAX });
    reader.skip();
    for _ in 0..100 {
        assert_eq!(reader.receive(&[1; 1000]), Step { consumed: 1000, event: Event::NeedMore });
    }
    assert!(!reader.is_between());
}
