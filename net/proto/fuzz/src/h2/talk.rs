//! Conversations that are in order, between our engine and the crate `h2`: both must have received what the other has sent.

use proto::h2::{Code, Limits, Role};

use super::end::{Choose, End};
use super::message::Message;
use super::theirs::Theirs;
use crate::script::Script;

/// Their client and our server.
pub fn h2_server_vs_h2(input: &[u8]) {
    let mut script = Script(input);
    let choose = &mut |bound| script.below(bound);
    let (ours, theirs) = (End::new(Role::Server, limits(choose)), Theirs::client(choose));
    Talk::new(ours, theirs).go(&mut script);
}

/// What their client says in such a conversation.
pub(crate) fn said(input: &[u8]) -> Vec<u8> {
    let mut script = Script(input);
    let choose = &mut |bound| script.below(bound);
    let (ours, theirs) = (End::new(Role::Server, limits(choose)), Theirs::client(choose));
    let mut talk = Talk::new(ours, theirs);
    let mut said = Vec::new();
    while !script.is_over() {
        theirs_step(&mut talk.theirs, &mut script);
        talk.theirs.poll();
        let bytes = talk.theirs.give();
        said.extend_from_slice(&bytes);
        talk.to_ours.extend_from_slice(&bytes);
        ours_step(&mut talk.ours, &mut script);
        talk.deliver(usize::MAX, usize::MAX);
    }
    said
}

/// Our client and their server.
pub fn h2_client_vs_h2(input: &[u8]) {
    let mut script = Script(input);
    let choose = &mut |bound| script.below(bound);
    let (ours, theirs) = (End::new(Role::Client, limits(choose)), Theirs::server(choose));
    Talk::new(ours, theirs).go(&mut script);
}

fn limits(choose: Choose<'_>) -> Limits {
    let usual = Limits { stream_window: [65_535, 1000, 1 << 20][choose(3)], ..Limits::default() };
    Limits { streams_max: [128, 1, 3][choose(3)], connection_window: [1 << 18, 0][choose(2)], ..usual }
}

struct Talk {
    ours: End,
    theirs: Theirs,
    to_ours: Vec<u8>,
    to_theirs: Vec<u8>,
}

impl Talk {
    fn new(mut ours: End, theirs: Theirs) -> Talk {
        ours.messages = Some(Default::default());
        ours.say_control();
        Talk { ours, theirs, to_ours: Vec::new(), to_theirs: Vec::new() }
    }

    fn go(mut self, script: &mut Script<'_>) {
        let drains = script.once_in(2);
        // As many as can be told apart; each is a message, or a piece of one.
        let mut steps = 200;
        while !script.is_over() && steps > 0 {
            steps -= 1;
            match script.below(2) {
                0 => ours_step(&mut self.ours, script),
                _ => theirs_step(&mut self.theirs, script),
            }
            let (some, all) = ([usize::MAX, usize::MAX, 100, 10][script.below(4)], usize::MAX);
            self.deliver(some, all);
        }
        self.settle();
        self.compare();
        self.part(drains);
    }

    /// Hands over what is on its way, at most so much each way.
    fn deliver(&mut self, ours_max: usize, theirs_max: usize) -> usize {
        self.theirs.poll();
        self.to_ours.append(&mut self.theirs.give());
        self.to_theirs.append(&mut self.ours.wire);
        let count = self.to_ours.len().min(ours_max);
        let bytes: Vec<u8> = self.to_ours.drain(..count).collect();
        let mut rest = &bytes[..];
        while self.ours.receive(std::mem::take(&mut rest)) {}
        assert!(!self.ours.is_over, "we refuse what is in order: {}", self.ours.told);
        let sent = self.to_theirs.len().min(theirs_max);
        let bytes: Vec<u8> = self.to_theirs.drain(..sent).collect();
        self.theirs.take(&bytes);
        self.theirs.poll();
        assert!(self.theirs.ended.is_none(), "they refuse what we say: {:?}", self.theirs.ended);
        count + sent
    }

    /// Lets all that was begun come to its end.
    fn settle(&mut self) {
        let mut is_open = false;
        for round in 0.. {
            assert!(round < 5000, "they do not come to an end");
            let choose = &mut |bound| (round + 3) % bound;
            // They may have closed theirs.
            is_open = is_open || self.theirs.set_windows(65_535, 1 << 20);
            let ids: Vec<u32> = self.theirs.streams.keys().copied().collect();
            for id in ids {
                self.theirs.answer(id, choose);
                self.theirs.send(id, usize::MAX);
                self.theirs.consume(id, usize::MAX);
            }
            self.ours.unanswered().into_iter().for_each(|id| self.ours.answer(id, choose));
            let ids: Vec<u32> = self.ours.exchanges.keys().copied().collect();
            ids.into_iter().for_each(|id| self.ours.consume(id, usize::MAX));
            self.ours.say_control();
            self.ours.send(100, choose);
            self.ours.release_ended();
            self.ours.say_control();
            if self.deliver(usize::MAX, usize::MAX) == 0 && is_open {
                return;
            }
        }
    }

    fn compare(&self) {
        let heard = self.ours.messages.as_ref().expect("they are noted");
        let none = Message::default();
        let lines = &self.ours.witness.streams;
        let mut ids: Vec<u32> = self.theirs.streams.keys().chain(heard.keys()).chain(lines.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let stream = self.theirs.streams.get(&id);
            assert_eq!(stream.and_then(|stream| stream.failed.as_deref()), None, "{id}: they give it up");
            let (sent, received) = stream.map_or((&none, &none), |stream| (&stream.sent, &stream.received));
            let (received, ours_received) = (&received.checked(id), &heard.get(&id).unwrap_or(&none).checked(id));
            let ours_sent = lines.get(&id).map_or(&none, |line| &line.message);
            let resets = [sent, received, ours_received, ours_sent].map(|message| message.reset);
            if resets == [None; 4] {
                assert_eq!(ours_received, sent, "{id}: what they sent");
                assert_eq!(received, ours_sent, "{id}: what we sent");
                assert!(sent.has_ended && received.has_ended, "{id}: {sent:?}, {received:?}");
                continue;
            }
            assert!(ours_received.begins(sent), "{id}: {ours_received:?} of {sent:?}");
            assert!(received.begins(ours_sent), "{id}: {received:?} of {ours_sent:?}");
            // Who was told of a reset was told why. Two may cross, or come after all is over.
            let [theirs, theirs_heard, ours_heard, ours] = resets;
            let is_known = self.theirs.streams.contains_key(&id);
            // A server refuses streams that come before its settings are known.
            let is_refused = ours_heard == Some(Code::REFUSED_STREAM.0) && !is_known;
            assert!(ours_heard.is_none() || ours_heard == theirs || is_refused, "{id}: {resets:?}");
            assert!(theirs_heard.is_none() || theirs_heard == ours, "{id}: {resets:?}");
            let is_over = ours_sent.has_ended && ours_received.has_ended;
            let is_excused = ours.is_some() || is_over || !heard.contains_key(&id);
            assert!(theirs.is_none() || ours_heard.is_some() || is_excused, "{id}: {resets:?}");
            let is_over = sent.has_ended && received.has_ended;
            let is_excused = theirs.is_some() || is_over || !is_known;
            assert!(ours.is_none() || theirs_heard.is_some() || is_excused, "{id}: {resets:?}");
        }
    }

    /// Ends the connection, and nothing is left over: the client leaves, or the server drains.
    fn part(mut self, drains: bool) {
        match (drains, self.ours.witness.role()) {
            (false, _) => self.theirs.leave(),
            (true, Role::Server) => self.ours.engine.drain(),
            (true, Role::Client) => self.theirs.drain(),
        }
        // Announced, heard, ended.
        for _ in 0..3 {
            self.ours.say_control();
            self.theirs.take(&std::mem::take(&mut self.ours.wire));
            self.theirs.poll();
            let bytes = self.theirs.give();
            let mut rest = &bytes[..];
            while self.ours.receive(std::mem::take(&mut rest)) {}
            assert!(!self.ours.is_over, "we refuse a farewell: {}", self.ours.told);
        }
        let ids: Vec<u32> = self.ours.exchanges.keys().copied().collect();
        ids.into_iter().for_each(|id| self.ours.release(id));
        self.ours.say_control();
        assert_eq!(self.ours.engine.stream_count(), 0);
        assert_eq!(self.ours.engine.is_drained(), drains && self.ours.witness.role() == Role::Server);
        self.theirs.take(&self.ours.wire);
        self.theirs.leave();
        self.theirs.end_input();
        self.theirs.poll();
        assert!(matches!(self.theirs.ended, Some(Ok(()))), "{:?}", self.theirs.ended);
    }
}

fn ours_step(end: &mut End, script: &mut Script<'_>) {
    let ids: Vec<u32> = end.exchanges.keys().copied().collect();
    let choose = &mut |bound| script.below(bound);
    let id = ids.get(choose(ids.len())).copied().unwrap_or_default();
    match choose(12) {
        0..3 => match end.witness.role() {
            Role::Server => end.answer(id, choose),
            Role::Client => end.ask(choose),
        },
        3 | 4 => end.consume(id, [usize::MAX, 1, 100, 10_000][choose(4)]),
        5 | 6 => end.say_control(),
        7..10 => end.send(8, choose),
        10 => end.release_ended(),
        _ if choose(4) == 0 => end.reset(id, Code([8, 0, 2, 7][choose(4)])),
        _ if choose(4) == 0 => end.release(id),
        _ => {}
    }
}

fn theirs_step(theirs: &mut Theirs, script: &mut Script<'_>) {
    let ids: Vec<u32> = theirs.streams.keys().copied().collect();
    let choose = &mut |bound| script.below(bound);
    // The last ones have most to do yet.
    let id = ids.iter().rev().nth(choose(ids.len().min(8))).copied().unwrap_or_default();
    match choose(12) {
        0..3 => theirs.ask(choose),
        3..5 => theirs.answer(id, choose),
        5..8 => theirs.send(id, [usize::MAX, 1, 100, 10_000][choose(4)]),
        8 => theirs.consume(id, [usize::MAX, 1, 100, 10_000][choose(4)]),
        9 => theirs.ping(),
        10 => drop(theirs.set_windows([65_535, 0, 1, 1000, 1 << 20][choose(5)], [65_535, 1 << 20][choose(2)])),
        _ if choose(4) == 0 => theirs.reset(id, [8, 0, 2, 7][choose(4)]),
        _ => {}
    }
}
