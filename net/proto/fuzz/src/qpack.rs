//! Field compression of HTTP/3: each end beside one that does as the RFC says, and both with each other, whose streams come in
//! any order.

mod plain;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::head::Known;
use proto::qpack::{
    Arena, Decoded, Decoder, Encoder, Name, Outcome, START_BYTES_MAX, Sink, TABLE_BYTES, field_bytes_max, limits,
};

use crate::hpack::plain::{Field, Malformed};
use crate::script::Script;

/// Capacities at which something turns.
const CAPACITIES: [usize; 9] = [0, 31, 32, 64, 100, 220, 1000, 4095, 4096];

/// For a field of the table, and one that is written out.
const ROOM_BYTES: usize = 4 * TABLE_BYTES;

/// Instructions, sections and cancellations of any bytes are to the decoder what they are to the plain one, and it tells its
/// peer what it has done.
pub fn qpack_decoder(input: &[u8]) {
    let mut script = Script(&input[..input.len().min(TABLE_BYTES)]);
    let (capacity, blocked) = (script.pick(&CAPACITIES), script.pick(&[0, 1, 2, 100]));
    let (mut decoder, mut plain) = (Decoder::new(capacity, blocked), plain::Decoder::new(capacity));
    let mut pending = Vec::new();
    let mut waiting = BTreeMap::new();
    let mut answers = Answers::default();
    while !script.is_over() {
        let way = script.below(8);
        let count = script.below(64);
        match way {
            0..=2 => {
                pending.extend_from_slice(script.take(count));
                if !instruct(&mut decoder, &mut plain, &mut pending) {
                    return;
                }
            }
            3..=5 => {
                let (stream, section) = (script.below(40) as u64, script.take(count));
                // A stream's next section comes when the one before has been read.
                if waiting.contains_key(&stream) {
                    continue;
                }
                let shown = (section, plain.requires(section));
                let Some(is_whole) = section_of(&mut decoder, &plain, stream, shown, &mut answers) else { return };
                if !is_whole {
                    waiting.insert(stream, shown);
                    assert!(waiting.len() <= blocked);
                }
            }
            6 => {
                let stream = script.below(40) as u64;
                waiting.remove(&stream);
                decoder.cancel(stream).expect("so little is waiting");
                if capacity > 0 {
                    answers.sections.push_back((true, stream));
                }
            }
            _ => answers.check(&mut decoder, plain.inserted()),
        }
        while let Some(stream) = decoder.unblocked() {
            let shown = waiting.remove(&stream).expect("it waits");
            match section_of(&mut decoder, &plain, stream, shown, &mut answers) {
                Some(is_whole) => assert!(is_whole, "it waits no longer"),
                None => return,
            }
        }
    }
    answers.check(&mut decoder, plain.inserted());
}

/// Whether both go on; they agree.
fn instruct(decoder: &mut Decoder, plain: &mut plain::Decoder, pending: &mut Vec<u8>) -> bool {
    let ours = decoder.instruct(pending, &mut Arena::new(&mut [0; TABLE_BYTES]));
    match (&ours, plain.instruct(pending)) {
        (Ok(count), Ok(rest)) => assert_eq!(*count, pending.len() - rest.len(), "{}", pending.escape_ascii()),
        (Err(_), Err(Malformed::Wrong)) => return false,
        // What is too long is refused before it has come: whatever comes, it will not do.
        (Err(_), Ok(rest)) => {
            let before = plain.inserted();
            let _ = plain.instruct(&[rest, &[0; 8 * TABLE_BYTES]].concat());
            assert_eq!(plain.inserted(), before, "{}", pending.escape_ascii());
            return false;
        }
        (ours, expect) => panic!("{}: {ours:?}, and plainly {expect:?}", pending.escape_ascii()),
    }
    pending.drain(..ours.expect("so it is"));
    assert!(pending.len() <= limits::INSTRUCTION_BYTES_MAX);
    true
}

/// Whether a section, which required so many inserts when it came, is whole, unless the connection ends with it; both agree.
fn section_of(
    decoder: &mut Decoder,
    plain: &plain::Decoder,
    stream: u64,
    (section, required): (&[u8], Result<usize, Malformed>),
    answers: &mut Answers,
) -> Option<bool> {
    let ours = decode(decoder, stream, section);
    let expect = required.and_then(|required| plain.decode(section, required));
    match (&ours, &expect) {
        (Ok(Some(ours)), Ok(Some(expect))) => {
            assert_eq!(ours, expect, "{}", section.escape_ascii());
            if let Ok(required @ 1..) = required {
                answers.sections.push_back((false, stream));
                answers.told = answers.told.max(required);
            }
            Some(true)
        }
        (Ok(None), Ok(None)) => Some(false),
        // It cannot wait, since too many do.
        (Err(_), Ok(None) | Err(_)) => None,
        _ => panic!("{}: {ours:?}, and plainly {expect:?}", section.escape_ascii()),
    }
}

/// What the decoder must have said when it is asked.
#[derive(Default)]
struct Answers {
    /// Whether it was cancelled, and the stream.
    sections: VecDeque<(bool, u64)>,
    told: usize,
}

impl Answers {
    fn check(&mut self, decoder: &mut Decoder, inserted: usize) {
        let mut said = [0; 2 * TABLE_BYTES];
        let count = decoder.say(&mut said);
        assert!(!decoder.has_to_say());
        let mut expect = Vec::new();
        for (is_cancelled, stream) in self.sections.drain(..) {
            put(if is_cancelled { (0x40, 6) } else { (0x80, 7) }, stream, &mut expect);
        }
        if inserted > self.told {
            put((0, 6), (inserted - self.told) as u64, &mut expect);
            self.told = inserted;
        }
        assert_eq!(&said[..count], expect);
    }
}

/// RFC 7541 section 5.1.
fn put((first, bits): (u8, u32), mut number: u64, out: &mut Vec<u8>) {
    let mask = (1 << bits) - 1;
    if number < mask {
        return out.push(first | number as u8);
    }
    out.push(first | mask as u8);
    number -= mask;
    while number >= 128 {
        out.push(number as u8 | 0x80);
        number /= 128;
    }
    out.push(number as u8);
}

/// Keeps the fields and nothing in the arena.
#[derive(Default)]
struct All(Vec<Field>);

impl Sink for All {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let (name, value) = (field.text.of(arena.as_slice()), field.value.of(arena.as_slice()));
        assert_eq!(Name::of(name), field.name);
        self.0.push((name.to_vec(), value.to_vec()));
        false
    }

    fn overflow(&mut self) {
        panic!("there is room for every field of so short a section");
    }
}

fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<Option<Vec<Field>>, proto::qpack::Error> {
    let mut all = All::default();
    let outcome = decoder.decode(stream, section, &mut Arena::new(&mut [0; ROOM_BYTES]), &mut all)?;
    assert!(outcome == Outcome::Decoded || all.0.is_empty());
    Ok((outcome == Outcome::Decoded).then_some(all.0))
}

/// Whatever its peer acknowledges, the encoder writes what a plain decoder understands that has all its instructions, or ends.
pub fn qpack_encoder(input: &[u8]) {
    let mut script = Script(input);
    let (capacity, blocked) = (script.pick(&CAPACITIES), script.pick(&[0, 1, 100]));
    let (mut encoder, mut plain) = (Encoder::new(), plain::Decoder::new(capacity));
    encoder.allow(capacity as u64, blocked);
    let (mut instructions, mut pending) = (Vec::new(), Vec::new());
    // Streams of what has not been acknowledged and what each requires, and how many inserts are known to be.
    let (mut sections, mut known) = (Vec::new(), 0);
    while !script.is_over() {
        match script.below(4) {
            0 => {
                let count = script.below(16);
                pending.extend_from_slice(script.take(count));
                let ours = encoder.acknowledge(&pending);
                let expect = acknowledge(&pending, &mut sections, &mut known, plain.inserted());
                assert_eq!(ours.ok(), expect, "{}", pending.escape_ascii());
                let Some(count) = expect else { return };
                pending.drain(..count);
            }
            1 => {
                // All that it is, in order.
                let mut said = Vec::new();
                sections.iter().for_each(|&(stream, _)| put((0x80, 7), stream, &mut said));
                if pending.is_empty() && script.once_in(2) {
                    assert_eq!(encoder.acknowledge(&said), Ok(said.len()));
                    assert_eq!(acknowledge(&said, &mut sections, &mut known, plain.inserted()), Some(said.len()));
                }
            }
            _ => {
                let stream = script.below(40) as u64;
                let (section, fields) = encode(&mut encoder, stream, &mut script);
                say(&mut encoder, &mut instructions);
                let left = plain.instruct(&instructions).expect("what we say can be taken").len();
                assert_eq!(left, 0);
                instructions.clear();
                let required = plain.requires(&section).expect("a number");
                let found = plain.decode(&section, required).expect("and decoded").expect("it has all come");
                assert_eq!(found, fields, "{}", section.escape_ascii());
                if required > 0 {
                    sections.push((stream, required));
                    let waiting: Vec<u64> =
                        sections.iter().filter(|section| section.1 > known).map(|section| section.0).collect();
                    let mut streams = waiting.clone();
                    streams.sort_unstable();
                    streams.dedup();
                    assert!(streams.len() as u64 <= blocked, "{waiting:?}");
                }
            }
        }
    }
}

/// What a peer says on its decoder stream (section 4.4): how many bytes of it are whole, if it may be said.
fn acknowledge(said: &[u8], sections: &mut Vec<(u64, usize)>, known: &mut usize, inserted: usize) -> Option<usize> {
    let mut at = 0;
    while at < said.len() {
        let bits = if said[at] & 0x80 != 0 { 7 } else { 6 };
        let (mut number, mut end) = (u128::from(said[at] & ((1 << bits) - 1)), at + 1);
        if number == (1 << bits) - 1 {
            loop {
                let Some(&byte) = said.get(end) else { return Some(at) };
                number += u128::from(byte & 0x7f) << (7 * (end - at - 1));
                end += 1;
                if number >= 1 << 62 || end - at == 10 && byte >= 0x80 {
                    return None;
                }
                if byte < 0x80 {
                    break;
                }
            }
        }
        match said[at] {
            0x80.. => {
                let place = sections.iter().position(|section| u128::from(section.0) == number)?;
                *known = (*known).max(sections.remove(place).1);
            }
            0x40.. => sections.retain(|section| u128::from(section.0) != number),
            _ => {
                if number == 0 || number + *known as u128 > inserted as u128 {
                    return None;
                }
                *known += number as usize;
            }
        }
        at = end;
    }
    Some(at)
}

/// All that the encoder has to say, in pieces.
fn say(encoder: &mut Encoder, out: &mut Vec<u8>) {
    let mut piece = [0; 100];
    while encoder.has_to_say() {
        let count = encoder.say(&mut piece);
        out.extend_from_slice(&piece[..count]);
    }
}

/// A section of fields of any kind.
fn encode(encoder: &mut Encoder, stream: u64, script: &mut Script<'_>) -> Section {
    let (mut out, mut fields) = (vec![0; 16 * 1024], Vec::new());
    let mut count = encoder.begin(stream, &mut out[..START_BYTES_MAX]);
    for _ in 0..script.below(8) {
        let way = script.below(8);
        if way == 0 {
            let index = script.below(plain::FIXED.len());
            let (name, value) = plain::FIXED[index];
            fields.push((name.into(), value.into()));
            count += encoder.fixed(index, &mut out[count..count + 3]);
            continue;
        }
        let value = value(script);
        let (name, taken) = match way {
            1 => {
                let index = script.below(plain::FIXED.len());
                let name = plain::FIXED[index].0.as_bytes();
                let room = &mut out[count..][..field_bytes_max(name, &value)];
                (name.to_vec(), encoder.fixed_name(index, &value, room))
            }
            2 => {
                let (index, name) = script.pick(&[(0, ":authority"), (1, ":path")]);
                let name = name.as_bytes();
                let room = &mut out[count..][..field_bytes_max(name, &value)];
                (name.to_vec(), encoder.pseudo(index, name, &value, room))
            }
            _ => {
                let name = match script.below(4) {
                    0 => {
                        let count = 1 + script.below(16);
                        script.take(count).to_ascii_lowercase()
                    }
                    _ => script.pick(&crate::hpack::NAMES).as_bytes().to_vec(),
                };
                let room = &mut out[count..][..field_bytes_max(&name, &value)];
                let taken = encoder.field(Known::of(&name), &name, &value, room);
                (name, taken)
            }
        };
        count += taken;
        fields.push((name, value));
    }
    let count = encoder.finish(&mut out[..count + START_BYTES_MAX], count);
    out.truncate(count);
    (out, fields)
}

/// Mostly short, so that more is tried in a second: tables may be small as well.
fn value(script: &mut Script<'_>) -> Vec<u8> {
    match script.below(16) {
        0 => crate::hpack::value(script),
        1..=3 => script.pick(&["", "gzip, deflate, br", "200", "/", "no-cache"]).into(),
        4..=6 => script.take(2).repeat(script.below(40)),
        _ => script.take(1).to_vec(),
    }
}

/// An encoder and a decoder, whose three kinds of streams come in any pieces and in any order to each other: all fields come
/// back, and no more streams wait than may.
pub fn qpack_round_trip(input: &[u8]) {
    let mut script = Script(input);
    let (capacity, blocked) = (script.pick(&CAPACITIES), script.pick(&[0, 1, 3, 100]));
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(capacity, blocked));
    let mut wires = Wires::default();
    let mut next = 0;
    if !script.once_in(8) {
        encoder.allow(capacity as u64, blocked as u64);
    }
    while !script.is_over() {
        match script.below(8) {
            0..=2 => {
                // Now and then the trailers of one that had a head.
                let stream = if next > 0 && script.once_in(4) { script.below(next) as u64 } else { next as u64 };
                if wires.reset.contains(&stream) {
                    continue;
                }
                next = next.max(stream as usize + 1);
                let (section, fields) = encode(&mut encoder, stream, &mut script);
                wires.sections.entry(stream).or_default().push_back((section, fields));
            }
            3 => say(&mut encoder, &mut wires.instructions),
            4 => {
                let count = script.below(300);
                wires.instruct(&mut decoder, count);
            }
            5 => {
                let stream = script.below(next.max(1)) as u64;
                wires.show(&mut decoder, stream);
            }
            6 => {
                let count = script.below(20);
                wires.answer(&mut decoder, &mut encoder, count);
            }
            _ if script.once_in(4) => {
                let stream = script.below(next.max(1)) as u64;
                if wires.sections.remove(&stream).is_some() {
                    wires.shown.remove(&stream);
                    wires.reset.insert(stream);
                    decoder.cancel(stream).expect("so little is waiting");
                }
            }
            _ => {}
        }
    }
    // What is left comes.
    say(&mut encoder, &mut wires.instructions);
    wires.instruct(&mut decoder, usize::MAX);
    for stream in 0..next as u64 {
        while wires.sections.get(&stream).is_some_and(|sections| !sections.is_empty()) {
            let before = wires.sections[&stream].len();
            wires.show(&mut decoder, stream);
            assert!(wires.sections[&stream].len() < before, "all inserts have come");
        }
    }
    wires.answer(&mut decoder, &mut encoder, usize::MAX);
    assert!(wires.instructions.is_empty() && wires.answers.is_empty() && decoder.unblocked().is_none());
}

/// What was written, and of which fields.
type Section = (Vec<u8>, Vec<Field>);

/// What is on its way.
#[derive(Default)]
struct Wires {
    instructions: Vec<u8>,
    /// Has come, and is no whole instruction yet.
    instructed: Vec<u8>,
    sections: BTreeMap<u64, VecDeque<Section>>,
    /// Streams that were reset, and have no further sections.
    reset: BTreeSet<u64>,
    /// Streams whose next section waits for the table.
    shown: BTreeSet<u64>,
    answers: Vec<u8>,
    answered: Vec<u8>,
}

impl Wires {
    fn instruct(&mut self, decoder: &mut Decoder, count: usize) {
        let count = count.min(self.instructions.len());
        self.instructed.extend(self.instructions.drain(..count));
        let taken = decoder.instruct(&self.instructed, &mut Arena::new(&mut [0; TABLE_BYTES]));
        self.instructed.drain(..taken.expect("what we say can be taken"));
        while let Some(stream) = decoder.unblocked() {
            assert!(self.shown.remove(&stream), "{stream} waits");
            self.show(decoder, stream);
            assert!(!self.shown.contains(&stream), "it waits no longer");
        }
    }

    /// The next section of a stream comes, if the one before has been read.
    fn show(&mut self, decoder: &mut Decoder, stream: u64) {
        let Some(sections) = self.sections.get_mut(&stream) else { return };
        let Some((section, fields)) = sections.front() else { return };
        if self.shown.contains(&stream) {
            return;
        }
        match decode(decoder, stream, section).expect("what we write can be decoded") {
            Some(found) => {
                assert_eq!(found, *fields, "{}", section.escape_ascii());
                sections.pop_front();
            }
            None => assert!(self.shown.insert(stream)),
        }
    }

    fn answer(&mut self, decoder: &mut Decoder, encoder: &mut Encoder, count: usize) {
        let mut piece = [0; 4096];
        let said = decoder.say(&mut piece);
        self.answers.extend_from_slice(&piece[..said]);
        let count = count.min(self.answers.len());
        self.answered.extend(self.answers.drain(..count));
        let taken = encoder.acknowledge(&self.answered).expect("what we say can be taken");
        self.answered.drain(..taken);
    }
}
