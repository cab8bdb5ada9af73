//! A peer that sends what mostly may be sent: frames of requests and answers, a table that is used, and now and then anything.

use proto::h3::Role;
use proto::head::Known;
use proto::qpack::{Encoder, START_BYTES_MAX, field_bytes_max};

use super::{Record, What, check, written};
use crate::cut::Random;
use crate::script::Script;

/// The input decides what is sent, and to which end.
pub fn h3_frames(input: &[u8]) {
    let mut script = Script(input);
    let role = if script.below(2) == 0 { Role::Server } else { Role::Client };
    let manner = script.below(256) as u64;
    check(role, &(manner, Peer::new(role, &mut script).all(&mut script)));
}

/// What such a peer sends by chance, as the other targets take it.
pub(crate) fn sent(mut random: Random, role: Role) -> Vec<u8> {
    let choices: Vec<u8> = (0..60).map(|_| random.below(256) as u8).collect();
    let mut script = Script(&choices);
    let manner = script.below(256) as u8;
    written(manner, &Peer::new(role, &mut script).all(&mut script))
}

struct Peer {
    role: Role,
    encoder: Encoder,
    records: Vec<Record>,
    /// Whether the streams of the tables have begun.
    has_encoder: bool,
    has_decoder: bool,
    /// How far the streams of requests have come, by their places.
    sent: [Sent; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Head,
    End,
}

const CONTROL: u8 = 4;
const ENCODER: u8 = 5;
const DECODER: u8 = 6;
const OTHER: u8 = 7;

impl Peer {
    fn new(role: Role, script: &mut Script<'_>) -> Peer {
        let (encoder, records, sent) = (Encoder::new(), Vec::new(), [Sent::Nothing; 4]);
        let mut peer = Peer { role, encoder, records, has_encoder: false, has_decoder: false, sent };
        if !script.once_in(4) {
            // As much of a table as the smallest that an owner grants.
            peer.encoder.allow(200, 2);
        }
        let mut settings = vec![0, 4, 0];
        let all = [&[1_u8, 0x4f, 0xff][..], &[6, 0x44, 0], &[7, 4], &[8, 1], &[0x33, 1], &[0x40, 0x40, 9]];
        let which = script.below(64);
        for (bit, setting) in all.into_iter().enumerate() {
            if which >> bit & 1 != 0 {
                settings.extend(setting);
            }
        }
        if script.once_in(32) {
            settings.extend(script.pick(&[[2_u8, 0], [6, 1], [8, 2], [7, 0x40]]));
        }
        settings[2] = settings.len() as u8 - 3;
        peer.record(CONTROL, What::Bytes, settings);
        peer
    }

    fn all(mut self, script: &mut Script<'_>) -> Vec<Record> {
        let mut fuel = 64;
        while !script.is_over() && fuel > 0 {
            fuel -= 1;
            self.next(script);
        }
        self.records
    }

    fn record(&mut self, place: u8, what: What, bytes: Vec<u8>) {
        if let Some(sent) = self.sent.get_mut(usize::from(place)) {
            *sent = match what {
                What::Bytes if bytes.is_empty() => *sent,
                What::Bytes => Sent::Head,
                _ => Sent::End,
            };
        }
        self.records.push(Record { place, what, bytes });
    }

    fn next(&mut self, script: &mut Script<'_>) {
        let place = self.any(script);
        let sent = self.sent[usize::from(place)];
        match script.below(32) {
            0..14 if sent == Sent::Nothing => {
                let bytes = self.head(place, script);
                self.say(place, bytes, script);
            }
            0..10 => {
                let count = script.pick(&[5, 0, 1, 30, 64, 300]);
                self.say(place, frame(0, &vec![b'd'; count]), script);
            }
            10..14 => self.record(place, What::End, Vec::new()),
            14 => {
                let bytes = self.section(place, &[("x-trailer", "t"), ("x", "y")], script);
                self.record(place, What::End, bytes);
            }
            15 => self.record(place, What::Reset, Vec::new()),
            16 => self.record(place, What::Stop, Vec::new()),
            17 => {
                let id = 4 * script.below(20) as u8;
                let value = script.pick(&["u=0", "u=7, i", "i", "u=9", ""]);
                let (number, is_odd) = ([0x40, id], script.once_in(16));
                let number = if is_odd { &number[..1] } else { &number[..] };
                if self.role == Role::Server || is_odd {
                    self.record(CONTROL, What::Bytes, frame(0xf_0700, &[number, value.as_bytes()].concat()));
                }
            }
            18 => {
                let kind = script.pick(&[7_u64, if self.role == Role::Server { 0xd } else { 7 }]);
                let number = 4 * script.below(16) as u8;
                self.record(CONTROL, What::Bytes, frame(kind, &[number]));
            }
            19 => {
                let (to, count) = (script.pick(&[place, CONTROL]), script.below(24));
                let bytes = frame(script.pick(&[0x21_u64, 0x5f, 0x40]), script.take(count));
                self.record(to, What::Bytes, bytes);
            }
            20 => {
                // Acknowledgements: of an insert, of a section, of a stream that is given up.
                let (first, number) = (script.pick(&[0x40_u8, 0, 0x80]), 4 * script.below(4) as u8);
                let said = first | if first == 0 { 1 } else { number };
                let begun = std::mem::replace(&mut self.has_decoder, true);
                self.record(DECODER, What::Bytes, if begun { vec![said] } else { vec![3, said] });
            }
            21 => self.record(OTHER, What::Bytes, vec![0x21, 1, 2]),
            22 => {
                let kind = script.pick(&[0xf_0701_u64, 2, 3, 4, 5, 0xd]);
                let (to, count) = (script.pick(&[place, CONTROL]), script.below(24));
                let bytes = frame(kind, script.take(count));
                self.record(to, What::Bytes, bytes);
            }
            23 => {
                let (to, count, what) = (script.below(8) as u8, script.below(16), ends(script));
                let bytes = script.take(count).to_vec();
                self.record(to, what, bytes);
            }
            24 => {
                let bytes = self.head(place, script);
                self.say(place, bytes, script);
            }
            // Time goes by.
            _ => self.record(place, What::Bytes, Vec::new()),
        }
    }

    /// A stream of a request that has not ended, if there is one.
    fn any(&self, script: &mut Script<'_>) -> u8 {
        let open = if self.role == Role::Server { 4 } else { 3 };
        let first = script.below(open);
        let places = (0..open).map(|place| (first + place) % open);
        places.into_iter().find(|&place| self.sent[place] != Sent::End).unwrap_or(first) as u8
    }

    /// Something of a message, and perhaps the stream's end.
    fn say(&mut self, place: u8, bytes: Vec<u8>, script: &mut Script<'_>) {
        let what = ends(script);
        self.record(place, what, bytes);
    }

    fn head(&mut self, place: u8, script: &mut Script<'_>) -> Vec<u8> {
        let mut fields = match (self.role, script.below(8)) {
            (Role::Client, _) => vec![(":status", script.pick(&["200", "200", "204", "304", "103", "404", "x"]))],
            (Role::Server, 0) => vec![(":method", "CONNECT"), (":authority", "here:1")],
            (Role::Server, 1) => vec![
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", "here"),
                (":path", "/"),
            ],
            (Role::Server, _) => vec![
                (":method", script.pick(&["GET", "POST", "GET", "POST", "HEAD", "OPTIONS", "GET", "G T"])),
                (":scheme", script.pick(&["http", "https"])),
                (":authority", script.pick(&["here", "there:80", "here", "here", "here", "there", "here", ""])),
                (":path", script.pick(&["/", "/a?b", "/", "/%20", "/a?b", "/", "*", "x"])),
            ],
        };
        // Most of the last ones make it malformed, or too large.
        let among = if script.once_in(8) { &FIELDS[..] } else { &FIELDS[..11] };
        for _ in 0..script.below(6) {
            fields.push(script.pick(among));
        }
        self.section(place, &fields, script)
    }

    /// A section, and before or behind it what the table is told of it.
    fn section(&mut self, place: u8, fields: &[(&str, &str)], script: &mut Script<'_>) -> Vec<u8> {
        let mut out = [0; 4096];
        let id = super::ids(self.role)[usize::from(place)];
        let mut count = self.encoder.begin(id, &mut out[..START_BYTES_MAX]);
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let room = &mut out[count..][..field_bytes_max(name, value)];
            count += match name {
                b":authority" => self.encoder.pseudo(0, name, value, room),
                b":method" => self.encoder.fixed_name(15, value, room),
                b":path" => self.encoder.fixed_name(1, value, room),
                b":scheme" => self.encoder.fixed_name(22, value, room),
                b":status" => self.encoder.fixed_name(24, value, room),
                _ => self.encoder.field(Known::of(name), name, value, room),
            };
        }
        let count = self.encoder.finish(&mut out, count);
        let mut told = if self.has_encoder { Vec::new() } else { vec![2] };
        while self.encoder.has_to_say() {
            let mut out = [0; 64];
            let count = self.encoder.say(&mut out);
            told.extend_from_slice(&out[..count]);
        }
        let section = frame(1, &out[..count]);
        if told.len() > 1 || !told.is_empty() && self.has_encoder {
            self.has_encoder = true;
            if script.below(3) == 0 {
                self.record(place, What::Bytes, section);
                self.record(ENCODER, What::Bytes, told);
                return Vec::new();
            }
            self.record(ENCODER, What::Bytes, told);
        }
        section
    }
}

fn ends(script: &mut Script<'_>) -> What {
    script.pick(&[What::Bytes, What::Bytes, What::End])
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [kind, payload.len() as u64] {
        match number {
            0..0x40 => bytes.push(number as u8),
            0x40..0x4000 => bytes.extend_from_slice(&(number as u16 | 0x4000).to_be_bytes()),
            _ => bytes.extend_from_slice(&(number as u32 | 0x8000_0000).to_be_bytes()),
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

const FIELDS: [(&str, &str); 18] = [
    ("accept", "*/*"),
    ("x", "y"),
    ("x", "z"),
    ("cookie", "a=b"),
    ("cookie", "c=d"),
    ("content-length", "5"),
    ("te", "trailers"),
    ("priority", "u=1, i"),
    ("expect", "100-continue"),
    ("x-kept", "0123456789012345"),
    ("user-agent", "01234567890123456789"),
    ("content-length", "0"),
    ("host", "here"),
    ("x-large", LARGE),
    ("connection", "close"),
    ("Upper", "case"),
    ("x", " y"),
    (":late", "pseudo"),
];

const LARGE: &str = "01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789";
