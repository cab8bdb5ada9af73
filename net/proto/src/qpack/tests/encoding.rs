//! What the encoder inserts, refers to, and leaves alone.

use super::*;

fn encoder(capacity: u64, blocked: u64) -> Encoder {
    let mut encoder = Encoder::new();
    encoder.allow(capacity, blocked);
    encoder
}

/// Both ends of a direction, nothing of which is on its way.
struct Pair {
    encoder: Encoder,
    decoder: Decoder,
    stream: u64,
}

impl Pair {
    fn new(capacity: usize, blocked: usize) -> Pair {
        Pair { encoder: encoder(capacity as u64, blocked as u64), decoder: Decoder::new(capacity, blocked), stream: 0 }
    }

    /// Sends fields and gives the section.
    #[track_caller]
    fn send(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let section = encode(&mut self.encoder, self.stream, fields);
        let said = said_by_encoder(&mut self.encoder);
        assert_eq!(instruct(&mut self.decoder, &said), Ok(said.len()));
        assert_eq!(decode(&mut self.decoder, self.stream, &section), Ok(Some(owned(fields))));
        self.stream += 4;
        section
    }

    fn answer(&mut self) {
        let said = said_by_decoder(&mut self.decoder);
        assert_eq!(self.encoder.acknowledge(&said), Ok(said.len()));
    }
}

#[test]
fn what_comes_again_is_one_byte() {
    let fields = [("server", "shardwise"), ("content-type", "text/x-own"), ("x-custom", "yes")];
    for blocked in [0, 1] {
        let mut pair = Pair::new(4096, blocked);
        let first = pair.send(&fields);
        // Inserted here, and referred to if a stream may wait for that.
        assert_eq!(first == bytes("04 82 10 11 12"), blocked == 1, "{}", first.escape_ascii());
        pair.answer();
        assert_eq!(pair.send(&fields), bytes("04 00 82 81 80"));
        assert!(!pair.encoder.has_to_say());
    }
}

/// RFC 9204 section 7.1, and what would push out what does come again.
#[test]
fn what_is_secret_or_another_each_time_is_not_inserted() {
    let mut pair = Pair::new(4096, 10);
    said_by_encoder(&mut pair.encoder);
    for (name, value, first) in [
        ("authorization", "Basic c2VjcmV0", 0x7f),
        ("set-cookie", "id=1", 0x7e),
        ("cookie", "a=b", 0x75),
        ("proxy-authorization", "x", 0x30),
        ("content-length", "17", 0x54),
        ("etag", "\"a\"", 0x57),
    ] {
        let section = encode(&mut pair.encoder, 0, &[(name, value)]);
        assert_eq!((section[..2].to_vec(), section[2] & 0xf0), (vec![0, 0], first & 0xf0), "{name}");
        assert!(first == 0x30 || section[2] == first, "{name}");
        assert!(!pair.encoder.has_to_say(), "{name}");
    }
}

/// Section 2.1.2: as many streams may wait as the peer says, and one that may wait for more.
#[test]
fn no_more_streams_wait_than_may() {
    let mut encoder = encoder(4096, 2);
    for (stream, refers) in [(0, true), (4, true), (8, false), (4, true), (12, false)] {
        let section = encode(&mut encoder, stream, &[("x-stream", &stream.to_string()), ("x-all", "same")]);
        assert_eq!(section[0] != 0, refers, "{stream}");
    }
    // The first three inserts are known, so that none of them waits any longer.
    assert_eq!(encoder.acknowledge(&[3]), Ok(1));
    assert_eq!(encode(&mut encoder, 16, &[("x-all", "same")])[..2], [3, 3]);
    for (stream, refers) in [(20, true), (24, true), (28, false)] {
        let section = encode(&mut encoder, stream, &[("x-stream", &stream.to_string())]);
        assert_eq!(section[0] != 0, refers, "{stream}");
    }
}

/// Section 2.1.1: neither what a section refers to nor what has not been acknowledged.
#[test]
fn nothing_is_evicted_that_someone_may_refer_to() {
    let value = "v".repeat(30);
    let mut pair = Pair::new(100, 10);
    // Large enough that there is room for one.
    pair.send(&[("x-first", &value)]);
    assert_eq!(pair.send(&[("x-second", &value)])[0], 0, "the first is not acknowledged");
    assert!(!pair.encoder.has_to_say());
    pair.answer();
    assert_ne!(pair.send(&[("x-second", &value)])[0], 0, "it is now");
    // A stream that was cancelled refers to nothing any more, but its insert is not known to have come.
    assert_eq!(pair.encoder.acknowledge(&[0x40 | 8]), Ok(1));
    assert_eq!(pair.send(&[("x-third", &value)])[0], 0);
    assert_eq!(pair.encoder.acknowledge(&[1]), Ok(1));
    assert_ne!(pair.send(&[("x-third", &value)])[0], 0);
}

/// Section 2.1.1.1: what is in use is inserted anew before it is in the way, so that what is new finds room.
#[test]
fn what_is_draining_is_duplicated() {
    let mut pair = Pair::new(400, 10);
    let mut duplicates = 0;
    for count in 0..200 {
        let fields = [("server", "shardwise"), ("date", &*format!("Mon, 21 Oct 2013 20:13:{count:02} GMT"))];
        let section = encode(&mut pair.encoder, pair.stream, &fields);
        let said = said_by_encoder(&mut pair.encoder);
        duplicates += usize::from(count > 0 && said[0] < 0x20);
        assert_eq!(instruct(&mut pair.decoder, &said), Ok(said.len()));
        assert_eq!(decode(&mut pair.decoder, pair.stream, &section), Ok(Some(owned(&fields))));
        assert_eq!(section.len(), 4, "both are in the table: {}", section.escape_ascii());
        pair.stream += 4;
        // The answers come late.
        if count % 2 == 1 {
            pair.answer();
        }
    }
    assert!((20..80).contains(&duplicates), "{duplicates}");
}

/// A name that is in the table alone is referred to, by either kind of index.
#[test]
fn names_of_the_table_are_used() {
    let mut pair = Pair::new(100, 10);
    pair.send(&[("x-name", "a")]);
    pair.answer();
    let long = "w".repeat(80);
    assert_eq!(pair.send(&[("x-name", &long)])[..3], [2, 0, 0x40]);
}

/// Without acknowledgements there is an end to what is remembered, and the table is done without.
#[test]
fn sections_without_an_acknowledgement_have_a_bound() {
    let mut encoder = encoder(4096, 1_000_000);
    let sections = (0..2 * SECTIONS_MAX as u64).map(|stream| encode(&mut encoder, stream, &[("x-a", "b")]));
    assert_eq!(sections.filter(|section| section[0] != 0).count(), SECTIONS_MAX);
    // Each takes its place only until it is acknowledged.
    assert_eq!(encoder.acknowledge(&[0x80]), Ok(1));
    assert_ne!(encode(&mut encoder, 0, &[("x-a", "b")])[0], 0);
}

/// What waits for the encoder stream has a bound too, and what would be beyond it is written out.
#[test]
fn an_encoder_stream_that_is_not_sent_has_a_bound() {
    let mut encoder = encoder(4096, 100);
    for count in 0..1000_u64 {
        let value = format!("{count}{}", "v".repeat(500));
        encode(&mut encoder, 4 * count, &[("x-a", &value)]);
        // Everything is acknowledged, though it cannot have been read: so much the better for the test.
        let _ = encoder.acknowledge(&[1]);
        encoder.acknowledge(&[&[0x7f][..], &bytes("80 80 00")].concat()).unwrap();
    }
    let mut out = [0; 2 * ENCODER_STREAM_BYTES_MAX];
    assert!(encoder.say(&mut out) <= ENCODER_STREAM_BYTES_MAX);
}

/// Capacities that are of no use, and those that are more than we take.
#[test]
fn the_peers_settings() {
    for (capacity, said) in [(0, ""), (31, ""), (32, "3f 01"), (4096, "3f e1 1f"), (u64::MAX >> 2, "3f e1 1f")] {
        let mut encoder = encoder(capacity, u64::MAX >> 2);
        assert_eq!(said_by_encoder(&mut encoder), bytes(said));
        encode(&mut encoder, 0, &[("x-a", "b")]);
        assert_eq!(encoder.has_to_say(), capacity > 32, "{capacity}");
    }
}
