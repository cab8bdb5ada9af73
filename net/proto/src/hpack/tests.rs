//! The RFC's examples, its limits, and round trips of random fields.

use super::*;
use crate::fields::integer;
use crate::head::{Known, Span};

type Fields = Vec<(String, String)>;

/// Keeps all that has room.
#[derive(Default)]
struct All {
    fields: Fields,
    overflows: usize,
}

impl Sink for All {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let text = |span: Span| String::from_utf8_lossy(span.of(arena.as_slice())).into_owned();
        let name = text(field.text);
        assert_eq!(Name::of(name.as_bytes()), field.name, "{name}");
        self.fields.push((name, text(field.value)));
        // So that there is always room for the largest.
        false
    }

    fn overflow(&mut self) {
        self.overflows += 1;
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Error> {
    let (mut room, mut all) = ([0; 2 * TABLE_BYTES], All::default());
    decoder.decode(block, &mut Arena::new(&mut room), &mut all).map(|()| all.fields)
}

fn encode(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let bytes: usize = fields.iter().map(|(name, value)| field_bytes_max(name.as_bytes(), value.as_bytes())).sum();
    let mut out = vec![0; START_BYTES_MAX + bytes];
    let mut count = encoder.begin(&mut out);
    for (name, value) in fields {
        let known = Known::of(name.as_bytes());
        count += encoder.field(known, name.as_bytes(), value.as_bytes(), &mut out[count..]);
    }
    out.truncate(count);
    out
}

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn check(decoder: &mut Decoder, hex: &str, expect: &[(&str, &str)], size: usize) {
    assert_eq!(decode(decoder, &bytes(hex)), Ok(owned(expect)));
    assert_eq!(decoder.table_size(), size);
}

/// RFC 7541 appendix C.2: one field each.
#[test]
fn appendix_c_2_every_representation() {
    check(
        &mut Decoder::new(),
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[("custom-key", "custom-header")],
        55,
    );
    check(&mut Decoder::new(), "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0);
    check(&mut Decoder::new(), "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0);
    check(&mut Decoder::new(), "82", &[(":method", "GET")], 0);
}

const FIRST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const THIRD: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

/// RFC 7541 appendices C.3 and C.4: three requests, without and with the Huffman code.
#[test]
fn appendix_c_3_and_4_requests() {
    let second = [&FIRST[..], &[("cache-control", "no-cache")]].concat();
    for [first_block, second_block, third_block] in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::new();
        check(&mut decoder, first_block, &FIRST, 57);
        check(&mut decoder, second_block, &second, 110);
        check(&mut decoder, third_block, &THIRD, 164);
    }
}

/// RFC 7541 appendices C.5 and C.6: three responses, and a table of 256 bytes that evicts.
#[test]
fn appendix_c_5_and_6_responses() {
    let place = ("location", "https://www.example.com");
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let later = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
    let cookie = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    let private = ("cache-control", "private");
    for [first, second, third] in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 \
             474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 \
             666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 \
             3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
             63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 \
             b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = Decoder::new();
        // The table is set to 256 bytes by agreement there; here it is said first.
        check(&mut decoder, "3fe101", &[], 0);
        check(&mut decoder, first, &[(":status", "302"), private, date, place], 222);
        check(&mut decoder, second, &[(":status", "307"), private, date, place], 222);
        let expect = [(":status", "200"), private, later, place, ("content-encoding", "gzip"), cookie];
        check(&mut decoder, third, &expect, 215);
    }
}

#[test]
fn the_static_table_is_the_rfcs() {
    for (index, (name, value)) in [
        (1, (":authority", "")),
        (8, (":status", "200")),
        (16, ("accept-encoding", "gzip, deflate")),
        (61, ("www-authenticate", "")),
    ] {
        check(&mut Decoder::new(), &format!("{:02x}", 0x80 | index), &[(name, value)], 0);
    }
    for (number, name, _) in fixed::ENTRIES {
        assert_eq!(Name::of(name.as_bytes()), number);
        if let Name::Field(known) = number {
            let index = fixed::index_of(known, name.as_bytes()).expect("it is in the table");
            assert_eq!(fixed::ENTRIES[index - 1].1, name);
        }
    }
}

#[test]
fn bad_blocks_have_their_names() {
    for (hex, error) in [
        ("80", Error::Index),
        ("be", Error::Index),
        ("ff ff ff ff ff 0f", Error::Number),
        ("ff 80 80 80 80 80 00", Error::Number),
        ("ff 80 80 80 80 10", Error::Number),
        ("ff", Error::Truncated),
        ("ff 80", Error::Truncated),
        ("7f 00", Error::Index),
        ("40", Error::Truncated),
        ("40 01", Error::Truncated),
        ("40 01 61", Error::Truncated),
        ("40 01 61 02 62", Error::Truncated),
        ("40 81 00 00", Error::Huffman),
        ("40 01 61 84 ff ff ff ff", Error::Huffman),
        ("82 20", Error::TableSize),
        ("3f e2 1f", Error::TableSize),
    ] {
        assert_eq!(decode(&mut Decoder::new(), &bytes(hex)), Err(error), "{hex}");
    }
    // The largest size that was granted.
    assert_eq!(decode(&mut Decoder::new(), &bytes("3f e1 1f 82")), Ok(owned(&[(":method", "GET")])));
}

/// RFC 7541 section 4.4: no error, and nothing left. What the arena has no room for counts as well.
#[test]
fn what_is_larger_than_the_table_empties_it() {
    let small = encode(&mut Encoder::new(), &[("x", "y")]);
    for length in [TABLE_BYTES - 33, TABLE_BYTES - 32, TABLE_BYTES, 2 * TABLE_BYTES, 20_000] {
        let mut decoder = Decoder::new();
        decode(&mut decoder, &small).unwrap();
        let mut block = vec![0x40, 1, b'a'];
        let mut number = [0; integer::BYTES_MAX];
        let count = integer::write(0, 7, length, &mut number);
        block.extend_from_slice(&number[..count]);
        block.resize(block.len() + length, b'v');
        let (mut room, mut all) = ([0; 2 * TABLE_BYTES], All::default());
        decoder.decode(&block, &mut Arena::new(&mut room), &mut all).unwrap();
        assert_eq!((all.fields.len(), all.overflows), if length < 2 * TABLE_BYTES { (1, 0) } else { (0, 1) });
        let fits = length + 1 + ENTRY_OVERHEAD_BYTES <= TABLE_BYTES;
        assert_eq!(decoder.table_size(), if fits { TABLE_BYTES } else { 0 }, "{length}");
    }
}

#[test]
fn a_name_of_an_entry_that_goes_is_kept() {
    // Entries that fill the table; the next takes its name from the oldest, which makes room for it.
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let value = "v".repeat(1000);
    for name in ["a", "b", "c"] {
        decode(&mut decoder, &encode(&mut encoder, &[(name, &value)])).unwrap();
    }
    let fields = [("a", &*"w".repeat(1024))];
    let block = encode(&mut encoder, &fields);
    assert!(block[0] > 0x40 && block[0] < 0x7f || block[0] == 0x7f, "by its index: {:02x}", block[0]);
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&fields)));
}

#[test]
fn what_comes_again_is_one_byte() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let fields = [("server", "shardwise"), ("content-type", "text/plain"), ("x-custom", "yes")];
    decode(&mut decoder, &encode(&mut encoder, &fields)).unwrap();
    let block = encode(&mut encoder, &fields);
    assert_eq!(block.len(), 3);
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&fields)));
    // What is another each time, or secret, is not kept.
    for (name, value) in [("content-length", "17"), ("authorization", "Basic c2VjcmV0"), ("cookie", "a=b")] {
        let size = decoder.table_size();
        let block = encode(&mut encoder, &[(name, value)]);
        assert_eq!(block[0] >> 4, u8::from(name != "content-length"), "{name}");
        assert_eq!(decode(&mut decoder, &block), Ok(owned(&[(name, value)])));
        assert_eq!(decoder.table_size(), size);
    }
}

/// RFC 7541 section 4.2: the smallest size in between is said too, since it has evicted.
#[test]
fn sizes_are_said_before_the_next_field() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let fields = [("server", "shardwise")];
    decode(&mut decoder, &encode(&mut encoder, &fields)).unwrap();
    encoder.set_size_max(10);
    encoder.set_size_max(100_000);
    let block = encode(&mut encoder, &fields);
    assert_eq!(block[..4], [0x2a, 0x3f, 0xe1, 0x1f]);
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&fields)));
    assert_eq!(encode(&mut encoder, &fields).len(), 1);
    encoder.set_size_max(0);
    for _ in 0..2 {
        let block = encode(&mut encoder, &fields);
        assert_eq!(decode(&mut decoder, &block), Ok(owned(&fields)));
        assert_eq!(decoder.table_size(), 0);
    }
}

#[test]
fn random_fields_come_back() {
    for seed in 1..=200_u64 {
        let mut random = seed;
        let mut next = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for block in 0..100 {
            if next(10) == 0 {
                encoder.set_size_max([0, 64, 200, 4096, 65_536][next(5)]);
            }
            let mut fields = Fields::new();
            for _ in 0..next(12) {
                let name = match next(3) {
                    0 => fixed::ENTRIES[14 + next(47)].1.to_owned(),
                    1 => format!("x-{}", next(20)),
                    _ => "n".repeat(1 + next(90)),
                };
                let value = match next(4) {
                    0 => String::new(),
                    1 => format!("{}", next(5)),
                    2 => "\u{7f}~".repeat(next(40)),
                    _ => "value ".repeat(next(300)),
                };
                fields.push((name, value));
            }
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let encoded = encode(&mut encoder, &borrowed);
            assert_eq!(decode(&mut decoder, &encoded), Ok(fields), "seed {seed}, block {block}");
        }
    }
}
