//! Field compression: the decoder beside one that reads as the RFC is written, and the encoder read by both.

pub(crate) mod plain;

use proto::head::Known;
use proto::hpack::{Arena, Decoded, Decoder, Encoder, Name, START_BYTES_MAX, Sink, TABLE_BYTES, field_bytes_max};

use crate::script::Script;

/// Blocks of any bytes, one after the other, are to the decoder what they are to the plain one; and so is its table then.
pub fn hpack_decoder(input: &[u8]) {
    // Longer ones might not have room, and to the plain one there is no such thing.
    let mut script = Script(&input[..input.len().min(TABLE_BYTES)]);
    let (mut decoder, mut plain) = (Decoder::new(), plain::Decoder::new(TABLE_BYTES));
    let room = &mut [0; ROOM_BYTES];
    while !script.is_over() {
        let count = match script.below(256) {
            255 => usize::MAX,
            count => count,
        };
        if !check(&mut decoder, &mut plain, room, script.take(count)) {
            return;
        }
    }
    for place in 0..=plain.len() {
        let index = 62 + place;
        let block: &[u8] = if index < 127 { &[0x80 | index as u8] } else { &[0xff, (index - 127) as u8] };
        assert_eq!(check(&mut decoder, &mut plain, room, block), place < plain.len(), "entry {place}");
    }
}

/// Whether both take a block; they agree.
#[track_caller]
fn check(decoder: &mut Decoder, plain: &mut plain::Decoder, room: &mut [u8], block: &[u8]) -> bool {
    let ours = decode(decoder, room, block);
    let expect = plain.decode(block);
    match (&ours, &expect) {
        (Ok(ours), Ok(expect)) => assert_eq!(ours, expect, "{}", block.escape_ascii()),
        (Err(_), Err(_)) => {}
        _ => panic!("{}: {ours:?}, and plainly {expect:?}", block.escape_ascii()),
    }
    ours.is_ok()
}

/// Keeps the fields and nothing in the arena.
#[derive(Default)]
struct All(Vec<plain::Field>);

impl Sink for All {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let (name, value) = (field.text.of(arena.as_slice()), field.value.of(arena.as_slice()));
        assert_eq!(Name::of(name), field.name);
        self.0.push((name.to_vec(), value.to_vec()));
        false
    }

    fn overflow(&mut self) {
        panic!("there is room for every field of so short a block");
    }
}

fn decode(decoder: &mut Decoder, room: &mut [u8], block: &[u8]) -> Result<Vec<plain::Field>, proto::hpack::Error> {
    let mut all = All::default();
    decoder.decode(block, &mut Arena::new(room), &mut all).map(|()| all.0)
}

/// For a field of the table, and one that is written out.
const ROOM_BYTES: usize = 4 * TABLE_BYTES;

/// Fields of any kind, with tables of any size that changes, are decoded to what they were, take no more room than was
/// said, and keep to the size that was granted.
pub fn hpack_round_trip(input: &[u8]) {
    let mut script = Script(input);
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut plain = plain::Decoder::new(TABLE_BYTES);
    let (out, room) = (&mut [0; 16 * 1024], &mut [0; ROOM_BYTES]);
    while !script.is_over() {
        if script.once_in(4) {
            let size = match script.pick(&SIZES) {
                u32::MAX => script.below(0x1_0000) as u32,
                size => size,
            };
            encoder.set_size_max(size);
            plain.grant(size as usize);
            continue;
        }
        let mut fields = Vec::new();
        let mut count = encoder.begin(&mut out[..START_BYTES_MAX]);
        for _ in 0..script.below(8) {
            count += field(&mut encoder, &mut script, &mut fields, &mut out[count..]);
        }
        let block = &out[..count];
        assert_eq!(decode(&mut decoder, room, block).as_ref(), Ok(&fields), "{}", block.escape_ascii());
        assert_eq!(plain.decode(block).as_ref(), Ok(&fields), "{}", block.escape_ascii());
    }
}

/// Sizes at which something turns; the last stands for any.
const SIZES: [u32; 10] = [0, 31, 32, 33, 64, 100, 1000, 4096, 4097, u32::MAX];

/// Writes a field in one of the ways that there are.
fn field(encoder: &mut Encoder, script: &mut Script<'_>, fields: &mut Vec<plain::Field>, out: &mut [u8]) -> usize {
    let way = script.below(8);
    if way == 0 {
        let index = 1 + script.below(plain::FIXED.len());
        let (name, value) = plain::FIXED[index - 1];
        fields.push((name.into(), value.into()));
        return encoder.fixed(index, &mut out[..2]);
    }
    let value = value(script);
    let (name, count) = match way {
        1 => {
            let index = 1 + script.below(plain::FIXED.len());
            let name = plain::FIXED[index - 1].0.as_bytes();
            (name.to_vec(), encoder.fixed_name(index, &value, &mut out[..field_bytes_max(name, &value)]))
        }
        2 => {
            let (index, name) = script.pick(&[(1, ":authority"), (4, ":path")]);
            let name = name.as_bytes();
            (name.to_vec(), encoder.pseudo(index, name, &value, &mut out[..field_bytes_max(name, &value)]))
        }
        _ => {
            let name = match script.below(4) {
                0 => {
                    let count = 1 + script.below(16);
                    script.take(count).to_ascii_lowercase()
                }
                _ => script.pick(&NAMES).as_bytes().to_vec(),
            };
            let known = Known::of(&name);
            let room = &mut out[..field_bytes_max(&name, &value)];
            let count = encoder.field(known, &name, &value, room);
            (name, count)
        }
    };
    fields.push((name, value));
    count
}

pub(crate) fn value(script: &mut Script<'_>) -> Vec<u8> {
    match script.below(4) {
        0 => script.pick(&["", "gzip, deflate", "200", "/", "no-cache"]).into(),
        1 => script.take(script.0.first().map_or(0, |&count| usize::from(count))).to_vec(),
        2 => script.take(8).repeat(script.below(140)),
        _ => script.take(2).to_vec(),
    }
}

pub(crate) const NAMES: [&str; 12] = [
    "accept-encoding",
    "cookie",
    "set-cookie",
    "content-length",
    "date",
    "etag",
    "x",
    "x-a",
    "x-b",
    "authorization",
    "user-agent",
    "vary",
];
