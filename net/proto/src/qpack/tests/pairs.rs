//! An encoder and a decoder whose streams come in any order to each other and in any pieces, with tables and patience of any
//! size; what is written comes back.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// What is on its way in one connection.
struct Wires {
    random: u64,
    encoder: Encoder,
    decoder: Decoder,
    instructions: Vec<u8>,
    /// Of those that have not been decoded, by stream.
    sections: BTreeMap<u64, VecDeque<(Vec<u8>, Fields)>>,
    blocked: Vec<u64>,
    blocked_most: usize,
    answers: Vec<u8>,
    decoded: usize,
}

impl Wires {
    fn next(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % bound
    }

    fn fields(&mut self) -> Fields {
        let count = self.next(10);
        let field = |_| {
            let name = match self.next(4) {
                0 => fixed::ENTRIES[1 + self.next(98)].1.trim_start_matches(':').to_owned(),
                1 => "n".repeat(1 + self.next(60)),
                _ => format!("x-{}", self.next(12)),
            };
            let value = match self.next(6) {
                0 => String::new(),
                1 => "\u{7f}~".repeat(self.next(40)),
                2 => "value ".repeat(self.next(200)),
                _ => format!("{}", self.next(4)),
            };
            (name, value)
        };
        (0..count).map(field).collect()
    }

    fn write(&mut self, stream: u64) {
        let fields = self.fields();
        let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let section = encode(&mut self.encoder, stream, &borrowed);
        self.sections.entry(stream).or_default().push_back((section, fields));
    }

    fn say(&mut self) {
        let mut piece = [0; 50];
        let count = self.encoder.say(&mut piece);
        self.instructions.extend_from_slice(&piece[..count]);
    }

    /// So much of the encoder stream has come, and what waited for it is shown again.
    fn instruct(&mut self, count: usize) {
        let count = count.min(self.instructions.len());
        let taken = instruct(&mut self.decoder, &self.instructions[..count]).expect("it can be followed");
        self.instructions.drain(..taken);
        while let Some(stream) = self.decoder.unblocked() {
            let place = self.blocked.iter().position(|&blocked| blocked == stream).expect("it waits");
            self.blocked.remove(place);
            self.show(stream);
            assert!(!self.blocked.contains(&stream));
        }
    }

    fn show(&mut self, stream: u64) {
        if self.blocked.contains(&stream) {
            return;
        }
        let Some((section, fields)) = self.sections.get_mut(&stream).and_then(VecDeque::pop_front) else { return };
        match decode(&mut self.decoder, stream, &section).expect("it can be decoded") {
            Some(found) => {
                assert_eq!(found, fields, "stream {stream}");
                self.decoded += 1;
            }
            None => {
                self.sections.get_mut(&stream).expect("so it was").push_front((section, fields));
                self.blocked.push(stream);
                self.blocked_most = self.blocked_most.max(self.blocked.len());
            }
        }
    }

    fn answer(&mut self, count: usize) {
        let mut piece = [0; 300];
        let said = self.decoder.say(&mut piece);
        self.answers.extend_from_slice(&piece[..said]);
        let count = count.min(self.answers.len());
        let taken = self.encoder.acknowledge(&self.answers[..count]).expect("it can be so");
        self.answers.drain(..taken);
    }
}

#[test]
fn random_fields_come_back_whatever_comes_first() {
    let (mut blocked_most, mut decoded) = (0, 0);
    for seed in 1..=400_u64 {
        let mut wires = Wires {
            random: seed,
            encoder: Encoder::new(),
            decoder: Decoder::default(),
            instructions: Vec::new(),
            sections: BTreeMap::new(),
            blocked: Vec::new(),
            blocked_most: 0,
            answers: Vec::new(),
            decoded: 0,
        };
        let capacity = match wires.next(3) {
            0 => wires.next(4097),
            1 => [0, 32, 64, 100, 220][wires.next(5)],
            _ => 4096,
        };
        let blocked = [0, 1, 2, wires.next(101), 100][wires.next(5)];
        println!("seed {seed}: a table of {capacity} bytes, {blocked} streams");
        wires.decoder = Decoder::new(capacity, blocked);
        wires.encoder.allow(capacity as u64, blocked as u64);
        let streams = 300;
        let mut written = 0;
        for stream in 0..streams {
            wires.write(stream);
            written += 1;
            // Trailers.
            if wires.next(4) == 0 {
                wires.write(stream);
                written += 1;
            }
            for _ in 0..wires.next(6) {
                match wires.next(5) {
                    0 => wires.say(),
                    1 => {
                        let count = wires.next(400);
                        wires.instruct(count);
                    }
                    2 | 3 => {
                        let back = wires.next(8) as u64;
                        wires.show(stream.saturating_sub(back));
                    }
                    _ => {
                        let count = wires.next(12);
                        wires.answer(count);
                    }
                }
            }
        }
        while wires.encoder.has_to_say() {
            wires.say();
        }
        wires.instruct(usize::MAX);
        for stream in 0..streams {
            wires.show(stream);
            wires.show(stream);
        }
        while wires.decoder.has_to_say() || !wires.answers.is_empty() {
            wires.answer(usize::MAX);
        }
        assert_eq!((wires.decoded, wires.instructions.len(), wires.blocked.len()), (written, 0, 0), "seed {seed}");
        assert!(wires.blocked_most <= blocked, "seed {seed}");
        blocked_most = blocked_most.max(wires.blocked_most);
        decoded += written;
    }
    assert!(blocked_most > 10 && decoded > 100_000, "{blocked_most} waited at once, {decoded} sections");
}
