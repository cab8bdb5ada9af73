//! What a peer does wrong, clause by clause of RFC 9204, and the code it is told.

use super::*;

const DECOMPRESSION_FAILED: u64 = 0x200;
const ENCODER_STREAM_ERROR: u64 = 0x201;
const DECODER_STREAM_ERROR: u64 = 0x202;

/// A decoder whose peer may keep 220 bytes and let one stream wait, and has inserted `a: b` and `c: d`.
fn decoder() -> Decoder {
    let mut decoder = Decoder::new(220, 1);
    let instructions = bytes("3fbd01 4161 0162 4163 0164");
    assert_eq!(instruct(&mut decoder, &instructions), Ok(instructions.len()));
    decoder
}

#[test]
fn sections_that_cannot_be_decoded() {
    for (clause, hex) in [
        ("4.5.1: cut off before the base", "00"),
        ("4.5.1: cut off in the count", "ff"),
        ("4.5.1.1: more than twice what the table holds", "0e 00"),
        ("4.5.1.1: a count that would be of entries to come much later", "0a 00"),
        ("4.5.1.1: a count of none that is said as one of some", "01 00"),
        ("4.5.1.2: a base below zero", "00 80"),
        ("4.5.1.2: a base below zero, of two", "03 82"),
        ("4.1.1: a number that is too large", "03 ff ff ff ff ff ff ff ff ff 7f"),
        ("4.5.2: no such entry in the static table", "00 00 ff 24"),
        ("4.5.2: cut off in the index", "00 00 ff"),
        ("2.2.3: an entry that the section does not require", "02 01 80"),
        ("2.2.3: any entry where none is required", "00 00 80"),
        ("4.5.2: before the first entry", "03 00 82"),
        ("4.5.3: behind what is required", "03 81 12"),
        ("4.5.3: an index beyond all numbers", "03 81 1f ff ff ff ff 0f"),
        ("4.5.4: no such name in the static table", "00 00 5f 54 00"),
        ("4.5.4: no such entry for a name", "03 00 42 00"),
        ("4.5.4: without its value", "00 00 51"),
        ("4.5.4: cut off in its value", "00 00 51 05 61"),
        ("4.5.5: behind what is required, for a name", "03 81 02 00"),
        ("4.5.6: cut off in its name", "00 00 27"),
        ("4.5.6: without its value", "00 00 21 61"),
        ("4.1.2: a string that is not of the Huffman code", "00 00 51 84 ff ff ff ff"),
        ("4.1.2: a name that is not, behind three bits", "00 00 29 00 00"),
    ] {
        let error = decode(&mut decoder(), 0, &bytes(hex)).expect_err(clause);
        assert_eq!(error.code(), DECOMPRESSION_FAILED, "{clause}: {error}");
    }
    // Beside what may be.
    decoded(&mut decoder(), 0, "03 81 10 11", &[("a", "b"), ("c", "d")]);
    decoded(&mut decoder(), 0, "03 00 80 81 40 01 78", &[("c", "d"), ("a", "b"), ("c", "x")]);
    decoded(&mut decoder(), 0, "03 81 08 01 78 00 00", &[("a", "x"), ("a", "")]);
    decoded(&mut decoder(), 0, "03 04 84 85", &[("c", "d"), ("a", "b")]);
    decoded(&mut decoder(), 0, "00 00", &[]);
}

/// Section 2.2.3, and 3.2.2: what was evicted is not there any more.
#[test]
fn a_reference_to_what_was_evicted() {
    let mut decoder = decoder();
    instructed(&mut decoder, "3f 23", 34);
    decoded(&mut decoder, 0, "03 00 80", &[("c", "d")]);
    assert_eq!(
        decode(&mut decoder, 4, &bytes("03 00 81")),
        Err(Error::Decompression("a field line refers to an entry that was evicted"))
    );
}

/// Section 4.5.1.1: what a section requires is clear when it comes. The fuzzer found one that was read anew after more
/// inserts than the table has room for, and waited for ever.
#[test]
fn a_section_requires_what_it_required_when_it_came() {
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, 0, &bytes("04 00 80")), Ok(None));
    // Twelve and one: counts go round at twelve.
    instructed(&mut decoder, "00 00 00 00 00 00 00 00 00 00 00 00 00", 204);
    assert_eq!((decoder.unblocked(), decoder.unblocked()), (Some(0), None));
    assert_eq!(
        decode(&mut decoder, 0, &bytes("04 00 80")),
        Err(Error::Decompression("a field line refers to an entry that was evicted"))
    );
}

/// Section 2.1.2: one stream may wait here, however often it is shown.
#[test]
fn more_streams_wait_than_may() {
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, 0, &bytes("04 00 80")), Ok(None));
    assert_eq!(decode(&mut decoder, 0, &bytes("04 00 80")), Ok(None));
    let error = decode(&mut decoder, 4, &bytes("04 00 80")).unwrap_err();
    assert_eq!(error.code(), DECOMPRESSION_FAILED, "{error}");
    // One that is cancelled waits no longer.
    decoder.cancel(0).unwrap();
    assert_eq!(decode(&mut decoder, 4, &bytes("04 00 80")), Ok(None));
    instructed(&mut decoder, "00", 102);
    assert_eq!((decoder.unblocked(), decoder.unblocked()), (Some(4), None));
    let mut decoder = Decoder::new(220, 0);
    let error = decode(&mut decoder, 0, &bytes("02 00 80")).unwrap_err();
    assert_eq!(error.code(), DECOMPRESSION_FAILED, "{error}");
}

#[test]
fn instructions_that_cannot_be_followed() {
    for (clause, hex) in [
        ("4.3.1: more than was granted", "3f be 01"),
        ("4.3.2: no such name in the static table", "ff 24 00"),
        ("4.3.2: no such entry for a name", "82 00"),
        ("4.3.4: no such entry to duplicate", "02"),
        ("4.1.1: a number that is too large", "1f ff ff ff ff ff 0f"),
        ("4.1.1: a number without an end", "1f ff cd 81 81 81"),
        ("4.1.2: a value that is not of the Huffman code", "c0 84 ff ff ff ff"),
        ("4.1.2: a name that is not, behind five bits", "61 00 00"),
        ("3.2.2: larger than the table", "3f 01 41 61 01 62"),
        ("3.2.2: anything, where there is no table", "20 40 00"),
        ("3.2.2: a duplicate of what went with the table", "20 00"),
        ("3.2.2: a name that is too long, before it has come", "5f 9e 01"),
        ("3.2.2: a value that is too long, before it has come", "c1 7f 3d 00"),
        ("3.2.2: name and value together, before the value has come", "41 61 7f 3d 00"),
        ("3.2.2: one of the Huffman code that cannot be short enough", "c1 ff f8 04"),
    ] {
        let error = instruct(&mut decoder(), &bytes(hex)).expect_err(clause);
        assert_eq!(error.code(), ENCODER_STREAM_ERROR, "{clause}: {error}");
    }
    // The largest that there is room for is waited for.
    assert_eq!(instruct(&mut decoder(), &bytes("5f 9d 01")), Ok(0));
    assert_eq!(instruct(&mut decoder(), &bytes("c1 7f 38 00")), Ok(0));
}

/// Wherever an instruction is cut, it is taken when it is whole, and nothing before.
#[test]
fn instructions_come_in_pieces() {
    let all = bytes("3fbd01 4161 0162 c00f 7777 772e 6578 616d 706c 652e 636f 6d 6288 a8eb 1064 9cbf 7f 00 02 01 78");
    let whole = instruct(&mut Decoder::new(220, 0), &all);
    for cut in 0..=all.len() {
        let mut decoder = Decoder::new(220, 0);
        let first = instruct(&mut decoder, &all[..cut]);
        match (first, whole) {
            (Ok(taken), Ok(whole)) => assert_eq!(instruct(&mut decoder, &all[taken..]), Ok(whole - taken), "{cut}"),
            (first, whole) => assert!(first.is_err() || instruct(&mut decoder, &all[first.unwrap()..]) == whole),
        }
    }
    let longest = [&bytes("5f 81 1f")[..], &[b'n'; 4064 - 64], &[64], &[b'v'; 64]].concat();
    let mut decoder = Decoder::default();
    instructed(&mut decoder, "3f e1 1f", 0);
    assert_eq!(instruct(&mut decoder, &longest[..longest.len() - 1]), Ok(0));
    assert_eq!(instruct(&mut decoder, &longest), Ok(longest.len()));
    assert_eq!(decoder.table_size(), TABLE_BYTES);
    assert!(longest.len() <= INSTRUCTION_BYTES_MAX);
}

/// Section 3.2.2: an entry may take its name from one that it evicts, or be the same.
#[test]
fn an_insert_refers_to_what_it_evicts() {
    let mut decoder = Decoder::new(40, 0);
    instructed(&mut decoder, "3f 09 44 6e616d65 0176", 37);
    instructed(&mut decoder, "80 02 7676", 38);
    // There is never more than one entry, so that counts go round at two.
    decoded(&mut decoder, 0, "01 00 80", &[("name", "vv")]);
    instructed(&mut decoder, "00", 38);
    decoded(&mut decoder, 0, "02 00 80", &[("name", "vv")]);
}

#[test]
fn acknowledgements_that_cannot_be() {
    for (clause, hex) in [
        ("4.4.1: a section that refers to nothing", "84"),
        ("4.4.1: a stream that had none", "90"),
        ("4.4.1: a section twice", "80 80"),
        ("4.4.1: after its stream was cancelled", "40 80"),
        ("4.4.3: no insert at all", "00"),
        ("4.4.3: more inserts than there were", "02"),
        ("4.4.3: more, together with a section", "80 01"),
        ("4.1.1: a number that is too large", "bf ff ff ff ff ff ff ff ff ff ff 7f"),
        ("4.1.1: a number without an end", "ff 80 80 80 80 80 80 80 80 80"),
    ] {
        let mut encoder = Encoder::new();
        encoder.allow(4096, 10);
        assert_ne!(encode(&mut encoder, 0, &[("x-a", "b")])[0], 0);
        assert_eq!(encode(&mut encoder, 4, &[("content-type", "text/plain")])[0], 0);
        let error = encoder.acknowledge(&bytes(hex)).expect_err(clause);
        assert_eq!(error.code(), DECODER_STREAM_ERROR, "{clause}: {error}");
    }
    // Beside what may be; the last is cut off.
    let mut encoder = Encoder::new();
    encoder.allow(4096, 10);
    let stream = (1 << 62) - 1;
    encode(&mut encoder, stream, &[("x-a", "b")]);
    let said = bytes("44 01 ff 80 ff ff ff ff ff ff ff 3f 7f");
    assert_eq!(encoder.acknowledge(&said), Ok(said.len() - 1));
}

/// Section 4.2: a peer that leaves unread what it must know has too much of us.
#[test]
fn the_decoder_stream_is_not_read() {
    let mut decoder = decoder();
    let error = (0..10_000).find_map(|stream| decode(&mut decoder, stream, &bytes("02 00 80")).err());
    assert_eq!(error.map(Error::code), Some(0x107));
    let error = (0..10_000).find_map(|stream| decoder.cancel(stream).err());
    assert_eq!(error.map(Error::code), Some(0x107));
    let mut decoder = Decoder::new(0, 0);
    assert!((0..10_000).all(|stream| decoder.cancel(stream).is_ok()), "without a table nobody need know");
    assert!(!decoder.has_to_say());
}

/// A byte may stand for four kilobytes: whoever has enough is not given the rest, and the section is acknowledged all the same.
#[test]
fn a_section_that_is_too_much() {
    struct Three(usize);

    impl Sink for Three {
        fn field(&mut self, _: &Arena<'_>, _: Decoded) -> bool {
            self.0 += 1;
            false
        }

        fn overflow(&mut self) {}

        fn has_enough(&self) -> bool {
            self.0 == 3
        }
    }

    let (mut decoder, mut sink) = (decoder(), Three(0));
    let section = [&[3, 0][..], &[0x80; 30_000]].concat();
    let outcome = decoder.decode(4, &section, &mut Arena::new(&mut [0; 100]), &mut sink);
    assert_eq!((outcome, sink.0), (Ok(Outcome::Decoded), 3));
    assert_eq!(said_by_decoder(&mut decoder), b"\x84");
}
