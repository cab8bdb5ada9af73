//! A peer that sends frames, most of which may be sent, and an owner that takes its time: both do what the input says.

use proto::h2::{Code, Limits, Role};
use proto::head::Known;
use proto::hpack::{Encoder, START_BYTES_MAX, field_bytes_max};

use super::end::End;
use super::frame::{PREFACE, flag, kind, put};
use crate::script::Script;

/// Whatever happens in whatever order, what is said may be said, and what is held is bounded.
pub fn h2_frames(input: &[u8]) {
    let mut script = Script(input);
    let role = script.pick(&[Role::Server, Role::Client]);
    let limits = super::limits(&mut |bound| script.below(bound));
    let mut end = End::new(role, limits);
    let mut peer = Peer::new(role);
    // Settings go before everything else.
    end.say_control();
    while !script.is_over() && !end.is_over {
        if script.below(3) < 2 {
            peer.step(&mut script, &end);
        } else {
            step(&mut end, &mut script);
        }
        // Now and then all at once.
        let count = if script.below(4) == 0 { script.below(64) } else { peer.wire.len() };
        let bytes: Vec<u8> = peer.wire.drain(..count.min(peer.wire.len())).collect();
        let mut bytes = &bytes[..];
        while end.receive(std::mem::take(&mut bytes)) {}
    }
    end.say_control();
    let ids: Vec<u32> = end.exchanges.keys().copied().collect();
    ids.into_iter().for_each(|id| end.release(id));
    end.say_control();
}

/// What the peer would send a server, or a client with four requests.
pub(crate) fn sent(mut random: crate::cut::Random, role: Role) -> Vec<u8> {
    let choices: Vec<u8> = (0..200).map(|_| random.below(256) as u8).collect();
    let mut script = Script(&choices);
    let mut end = End::new(role, Limits::default());
    let mut peer = Peer::new(role);
    let choose = &mut |bound| 3 % bound;
    end.say_control();
    if role == Role::Client {
        (0..4).for_each(|_| end.ask(choose));
    }
    let mut sent = Vec::new();
    while !script.is_over() && !end.is_over && sent.len() < 1200 {
        peer.step(&mut script, &end);
        sent.extend_from_slice(&peer.wire);
        let bytes = std::mem::take(&mut peer.wire);
        let mut bytes = &bytes[..];
        while end.receive(std::mem::take(&mut bytes)) {}
        end.say_control();
    }
    sent.truncate(1500);
    sent
}

/// Something that the owner does.
fn step(end: &mut End, script: &mut Script<'_>) {
    let ids: Vec<u32> = end.exchanges.keys().copied().collect();
    let choose = &mut |bound| script.below(bound);
    let any = |choose: super::end::Choose<'_>| ids.get(choose(ids.len())).copied();
    match choose(12) {
        0 | 1 if end.engine.is_closed() => {}
        0 | 1 => match end.witness.role() {
            Role::Server => end.unanswered().into_iter().for_each(|id| end.answer(id, choose)),
            Role::Client => end.ask(choose),
        },
        2 | 3 => {
            if let Some(id) = any(choose) {
                let count = [usize::MAX, 1, 100, 10_000][choose(4)];
                end.consume(id, count);
            }
        }
        4 | 5 => end.say_control(),
        6 | 7 => {
            let frames = choose(8);
            end.send(frames, choose);
        }
        8 => end.release_ended(),
        9 => {
            if let Some(id) = any(choose) {
                end.reset(id, Code([8, 0, 2, 7][choose(4)]));
            }
        }
        10 => {
            if let Some(id) = any(choose) {
                end.release(id);
            }
        }
        _ => match choose(4) {
            0 => end.engine.drain(),
            1 => end.engine.finish(),
            _ => end.now += std::time::Duration::from_millis(300),
        },
    }
}

struct Peer {
    /// Of the engine: the peer has the other.
    role: Role,
    encoder: Encoder,
    next: u32,
    wire: Vec<u8>,
}

impl Peer {
    fn new(role: Role) -> Peer {
        let mut wire = Vec::new();
        if role == Role::Server {
            wire.extend_from_slice(PREFACE);
        }
        put(&mut wire, kind::SETTINGS, 0, 0, b"");
        Peer { role, encoder: Encoder::new(), next: 1, wire }
    }

    /// Sends a frame or a few.
    fn step(&mut self, script: &mut Script<'_>, end: &End) {
        let open: Vec<u32> = end.witness.streams.keys().copied().filter(|&id| end.witness.hears(id)).collect();
        let known: Vec<u32> = end.witness.streams.keys().copied().collect();
        let any = |script: &mut Script<'_>| match script.below(8) {
            0 => script.below(16) as u32,
            1 => known.get(script.below(known.len())).copied().unwrap_or(1),
            _ => open.get(script.below(open.len())).copied().unwrap_or(1),
        };
        match script.below(24) {
            0..8 => {
                let id = match self.role {
                    Role::Server => {
                        let id = self.next;
                        self.next += [2, 2, 2, 4][script.below(4)];
                        id
                    }
                    Role::Client => any(script),
                };
                self.head(id, script);
            }
            8..12 => {
                let id = any(script);
                let line = end.witness.streams.get(&id);
                let window = line.map_or(100, |line| line.recv_window).min(end.witness.recv_window).max(0) as usize;
                self.data(id, window, script);
            }
            12 => {
                let id = any(script);
                self.block(id, true, &[("x-trailer", "t"), ("x", "y")], script);
            }
            13 => {
                let id = any(script);
                let code = script.below(16) as u32;
                put(&mut self.wire, kind::RST_STREAM, 0, id, &code.to_be_bytes());
            }
            14 => self.settings(script),
            15 => put(&mut self.wire, kind::SETTINGS, flag::ACK, 0, b""),
            16 | 17 => {
                let id = if script.below(2) == 0 { 0 } else { any(script) };
                let increment = script.pick(&[1_u32, 1000, 65_535, 1 << 20, 0x7fff_ffff, 0]);
                put(&mut self.wire, kind::WINDOW_UPDATE, 0, id, &increment.to_be_bytes());
            }
            18 => {
                let flags = script.below(2) as u8;
                let bytes = script.pick(&[*b"12345678", *b"shutdown"]);
                put(&mut self.wire, kind::PING, flags, 0, &bytes);
            }
            19 => {
                let bytes = [0, 0, 0, script.below(16) as u8, 0, 0, 0, script.below(16) as u8];
                put(&mut self.wire, kind::GOAWAY, 0, 0, &bytes);
            }
            20 => {
                let count = if script.below(8) == 0 { script.below(8) } else { 5 };
                let id = any(script);
                put(&mut self.wire, kind::PRIORITY, 0, id, &[1; 8][..count]);
            }
            21 => {
                let id = any(script).to_be_bytes();
                let value = script.pick(&["u=0", "u=7, i", "i", "u=9", ""]);
                put(&mut self.wire, kind::PRIORITY_UPDATE, 0, 0, &[&id, value.as_bytes()].concat());
            }
            22 => {
                let (what, flags) = (script.below(20) as u8, script.below(256) as u8);
                let id = any(script);
                let count = script.below(24);
                put(&mut self.wire, what, flags, id, script.take(count));
            }
            _ => {
                let count = script.below(16);
                self.wire.extend_from_slice(script.take(count));
            }
        }
    }

    fn head(&mut self, id: u32, script: &mut Script<'_>) {
        let mut fields = match (self.role, script.below(8)) {
            (Role::Client, _) => vec![(":status", script.pick(&["200", "200", "204", "304", "103", "404", "x"]))],
            (Role::Server, 0) => vec![(":method", "CONNECT"), (":authority", "here:1")],
            (Role::Server, 1) => vec![
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":authority", "here"),
                (":path", "/"),
            ],
            (Role::Server, _) => vec![
                (":method", script.pick(&["GET", "POST", "HEAD", "OPTIONS", "G T"])),
                (":scheme", script.pick(&["http", "https"])),
                (":authority", script.pick(&["here", "there:80", ""])),
                (":path", script.pick(&["/", "/a?b", "*", "/%20", "x"])),
            ],
        };
        for _ in 0..script.below(6) {
            fields.push(script.pick(&FIELDS));
        }
        let ends = script.below(2) == 0;
        self.block(id, ends, &fields, script);
    }

    /// A field block, in as many frames as the input says.
    fn block(&mut self, id: u32, ends: bool, fields: &[(&str, &str)], script: &mut Script<'_>) {
        let mut out = [0; 4096];
        let mut count = self.encoder.begin(&mut out[..START_BYTES_MAX]);
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let room = &mut out[count..][..field_bytes_max(name, value)];
            count += match name {
                b":authority" => self.encoder.pseudo(1, name, value, room),
                b":method" => self.encoder.fixed_name(2, value, room),
                b":path" => self.encoder.fixed_name(4, value, room),
                b":scheme" => self.encoder.fixed_name(6, value, room),
                b":status" => self.encoder.fixed_name(8, value, room),
                _ => self.encoder.field(Known::of(name), name, value, room),
            };
        }
        let block = &out[..count];
        let end_stream = if ends { flag::END_STREAM } else { 0 };
        match script.below(8) {
            0 => {
                let cut = script.below(count + 1);
                put(&mut self.wire, kind::HEADERS, end_stream, id, &block[..cut]);
                let again = script.below(4);
                (0..again).for_each(|_| put(&mut self.wire, kind::CONTINUATION, 0, id, b""));
                put(&mut self.wire, kind::CONTINUATION, flag::END_HEADERS, id, &block[cut..]);
            }
            1 => {
                let padded = [&[3, 0, 0, 0, 0, 7], block, &[0; 3]].concat();
                let flags = end_stream | flag::END_HEADERS | flag::PADDED | flag::PRIORITY;
                put(&mut self.wire, kind::HEADERS, flags, id, &padded);
            }
            _ => put(&mut self.wire, kind::HEADERS, end_stream | flag::END_HEADERS, id, block),
        }
    }

    fn data(&mut self, id: u32, window: usize, script: &mut Script<'_>) {
        let count = script.pick(&[5, 0, 1, 300, 1000, 16_000]);
        let count = if script.below(16) == 0 { count } else { count.min(window) };
        let end_stream = if script.below(3) == 0 { flag::END_STREAM } else { 0 };
        match script.below(4) {
            0 if count > 0 => {
                let padding = script.below(count.min(256));
                let mut payload = vec![b'd'; count];
                payload[0] = padding as u8;
                put(&mut self.wire, kind::DATA, end_stream | flag::PADDED, id, &payload);
            }
            _ => put(&mut self.wire, kind::DATA, end_stream, id, &[b'd'; 16_000][..count]),
        }
    }

    fn settings(&mut self, script: &mut Script<'_>) {
        let mut payload = Vec::new();
        for _ in 0..script.below(4) {
            let name = script.below(10) as u16;
            let value = match name {
                // Its own encoder holds what it pleases.
                1 => script.pick(&[4096, 0, 100, 65_536]),
                2 => 0,
                3 => script.pick(&[0, 1, 2, 100]),
                4 => script.pick(&[65_535, 0, 1, 1000, 1 << 20, 0x7fff_ffff]),
                5 => script.pick(&[16_384, 20_000, 0xff_ffff]),
                8 | 9 => script.below(2) as u32,
                _ => script.below(0x1_0000) as u32,
            };
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&u32::to_be_bytes(value));
        }
        put(&mut self.wire, kind::SETTINGS, 0, 0, &payload);
    }
}

const FIELDS: [(&str, &str); 18] = [
    ("accept", "*/*"),
    ("x", "y"),
    ("x", "z"),
    ("cookie", "a=b"),
    ("cookie", "c=d"),
    ("content-length", "5"),
    ("content-length", "0"),
    ("content-length", "300"),
    ("host", "here"),
    ("te", "trailers"),
    ("priority", "u=1, i"),
    ("expect", "100-continue"),
    ("user-agent", "0123456789012345678901234567890123456789012345678901234567890123456789"),
    ("x-large", LARGE),
    ("connection", "close"),
    ("Upper", "case"),
    ("x", " y"),
    (":late", "pseudo"),
];

const LARGE: &str = "01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789";
