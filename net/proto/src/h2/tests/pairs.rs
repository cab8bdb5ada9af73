//! A client and a server against each other, at random: what one sends the other receives, whatever the cuts, the sizes of
//! what is written at once, and the order in which streams get their turn.

use std::collections::BTreeMap;

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// What one end sends on a stream, or has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Option<Vec<(String, String)>>,
    ended: bool,
}

struct Outgoing {
    message: Message,
    sent: usize,
}

struct Talker {
    end: End,
    wire: Vec<u8>,
    sending: BTreeMap<u32, Outgoing>,
    received: BTreeMap<u32, Message>,
    unread: Vec<(Key, usize)>,
}

fn message(random: &mut Random) -> Message {
    let word = |random: &mut Random| format!("v{}", random.below(50));
    let fields = |random: &mut Random| -> Vec<_> {
        (0..random.below(6))
            .map(|_| (format!("x-{}", random.below(9)), word(random).repeat(1 + random.below(30))))
            .collect()
    };
    let length = [0, 1, 100, 16_384, 70_000, 200_000][random.below(6)];
    let body = (0..length).map(|_| random.below(256) as u8).collect();
    let trailers = (random.below(4) == 0).then(|| fields(random));
    Message { fields: fields(random), body, trailers, ended: true }
}

fn owned(fields: &crate::head::Fields, block: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    fields
        .iter(block)
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name.starts_with("x-"))
        .collect()
}

impl Talker {
    fn new(role: Role) -> Talker {
        let end = End::new(role, Limits::default());
        Talker { end, wire: Vec::new(), sending: BTreeMap::new(), received: BTreeMap::new(), unread: Vec::new() }
    }

    /// Hands bytes over, and takes what they say.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut heads = Vec::new();
        let Talker { end, received, unread, .. } = self;
        end.input.extend_from_slice(bytes);
        loop {
            let step = end.engine.receive(&end.input, &mut end.scratch, &mut end.table, end.now, &end.limits).unwrap();
            let block = end.scratch.block();
            match &step.event {
                Event::NeedMore => {}
                Event::Head { key, head } => {
                    let message = received.entry(key.id()).or_default();
                    message.fields = owned(end.table.fields(), block);
                    message.ended = head.end;
                    heads.push(*key);
                }
                Event::Data { key, range, end: is_end } => {
                    let message = received.get_mut(&key.id()).unwrap();
                    message.body.extend_from_slice(&end.input[range.clone()]);
                    message.ended = *is_end;
                    unread.push((*key, range.len()));
                }
                Event::Trailers { key } => {
                    let message = received.get_mut(&key.id()).unwrap();
                    message.trailers = Some(owned(end.table.trailers(), block));
                    message.ended = true;
                }
                other => panic!("{other:?}"),
            }
            end.input.drain(..step.consumed);
            if step.event == Event::NeedMore {
                return heads;
            }
        }
    }

    /// Reads, writes and says a little of what there is.
    fn work(&mut self, random: &mut Random) {
        let limits = self.end.limits.clone();
        while random.below(3) > 0 && !self.unread.is_empty() {
            let (key, count) = self.unread.swap_remove(random.below(self.unread.len()));
            self.end.engine.consume(key, count, &limits);
        }
        let mut out = vec![0; CONTROL_BYTES_MIN + random.below(400)];
        if self.end.engine.has_control() {
            let count = self.end.engine.control(&limits, &mut out);
            self.wire.extend_from_slice(&out[..count]);
        }
        for _ in 0..random.below(6) {
            let Some(key) = self.end.engine.pick() else { return };
            let Outgoing { message, sent } = self.sending.get_mut(&key.id()).unwrap();
            let available = (message.body.len() - *sent).min(1 + random.below(30_000));
            let is_last = *sent + available == message.body.len();
            let data = self.end.engine.data(key, available, is_last && message.trailers.is_none(), &mut out).unwrap();
            self.wire.extend_from_slice(&out[..data.head]);
            self.wire.extend_from_slice(&message.body[*sent..*sent + data.count]);
            *sent += data.count;
            if data.end {
                continue;
            }
            match &message.trailers {
                Some(trailers) if *sent == message.body.len() => {
                    let mut out = [0; 8192];
                    let fields = trailers.iter().map(|(name, value)| (name, value));
                    let count = self.end.engine.trailers(key, fields, &mut out).unwrap();
                    self.wire.extend_from_slice(&out[..count]);
                }
                _ => self.end.engine.offer(key),
            }
        }
    }

    fn begin(&mut self, key: Key, message: Message) {
        self.sending.insert(key.id(), Outgoing { message, sent: 0 });
        self.end.engine.offer(key);
    }
}

fn length(message: &Message) -> BodyLength {
    match message.body.len() {
        0 if message.trailers.is_none() => BodyLength::None,
        length if length % 3 == 1 => BodyLength::Known(length as u64),
        _ => BodyLength::Unknown,
    }
}

fn talk(seed: u64) {
    let mut random = Random(seed);
    let (mut client, mut server) = (Talker::new(Role::Client), Talker::new(Role::Server));
    let (mut asked, mut answered) = (BTreeMap::new(), BTreeMap::new());
    let mut out = vec![0; 8192];
    let most = 1 + random.below(30);
    for round in 0.. {
        assert!(round < 200_000, "seed {seed}: they do not come to an end");
        if asked.len() < most && random.below(3) == 0 && client.end.engine.can_open(&client.end.limits) {
            let message = message(&mut random);
            let (limits, engine) = (client.end.limits.clone(), &mut client.end.engine);
            let fields = message.fields.iter().map(|(name, value)| (name, value));
            let body = length(&message);
            let (key, count) = engine
                .request(Pseudo { is_secure: true, ..asks(&Method::PUT, b"/a?b") }, fields, body, &limits, &mut out)
                .unwrap();
            // Nothing may come before the preface.
            if engine.has_control() {
                let mut hello = vec![0; 1024];
                let said = engine.control(&limits, &mut hello);
                client.wire.extend_from_slice(&hello[..said]);
            }
            client.wire.extend_from_slice(&out[..count]);
            asked.insert(key.id(), message.clone());
            if body != BodyLength::None {
                client.begin(key, message);
            }
        }
        let cut = random.below(1 + client.wire.len().min(40_000));
        let bytes: Vec<u8> = client.wire.drain(..cut).collect();
        for key in server.receive(&bytes) {
            let message = message(&mut random);
            let fields = message.fields.iter().map(|(name, value)| (name, value));
            let body = length(&message);
            let count =
                server.end.engine.respond(key, StatusCode::OK, fields, Standing::default(), body, &mut out).unwrap();
            server.wire.extend_from_slice(&out[..count]);
            answered.insert(key.id(), message.clone());
            if body != BodyLength::None {
                server.begin(key, message);
            }
        }
        let cut = random.below(1 + server.wire.len().min(40_000));
        let bytes: Vec<u8> = server.wire.drain(..cut).collect();
        client.receive(&bytes);
        client.work(&mut random);
        server.work(&mut random);
        let all_ended =
            |talker: &Talker| talker.received.len() == most && talker.received.values().all(|message| message.ended);
        if asked.len() == most && all_ended(&client) && all_ended(&server) {
            break;
        }
    }
    assert_eq!(server.received, asked, "seed {seed}");
    assert_eq!(client.received, answered, "seed {seed}");
    for talker in [&mut client, &mut server] {
        let limits = talker.end.limits.clone();
        let ids: Vec<u32> = talker.received.keys().copied().collect();
        for id in ids {
            talker.end.engine.release(talker.end.key(id), &limits);
        }
        assert_eq!((talker.end.engine.stream_count(), talker.end.engine.buffered), (0, 0), "seed {seed}");
        assert!(talker.end.engine.pending.resets.is_empty(), "seed {seed}: all had ended");
    }
}

#[test]
fn whatever_is_sent_is_received() {
    for seed in 1..=150 {
        talk(seed);
    }
}
