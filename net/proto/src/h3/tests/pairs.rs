//! A client and a server against each other, at random: what one sends the other receives, whatever the cuts, and whichever
//! stream comes first.

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

/// What one end has written on a stream, and whether it has finished it.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    ends: bool,
}

struct Talker {
    end: End,
    wires: BTreeMap<u64, Wire>,
    sending: BTreeMap<u64, (Message, usize)>,
    received: BTreeMap<u64, Message>,
    has_waited: bool,
}

fn message(random: &mut Random) -> Message {
    let fields = |random: &mut Random| -> Vec<_> {
        (0..random.below(6))
            .map(|_| (format!("x-{}", random.below(9)), format!("v{}", random.below(50)).repeat(1 + random.below(30))))
            .collect()
    };
    let length = [0, 1, 100, 16_384, 70_000][random.below(5)];
    let body = (0..length).map(|_| random.below(256) as u8).collect();
    let trailers = (random.below(4) == 0).then(|| fields(random));
    Message { fields: fields(random), body, trailers, ended: true }
}

fn owned(fields: &Fields, block: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = fields.iter(block).map(|(name, value)| (text(name), text(value)));
    pairs.filter(|(name, _)| name.starts_with("x-")).collect()
}

fn body_length(message: &Message) -> BodyLength {
    match message.body.len() {
        0 if message.trailers.is_none() => BodyLength::None,
        length if length % 3 == 1 => BodyLength::Known(length as u64),
        _ => BodyLength::Unknown,
    }
}

impl Talker {
    fn new(role: Role) -> Talker {
        let end = End::new(role, Limits::default());
        let (wires, sending, received) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Talker { end, wires, sending, received, has_waited: false }
    }

    /// Hands over what has come on a stream; which heads were in it.
    fn receive(&mut self, id: u64, bytes: &[u8], is_end: bool) -> Vec<Key> {
        let (mut heads, mut at) = (Vec::new(), 0);
        let Talker { end, received, has_waited, .. } = self;
        let (mut input, mut ends) = end.waiting.remove(&id).unwrap_or_default();
        input.extend_from_slice(bytes);
        ends |= is_end;
        loop {
            let End { engine, scratch, table, now, limits, .. } = &mut *end;
            let step = engine.receive(id, &input[at..], ends, scratch, table, *now, limits).unwrap();
            let block = scratch.block();
            match &step.event {
                Event::NeedMore => return heads,
                Event::Head { key, head } => {
                    let message = received.entry(id).or_default();
                    message.fields = owned(table.fields(), block);
                    message.ended = head.end;
                    heads.push(*key);
                }
                Event::Data { range, end, .. } => {
                    let message = received.get_mut(&id).unwrap();
                    message.body.extend_from_slice(&input[at + range.start..at + range.end]);
                    message.ended = *end;
                }
                Event::Trailers { .. } => {
                    let message = received.get_mut(&id).unwrap();
                    message.trailers = Some(owned(table.trailers(), block));
                    message.ended = true;
                }
                Event::Ended { .. } => received.get_mut(&id).unwrap().ended = true,
                Event::Blocked { .. } => {
                    *has_waited = true;
                    end.waiting.insert(id, (input[at + step.consumed..].to_vec(), ends));
                    return heads;
                }
                other => panic!("{other:?}"),
            }
            at += step.consumed;
        }
    }

    /// Writes and says a little of what there is.
    fn work(&mut self, random: &mut Random) {
        let bit = u64::from(self.end.engine.role == Role::Server);
        for (own, id) in [(Own::Control, 2), (Own::Encoder, 6), (Own::Decoder, 10)] {
            if random.below(3) == 0 {
                let said = self.end.bytes_said(own);
                self.wires.entry(id | bit).or_default().bytes.extend(said);
            }
        }
        let ids: Vec<u64> = self.sending.keys().copied().collect();
        for id in ids {
            if random.below(3) > 0 {
                continue;
            }
            let key = self.end.key(id);
            let (message, sent) = self.sending.get_mut(&id).unwrap();
            let count = (message.body.len() - *sent).min(random.below(30_000));
            let is_last = *sent + count == message.body.len() && message.trailers.is_none();
            let (wire, mut out) = (self.wires.entry(id).or_default(), [0; 8192]);
            let head = self.end.engine.data(key, count, is_last, &mut out).unwrap();
            wire.bytes.extend_from_slice(&out[..head]);
            wire.bytes.extend_from_slice(&message.body[*sent..*sent + count]);
            *sent += count;
            if let Some(trailers) = message.trailers.as_ref().filter(|_| *sent == message.body.len()) {
                let fields = trailers.iter().map(|(name, value)| (name, value));
                let count = self.end.engine.trailers(key, fields, &mut out).unwrap();
                wire.bytes.extend_from_slice(&out[..count]);
            }
            if !self.end.engine.can_send(key) {
                wire.ends = true;
                self.sending.remove(&id);
            }
        }
    }

    fn begin(&mut self, key: Key, message: Message, head: &[u8]) {
        let wire = self.wires.entry(key.id()).or_default();
        wire.bytes.extend_from_slice(head);
        match self.end.engine.can_send(key) {
            true => drop(self.sending.insert(key.id(), (message, 0))),
            false => wire.ends = true,
        }
    }

    /// A piece of any of the streams.
    fn piece(&mut self, random: &mut Random) -> Option<(u64, Vec<u8>, bool)> {
        let place = random.below(self.wires.len().max(1));
        let (&id, wire) = self.wires.iter_mut().nth(place)?;
        let most = [5, 100, 40_000][random.below(3)];
        let cut = random.below(1 + wire.bytes.len().min(most));
        let bytes: Vec<u8> = wire.bytes.drain(..cut).collect();
        let ends = wire.ends && wire.bytes.is_empty() && random.below(2) == 0;
        if ends {
            self.wires.remove(&id);
        }
        Some((id, bytes, ends))
    }

    /// Gives a stream up, as whoever has no more use for it.
    fn forget(&mut self, id: u64) {
        self.wires.remove(&id);
        self.sending.remove(&id);
        self.received.remove(&id);
        self.end.waiting.remove(&id);
        if let Some(key) = self.end.engine.streams.find(id) {
            let _ = self.end.engine.release(key);
        }
    }
}

/// Gives what an engine of the other end wrote to this one, and whatever waited for it.
fn deliver(from: &mut Talker, to: &mut Talker, random: &mut Random) -> Vec<Key> {
    let Some((id, bytes, ends)) = from.piece(random) else { return Vec::new() };
    let mut heads = to.receive(id, &bytes, ends);
    while let Some(id) = to.end.engine.unblocked() {
        heads.extend(to.receive(id, &[], false));
    }
    heads
}

/// Whether anyone had to wait for the table, and whether it was used.
fn talk(seed: u64) -> (bool, bool) {
    let mut random = Random(seed);
    let (mut client, mut server) = (Talker::new(Role::Client), Talker::new(Role::Server));
    let (mut asked, mut answered) = (BTreeMap::new(), BTreeMap::new());
    let mut out = vec![0; 8192];
    let (most, mut next, mut cancelled) = (1 + random.below(30), 0, 0);
    for round in 0.. {
        assert!(round < 200_000, "seed {seed}: they do not come to an end");
        if asked.len() + cancelled < most && random.below(3) == 0 {
            let message = message(&mut random);
            let limits = client.end.limits.clone();
            let fields = message.fields.iter().map(|(name, value)| (name, value));
            let (key, count) = client
                .end
                .engine
                .request(next, asks(&Method::PUT, b"/a?b"), fields, body_length(&message), &limits, &mut out)
                .unwrap();
            next += 4;
            asked.insert(key.id(), message.clone());
            client.begin(key, message, &out[..count]);
        }
        for key in deliver(&mut client, &mut server, &mut random) {
            let message = message(&mut random);
            let fields = message.fields.iter().map(|(name, value)| (name, value));
            let (body, ok) = (body_length(&message), StatusCode::OK);
            let (engine, standing) = (&mut server.end.engine, Standing::default());
            let count = engine.respond(key, ok, fields, standing, body, &mut Vec::new(), &mut out).unwrap();
            answered.insert(key.id(), message.clone());
            server.begin(key, message, &out[..count]);
        }
        deliver(&mut server, &mut client, &mut random);
        client.work(&mut random);
        server.work(&mut random);
        // Now and then one is given up while it is under way.
        if random.below(40) == 0
            && let Some((&id, _)) = asked.iter().nth(random.below(asked.len().max(1)))
        {
            client.forget(id);
            let (now, limits) = (server.end.now, server.end.limits.clone());
            for event in [
                server.end.engine.peer_reset(id, Code::REQUEST_CANCELLED, now, &limits),
                server.end.engine.peer_stopped(id, Code::REQUEST_CANCELLED, now, &limits),
            ] {
                assert!(matches!(event, Ok(None | Some(Event::Reset { .. }))), "seed {seed}: {event:?}");
            }
            server.forget(id);
            asked.remove(&id);
            answered.remove(&id);
            cancelled += 1;
        }
        let all_ended = |talker: &Talker, all: &BTreeMap<u64, Message>| {
            talker.received.len() == all.len() && talker.received.values().all(|message| message.ended)
        };
        if asked.len() + cancelled == most
            && asked.len() == answered.len()
            && all_ended(&client, &answered)
            && all_ended(&server, &asked)
        {
            break;
        }
    }
    assert_eq!(server.received, asked, "seed {seed}");
    assert_eq!(client.received, answered, "seed {seed}");
    for talker in [&mut client, &mut server] {
        for id in asked.keys() {
            let rest = talker.end.engine.release(talker.end.key(*id));
            assert_eq!(rest.reset, None, "seed {seed}: all had ended");
        }
        assert_eq!((talker.end.engine.stream_count(), talker.end.engine.held_bytes), (0, 0), "seed {seed}");
        assert_eq!(talker.end.engine.failure(), None, "seed {seed}");
    }
    (client.has_waited || server.has_waited, server.wires.contains_key(&7) || client.wires.contains_key(&6))
}

#[test]
fn whatever_is_sent_is_received() {
    let (mut waited, mut used) = (0, 0);
    for seed in 1..=150 {
        let (has_waited, has_used) = talk(seed);
        waited += u32::from(has_waited);
        used += u32::from(has_used);
    }
    assert!(waited > 10 && used > 100, "the tables had a part in {used}, and someone waited in {waited}");
}
