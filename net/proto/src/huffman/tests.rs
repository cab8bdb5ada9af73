use super::*;

fn encoded(value: &[u8]) -> Vec<u8> {
    let mut out = vec![0; encoded_bytes(value)];
    encode(value, &mut out);
    out
}

fn decoded(input: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0; 2 * input.len() + 8];
    decode(input, &mut out).map(|count| out[..count].to_vec())
}

/// RFC 7541 appendix B, some of each length.
#[test]
fn codes_are_those_of_the_rfc() {
    let codes: [(u8, u32, u8); 14] = [
        (b'0', 0x0, 5),
        (b't', 0x9, 5),
        (b' ', 0x14, 6),
        (b':', 0x5c, 7),
        (b'z', 0x7b, 7),
        (b'&', 0xf8, 8),
        (b'!', 0x3f8, 10),
        (b'\'', 0x7fa, 11),
        (b'#', 0xffa, 12),
        (b'^', 0x3ffc, 14),
        (b'\\', 0x7fff0, 19),
        (0, 0x1ff8, 13),
        (255, 0x3ffffee, 26),
        (22, 0x3ffffffe, 30),
    ];
    for (byte, code, bits) in codes {
        assert_eq!((CODES[usize::from(byte)], LENGTHS[usize::from(byte)]), (code, bits), "byte {byte}");
    }
}

#[test]
fn every_byte_comes_back_in_every_place() {
    for byte in 0..=255 {
        for before in 0..12 {
            for after in 0..3 {
                let value = [vec![b'a'; before], vec![byte], vec![b'\n'; after]].concat();
                assert_eq!(decoded(&encoded(&value)).as_deref(), Ok(&value[..]), "{value:?}");
            }
        }
    }
}

#[test]
fn random_strings_come_back() {
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize
    };
    for _ in 0..20_000 {
        let value: Vec<u8> =
            (0..next() % 60).map(|_| if next() % 4 == 0 { next() as u8 } else { b' ' + (next() % 95) as u8 }).collect();
        assert_eq!(decoded(&encoded(&value)).as_deref(), Ok(&value[..]), "{value:?}");
    }
}

/// RFC 7541 section 5.2.
#[test]
fn padding_is_ones_and_shorter_than_a_byte() {
    assert_eq!(decoded(&[]), Ok(vec![]));
    assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
    for (input, why) in [
        (&[0b0000_0110][..], "a zero in the padding"),
        (&[0b0000_0000], "zeros for padding"),
        (&[0b0000_0111, 0xff], "a whole byte of padding"),
        (&[0xff], "nothing but padding"),
        (&[0xff, 0xff, 0xff, 0xff], "the end of the string"),
        (&[0xff, 0xff, 0xff, 0xfc], "the end of the string, and zeros"),
        (&[0b0000_0111, 0xff, 0xff, 0xff, 0xff, 0xff], "the end of the string after a symbol"),
    ] {
        assert_eq!(decoded(input), Err(DecodeError::Invalid), "{why}");
    }
}

#[test]
fn what_has_no_room_is_refused() {
    let input = encoded(b"www.example.com");
    for room in 0..15 {
        assert_eq!(decode(&input, &mut vec![0; room]), Err(DecodeError::Full), "{room}");
    }
    assert_eq!(decode(&input, &mut [0; 15]), Ok(15));
}
