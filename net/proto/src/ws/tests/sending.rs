//! What an engine writes: frame by frame, in whatever room there is, and what it refuses to write.

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Tries a write with 0, 1, 2 … bytes of room until it succeeds, which must use all of it; `Full` changes nothing.
#[track_caller]
fn retry(write: &mut dyn FnMut(&mut [u8]) -> Result<usize, WriteError>) -> Vec<u8> {
    let mut out = vec![0; 70_000];
    for room in 0.. {
        match write(&mut out[..room]) {
            Err(WriteError::Full) => {}
            result => {
                assert_eq!(result, Ok(room));
                return out[..room].to_vec();
            }
        }
    }
    unreachable!()
}

#[test]
fn frames_are_written_as_short_as_can_be() {
    let mut server = Engine::new(Role::Server, None);
    for count in [0, 1, 125, 126, 127, 300] {
        let payload = vec![b'a'; count];
        assert_eq!(retry(&mut |out| server.message(Kind::Text, &payload, out)), bare(TEXT, &payload));
        assert_eq!(retry(&mut |out| server.message(Kind::Binary, &payload, out)), bare(BINARY, &payload));
    }
    for count in [65_535, 65_536] {
        let mut out = vec![0; count + 20];
        let written = server.message(Kind::Binary, &vec![b'a'; count], &mut out).unwrap();
        assert_eq!(out[..written], bare(BINARY, vec![b'a'; count]));
    }
    assert_eq!(retry(&mut |out| server.ping(b"abc", out)), bare(PING, "abc"));
    assert_eq!(retry(&mut |out| server.pong(&[b'a'; 125], out)), bare(PONG, [b'a'; 125]));
    assert_eq!(server.ping(&[b'a'; 126], &mut [0; 200]), Err(WriteError::ControlTooLong));
    let long = "a".repeat(REASON_BYTES_MAX + 1);
    assert_eq!(server.close(CloseCode::POLICY, &long, &mut [0; 200]), Err(WriteError::ControlTooLong));
    let reason = &long[1..];
    let expect = bare(CLOSE, [&1008_u16.to_be_bytes(), reason.as_bytes()].concat());
    assert_eq!(retry(&mut |out| server.close(CloseCode::POLICY, reason, out)), expect);
    assert_eq!(server.ping(b"", &mut [0; 20]), Err(WriteError::Closed));
    assert_eq!(server.fragment(Kind::Text, 1, true, &mut [0; 20]), Err(WriteError::Closed));
}

#[test]
fn a_client_masks_and_wants_a_key_for_every_frame() {
    let mut client = Engine::new(Role::Client, None);
    let mut out = [0; 200];
    assert_eq!(client.message(Kind::Text, b"Hello", &mut out), Err(WriteError::NoKey));
    client.set_key(KEY);
    assert_eq!(retry(&mut |out| client.message(Kind::Text, b"Hello", out)), frame(TEXT, "Hello"));
    assert_eq!(client.message(Kind::Text, b"Hello", &mut out), Err(WriteError::NoKey));
    client.set_key(KEY);
    let written = retry(&mut |out| {
        let frame = client.fragment(Kind::Binary, 3, false, out)?;
        assert_eq!(frame.mask, Some(Mask::new(KEY)));
        Ok(frame.head)
    });
    assert_eq!(written, frame(BINARY_FIRST, "abc")[..6]);
    assert_eq!(client.fragment(Kind::Binary, 3, true, &mut out), Err(WriteError::NoKey));
    client.set_key(KEY);
    assert_eq!(retry(&mut |out| client.ping(b"x", out)), frame(PING, "x"));
    let (mut contexts, limits) = (Contexts::new(), Limits::default());
    client.receive(&mut bare(PING, "y"), &mut contexts, &limits).unwrap();
    assert_eq!(client.transmit(&mut out), Err(WriteError::NoKey));
    client.set_key(KEY);
    assert_eq!(retry(&mut |out| client.transmit(out)), frame(PONG, "y"));
    client.receive(&mut bare(CLOSE, b"\x03\xe8"), &mut contexts, &limits).unwrap();
    client.set_key(KEY);
    assert_eq!(retry(&mut |out| client.transmit(out)), frame(CLOSE, b"\x03\xe8"));
}

/// A key that a server was given used to mask its payload, of a frame whose head said that it was not masked.
#[test]
fn a_server_masks_nothing_even_with_a_key() {
    let mut server = Engine::new(Role::Server, None);
    server.set_key(KEY);
    assert_eq!(retry(&mut |out| server.message(Kind::Text, b"Hello", out)), bare(TEXT, "Hello"));
    server.set_key(KEY);
    let frame = server.fragment(Kind::Text, 5, true, &mut [0; 20]);
    assert_eq!(frame, Ok(Frame { head: 2, mask: None }));
}

#[test]
fn fragments_are_one_message() {
    let mut server = Engine::new(Role::Server, None);
    let head = |server: &mut Engine, kind, count, is_last| {
        retry(&mut |out| {
            let frame = server.fragment(kind, count, is_last, out)?;
            assert_eq!(frame.mask, None);
            Ok(frame.head)
        })
    };
    assert_eq!(head(&mut server, Kind::Text, 3, false), [TEXT_FIRST, 3]);
    assert_eq!(server.message(Kind::Text, b"", &mut [0; 20]), Err(WriteError::Unfinished));
    assert_eq!(server.fragment(Kind::Binary, 0, true, &mut [0; 20]), Err(WriteError::OtherMessage));
    assert_eq!(retry(&mut |out| server.ping(b"", out)), [PING, 0]);
    assert_eq!(head(&mut server, Kind::Text, 126, false), [MORE, 126, 0, 126]);
    assert_eq!(head(&mut server, Kind::Text, 0x1_0203, true), [LAST, 127, 0, 0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(head(&mut server, Kind::Binary, 0, true), [BINARY, 0]);
    let result = server.compress(Kind::Text, b"", true, &mut Contexts::new(), &mut [0; 200]);
    assert_eq!(result, Err(WriteError::NotCompressed));
}
