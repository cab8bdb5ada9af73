//! The RFC's examples, and what both ends have in common.
//!
//! - [`clauses`]: what a peer does wrong, and the code it is told.
//! - [`encoding`]: what the encoder inserts and refers to.
//! - [`pairs`]: both ends, whose streams come in any order.

mod clauses;
mod encoding;
mod pairs;

use super::limits::*;
use super::*;
use crate::head::Known;

type Fields = Vec<(String, String)>;

/// Keeps all that has room.
#[derive(Default)]
struct All {
    fields: Fields,
    overflows: usize,
}

impl Sink for All {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, value) = (field.text.of(arena.as_slice()), field.value.of(arena.as_slice()));
        assert_eq!(Name::of(name), field.name, "{}", name.escape_ascii());
        self.fields.push((text(name), text(value)));
        // So that there is always room for the largest.
        false
    }

    fn overflow(&mut self) {
        self.overflows += 1;
    }
}

/// The fields of a section, or nothing if it waits.
fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<Option<Fields>, Error> {
    let (mut room, mut all) = ([0; 2 * TABLE_BYTES], All::default());
    let outcome = decoder.decode(stream, section, &mut Arena::new(&mut room), &mut all)?;
    assert_eq!(all.overflows, 0);
    assert!(outcome == Outcome::Decoded || all.fields.is_empty());
    Ok((outcome == Outcome::Decoded).then_some(all.fields))
}

fn instruct(decoder: &mut Decoder, input: &[u8]) -> Result<usize, Error> {
    decoder.instruct(input, &mut Arena::new(&mut [0; TABLE_BYTES]))
}

fn encode(encoder: &mut Encoder, stream: u64, fields: &[(&str, &str)]) -> Vec<u8> {
    let bytes: usize = fields.iter().map(|(name, value)| field_bytes_max(name.as_bytes(), value.as_bytes())).sum();
    let mut out = vec![0; START_BYTES_MAX + bytes];
    let mut count = encoder.begin(stream, &mut out);
    for (name, value) in fields {
        let known = Known::of(name.as_bytes());
        count += encoder.field(known, name.as_bytes(), value.as_bytes(), &mut out[count..]);
    }
    let count = encoder.finish(&mut out, count);
    out.truncate(count);
    out
}

fn said_by_encoder(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = [0; ENCODER_STREAM_BYTES_MAX];
    let count = encoder.say(&mut out);
    assert!(!encoder.has_to_say());
    out[..count].to_vec()
}

fn said_by_decoder(decoder: &mut Decoder) -> Vec<u8> {
    let mut out = [0; DECODER_STREAM_BYTES_MAX];
    let count = decoder.say(&mut out);
    assert!(!decoder.has_to_say());
    out[..count].to_vec()
}

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn instructed(decoder: &mut Decoder, hex: &str, size: usize) {
    let instructions = bytes(hex);
    assert_eq!(instruct(decoder, &instructions), Ok(instructions.len()));
    assert_eq!(decoder.table_size(), size);
}

#[track_caller]
fn decoded(decoder: &mut Decoder, stream: u64, hex: &str, expect: &[(&str, &str)]) {
    assert_eq!(decode(decoder, stream, &bytes(hex)), Ok(Some(owned(expect))));
}

/// RFC 9204 appendix B, one connection.
#[test]
fn appendix_b() {
    let mut decoder = Decoder::new(220, 1);
    // B.1: a literal with a static name.
    decoded(&mut decoder, 0, "0000 510b 2f69 6e64 6578 2e68 746d 6c", &[(":path", "/index.html")]);
    assert_eq!(said_by_decoder(&mut decoder), b"");
    // B.2: a dynamic table; its section comes first here.
    let request = [(":authority", "www.example.com"), (":path", "/sample/path")];
    assert_eq!(decode(&mut decoder, 4, &bytes("0381 10 11")), Ok(None));
    assert_eq!(decoder.unblocked(), None);
    instructed(&mut decoder, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d", 57);
    assert_eq!(decoder.unblocked(), None);
    instructed(&mut decoder, "c10c 2f73 616d 706c 652f 7061 7468", 106);
    assert_eq!((decoder.unblocked(), decoder.unblocked()), (Some(4), None));
    decoded(&mut decoder, 4, "0381 10 11", &request);
    assert_eq!(said_by_decoder(&mut decoder), bytes("84"));
    // B.3: an insert by itself.
    instructed(&mut decoder, "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565", 160);
    assert_eq!(said_by_decoder(&mut decoder), bytes("01"));
    // B.4: a duplicate, and a stream that is cancelled.
    assert_eq!(decode(&mut decoder, 8, &bytes("0500 80 c1 81")), Ok(None));
    decoder.cancel(8).unwrap();
    assert_eq!(said_by_decoder(&mut decoder), bytes("48"));
    instructed(&mut decoder, "02", 217);
    assert_eq!((decoder.unblocked(), said_by_decoder(&mut decoder)), (None, bytes("01")));
    // B.5: an insert that evicts.
    instructed(&mut decoder, "810d 6375 7374 6f6d 2d76 616c 7565 32", 215);
    decoded(
        &mut decoder,
        12,
        "0600 80 81 82 83",
        &[("custom-key", "custom-value2"), request[0], ("custom-key", "custom-value"), request[1]],
    );
    assert_eq!(said_by_decoder(&mut decoder), bytes("8c"));
}

#[test]
fn the_static_table_is_the_rfcs() {
    for (index, name, value) in [
        (0, ":authority", ""),
        (24, ":status", "103"),
        (25, ":status", "200"),
        (31, "accept-encoding", "gzip, deflate, br"),
        (62, "x-xss-protection", "1; mode=block"),
        (63, ":status", "100"),
        (71, ":status", "500"),
        (98, "x-frame-options", "sameorigin"),
    ] {
        let mut section = [0; 4];
        let count = Encoder::new().fixed(index, &mut section[2..]);
        assert_eq!(decode(&mut Decoder::default(), 0, &section[..2 + count]), Ok(Some(owned(&[(name, value)]))));
    }
    for (index, &(number, name, value)) in fixed::ENTRIES.iter().enumerate() {
        assert_eq!(Name::of(name.as_bytes()), number);
        if let Name::Field(known) = number {
            assert_eq!(fixed::find(known, name.as_bytes(), value.as_bytes()), Some((index, true)), "{name}");
            let first = fixed::ENTRIES.iter().position(|entry| entry.1 == name).unwrap();
            assert_eq!(fixed::find(known, name.as_bytes(), b"~"), Some((first, false)), "{name}");
        }
    }
    for name in ["", "x", "x-custom", "access-control-allow-credential5", "a-name-that-is-longer-than-all-in-the-table"]
    {
        assert_eq!(fixed::find(Known::of(name.as_bytes()), name.as_bytes(), b""), None, "{name}");
    }
}

#[test]
fn without_a_table_what_is_written_is_static_or_literal() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(0, 0));
    let fields = [("content-type", "text/plain"), ("server", "shardwise"), ("x-custom", "yes"), ("cookie", "a=b")];
    let section = encode(&mut encoder, 0, &fields);
    assert_eq!(section[..4], [0, 0, 0xc0 | 53, 0x5f]);
    assert_eq!(decode(&mut decoder, 0, &section), Ok(Some(owned(&fields))));
    assert_eq!((said_by_encoder(&mut encoder), said_by_decoder(&mut decoder)), (vec![], vec![]));
}
