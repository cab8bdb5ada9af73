//! A client and a server of this engine that say things to each other at random, over a wire that cuts as it likes.
//!
//! What one sends the other must see: every message and control frame, in order, whatever the fragments, the reads, the
//! room there is to write in, and the compression. At the end one closes, or both do.

use std::collections::VecDeque;

use super::*;

/// An end of the connection, and what it has on its way.
struct End {
    engine: Engine,
    assembly: Assembly,
    /// Written, and not yet received by the other.
    wire: VecDeque<u8>,
    /// Of a message: its kind, whether it is compressed, what is still to be sent, and what it is in words.
    sending: Option<(Kind, bool, Vec<u8>, String)>,
    /// What was said, messages when they ended, and what was heard.
    said: Vec<String>,
    heard: Vec<String>,
}

impl End {
    fn new(role: Role, agreed: Option<Agreed>) -> End {
        let (engine, assembly) = (Engine::new(role, agreed), Assembly::new(1 << 20));
        End { engine, assembly, wire: VecDeque::new(), sending: None, said: Vec::new(), heard: Vec::new() }
    }

    /// Writes with whatever room there is, and more if that is too little.
    fn write(
        &mut self,
        random: &mut Random,
        mut write: impl FnMut(&mut Engine, &mut [u8]) -> Result<usize, WriteError>,
    ) {
        let mut room = random.below(300);
        loop {
            self.engine.set_key((random.next() as u32).to_le_bytes());
            let mut out = vec![0; room];
            match write(&mut self.engine, &mut out) {
                Err(WriteError::Full) => room = 2 * room + 8,
                result => {
                    self.wire.extend(&out[..result.unwrap()]);
                    return;
                }
            }
        }
    }

    /// Says something, if a close has not been said.
    fn speak(&mut self, random: &mut Random, contexts: &mut Contexts) {
        if self.engine.wait() == Wait::Close || matches!(self.engine.wait(), Wait::HangUp | Wait::End) {
            return;
        }
        match random.below(8) {
            0 => {
                let payload: Vec<u8> = (0..random.below(126)).map(|_| random.next() as u8).collect();
                self.said.push(format!("pong {}", shown(&payload)));
                self.write(random, |engine, out| engine.pong(&payload, out));
            }
            1 => {
                let payload: Vec<u8> = (0..random.below(126)).map(|_| random.next() as u8).collect();
                self.said.push(format!("ping {}", shown(&payload)));
                self.write(random, |engine, out| engine.ping(&payload, out));
            }
            2 => {
                while self.engine.wants_transmit() {
                    self.write(random, |engine, out| engine.transmit(out));
                }
            }
            _ => self.speak_of_message(random, contexts),
        }
    }

    fn speak_of_message(&mut self, random: &mut Random, contexts: &mut Contexts) {
        let (kind, is_compressed, mut left, words) = match self.sending.take() {
            Some(sending) => sending,
            None => {
                let kind = if random.below(2) == 0 { Kind::Text } else { Kind::Binary };
                let count = [0, 5, 124, 130, 1_000, 70_000][random.below(6)];
                let text: String =
                    (0..random.below(count + 1)).map(|_| ['a', 'b', 'ü', '€', '😀'][random.below(5)]).collect();
                let words = format!("{kind:?} {}", shown(text.as_bytes()));
                let text = text.into_bytes();
                if random.below(3) == 0 {
                    self.write(random, |engine, out| engine.message(kind, &text, out));
                    self.said.push(words);
                    return;
                }
                (kind, self.engine.agreed.is_some() && random.below(2) == 0, text, words)
            }
        };
        let count = random.below(left.len() + 1);
        let is_last = count == left.len();
        if is_compressed {
            let room = 64 + random.below(5_000);
            self.engine.set_key((random.next() as u32).to_le_bytes());
            let mut out = vec![0; room];
            let compressed = self.engine.compress(kind, &left[..count], is_last, contexts, &mut out).unwrap();
            self.wire.extend(&out[..compressed.written]);
            left.drain(..compressed.taken);
            if compressed.is_end {
                self.said.push(words);
            } else {
                self.sending = Some((kind, true, left, words));
            }
            return;
        }
        let mut part: Vec<u8> = left.drain(..count).collect();
        self.write(random, |engine, out| {
            let frame = engine.fragment(kind, part.len(), is_last, out)?;
            if let Some(mut mask) = frame.mask {
                mask.apply(&mut part);
            }
            Ok(frame.head)
        });
        self.wire.extend(&part);
        if is_last {
            self.said.push(words);
        } else {
            self.sending = Some((kind, false, left, words));
        }
    }

    /// Hears some of what the other has on the wire.
    fn hear(&mut self, other: &mut End, random: &mut Random, contexts: &mut Contexts, limits: &Limits) {
        let most = if random.below(2) == 0 { 10 } else { 10_000 };
        let count = random.below(other.wire.len().min(most) + 1);
        let mut read: Vec<u8> = other.wire.drain(..count).collect();
        let mut at = 0;
        loop {
            let input = &mut read[at..];
            let step = self.engine.receive(input, contexts, limits).unwrap();
            match step.event {
                Event::NeedMore | Event::Closed => return,
                Event::Data(piece) => {
                    let bytes = self.engine.bytes(&piece, input);
                    if let Some(message) = self.assembly.push(&piece, bytes).unwrap() {
                        self.heard.push(format!("{:?} {}", message.kind, shown(message.bytes)));
                    }
                }
                Event::Ping => self.heard.push(format!("ping {}", shown(self.engine.control()))),
                // Those that answer pings come when they like.
                Event::Pong => self.heard.push(format!("pong {}", shown(self.engine.control()))),
                Event::Close(code) => self.heard.push(format!("close {code:?} {}", self.engine.reason())),
            }
            at += step.consumed;
        }
    }
}

#[test]
fn what_one_says_the_other_hears() {
    for seed in 1..=100 {
        // Shown if it fails.
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut terms = || Terms { takeover: random.below(2) == 0, window_bits: 8 + random.below(8) as u8 };
        let agreed = Agreed { sending: terms(), receiving: terms() };
        let agreed = (random.below(3) > 0).then_some(agreed);
        let theirs = agreed.map(|Agreed { sending, receiving }| Agreed { sending: receiving, receiving: sending });
        let (mut server, mut client) = (End::new(Role::Server, agreed), End::new(Role::Client, theirs));
        let (mut contexts, limits) = (Contexts::new(), Limits::default());
        for _ in 0..80 {
            server.speak(&mut random, &mut contexts);
            client.speak(&mut random, &mut contexts);
            server.hear(&mut client, &mut random, &mut contexts, &limits);
            client.hear(&mut server, &mut random, &mut contexts, &limits);
        }
        // One closes, or both do; what is answered is a close, and nothing is lost before it.
        let who = random.below(3);
        for (index, end) in [&mut server, &mut client].into_iter().enumerate() {
            if who == index || who == 2 {
                // A message that is cut off by a close is not heard.
                end.sending = None;
                end.said.push(format!("close {:?} done", Some(CloseCode::NORMAL)));
                end.write(&mut random, |engine, out| engine.close(CloseCode::NORMAL, "done", out));
            }
        }
        for _ in 0..10_000 {
            server.hear(&mut client, &mut random, &mut contexts, &limits);
            client.hear(&mut server, &mut random, &mut contexts, &limits);
            for end in [&mut server, &mut client] {
                // The one that did not close first ends its message, and then answers.
                if end.sending.is_some() {
                    end.speak_of_message(&mut random, &mut contexts);
                } else if end.engine.wants_transmit() {
                    end.write(&mut random, |engine, out| engine.transmit(out));
                }
            }
            if server.engine.wait() == Wait::HangUp && client.engine.wait() == Wait::End {
                break;
            }
        }
        assert_eq!((server.engine.wait(), client.engine.wait()), (Wait::HangUp, Wait::End), "seed {seed}");
        compare(&client, &server, seed);
        compare(&server, &client, seed);
    }
}

/// All that was said was heard, in order; what was heard besides are answers: pongs, and a close without words.
#[track_caller]
fn compare(one: &End, other: &End, seed: u64) {
    let mut heard = other.heard.iter();
    for said in &one.said {
        let found = heard.by_ref().find(|heard| *heard == said || !is_answer(heard));
        assert_eq!(found, Some(said), "seed {seed}");
    }
    assert!(heard.all(|heard| is_answer(heard)), "seed {seed}");
}

fn is_answer(heard: &str) -> bool {
    heard.starts_with("pong") || heard.starts_with("close") && !heard.ends_with("done")
}
