//! A mixed workload: clients of every kind at once, over all routes, on one, two or four shards and on a healthy or a hostile
//! machine, by seed.
//!
//! The oracle is short. Whatever comes is right as far as it comes. It is whole unless the client left, the server said
//! that it closes, the drain had begun, or the machine breaks connections. At the end nothing is left, which the test kit
//! sees to. And a second run of the same seed, on another thread, does the same to the byte.

#![allow(clippy::disallowed_methods, reason = "the test's own threads and clock, outside of any shard")]

use std::cell::Cell;
use std::ops::Range;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use shardwise::test::{Client, Failure, Plan, Request, builder, seeds};

use crate::cases::Case;
use crate::talk::{Outcome, Talk};
use crate::wire::pattern;
use crate::{app, malformed};

/// How the machine behaves, by seed. Where connections break, the oracle allows for that.
const PLANS: [Plan; 2] = [Plan::CHOPPY, Plan::HOSTILE];

/// Seeds of an ordinary run; `SHARDWISE_SEEDS` asks for more.
const SEEDS: u64 = 200;

/// Clients at a time.
const CLIENTS: usize = 8;

/// Connections of each, one after another.
const LIVES: usize = 3;

#[test]
fn a_mixed_workload_is_answered_right_and_leaves_nothing() {
    let (begin, seeds) = (Instant::now(), seeds(SEEDS));
    let [runs, others] =
        [run_all(&seeds), run_all(&seeds)].map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
    for (seed, (run, other)) in seeds.clone().zip(runs.iter().zip(&others)) {
        assert_eq!(run, other, "seed {seed}: the same seed gives the same run on another thread");
    }
    let answered: u64 = runs.iter().chain(&others).map(|run| run.answered).sum();
    let (time, count) = (begin.elapsed().as_secs_f64(), (runs.len() + others.len()) as f64);
    println!(
        "{count} runs, {answered} answers in {time:.1} s: {:.0} runs/s, {:.0} answers/s",
        count / time,
        answered as f64 / time
    );
    assert!(answered as f64 > count * CLIENTS as f64, "most of what is asked is answered");
}

/// What one run came to.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// Of all that happened.
    hash: u64,
    answered: u64,
}

/// Runs each seed once, on a thread of its own that has the test's name.
fn run_all(seeds: &Range<u64>) -> thread::JoinHandle<Vec<Run>> {
    let (seeds, name) = (seeds.clone(), thread::current().name().unwrap_or("main").to_owned());
    let run_all = move || seeds.map(run).collect();
    thread::Builder::new().name(name).spawn(run_all).expect("a thread")
}

fn run(seed: u64) -> Run {
    let (plan, shards) = (PLANS[(seed % 2) as usize], [1, 2, 4][(seed % 3) as usize]);
    let server = builder().seed(seed).shards(shards).plan(plan).start(|shard| app::app(&shard, None));
    let answered = server.run(async move |client| {
        let crowd = Crowd(Rc::new(Shared {
            client,
            shards,
            breaks: plan == Plan::HOSTILE,
            is_draining: Cell::new(false),
            answered: Cell::new(0),
        }));
        crowd.live().await;
        crowd.0.answered.get()
    });
    Run { hash: server.end(), answered }
}

/// All clients of a run.
#[derive(Clone)]
struct Crowd(Rc<Shared>);

struct Shared {
    client: Client,
    shards: usize,
    /// Connections break by nobody's fault.
    breaks: bool,
    is_draining: Cell<bool>,
    answered: Cell<u64>,
}

impl Crowd {
    async fn live(&self) {
        let Crowd(shared) = self;
        let tasks: Vec<_> = (0..CLIENTS).map(|_| shared.client.spawn(self.clone().lives())).collect();
        if self.random(2) == 0 {
            self.pause(80).await;
            shared.is_draining.set(true);
            shared.client.drain();
        }
        for task in tasks {
            task.await;
        }
    }

    async fn lives(self) {
        for _ in 0..LIVES {
            if self.random(8) == 0 {
                self.ask_by_the_kit().await;
                continue;
            }
            match Talk::try_open(&self.0.client).await {
                Ok(talk) => self.life(talk).await,
                Err(failure) => return self.allow_for(&failure),
            }
        }
    }

    async fn life(&self, talk: Talk) {
        match self.random(15) {
            0..4 => self.ask_politely(talk).await,
            4 => self.ask_slowly(talk).await,
            5 => self.ask_for_leave_to_send(talk).await,
            6 => self.end_early_and_listen(talk).await,
            7 => self.die_while_asking(talk).await,
            8 => self.die_while_listening(talk).await,
            9 => self.fall_silent(talk).await,
            10 => self.stop_reading(talk).await,
            11 => self.break_a_body(talk).await,
            12 => self.speak_over_a_web_socket(talk).await,
            13 => self.leave_a_web_socket(talk).await,
            _ => self.break_the_rules(talk).await,
        }
    }

    // ---- those who behave --------------------------------------------------------------------------------------------

    /// Pipelines of one to four requests, over one connection.
    async fn ask_politely(&self, mut talk: Talk) {
        for _ in 0..1 + self.random(4) {
            let mut cases: Vec<Case> = (0..1 + self.random(4)).map(|_| self.any()).collect();
            match self.random(16) {
                0 => cases.push(self.any().closing()),
                1 => cases.push(Case::old()),
                _ => {}
            }
            talk.send(joined(&cases)).await;
            if !self.expect_answers(&mut talk, &cases).await {
                return;
            }
        }
    }

    /// The same through the engine for clients, several at once.
    async fn ask_by_the_kit(&self) {
        let size = self.random(100_000) as usize;
        let requests = [
            Request::get("/plaintext"),
            Request::head("/json"),
            Request::post("/echo").body(pattern(size)),
            Request::post("/echo").pieces(pattern(size).chunks(1 + size / 7).map(<[u8]>::to_vec)),
            Request::post("/echo").header("Expect", "100-continue").body(pattern(1000)),
        ];
        for request in requests {
            let expected = match request.to_string().as_str() {
                "GET /plaintext" => b"Hello, World!".to_vec(),
                "HEAD /json" => Vec::new(),
                _ if format!("{request:?}").contains("expect") => pattern(1000),
                _ => pattern(size),
            };
            match self.0.client.try_send(request.clone()).await {
                Ok(response) if response.status() == 408 && self.may_break() => {}
                Ok(response) => {
                    assert_eq!(response.status(), 200, "{response:?}");
                    assert!(response.bytes() == expected, "{request:?} -> {} bytes", response.bytes().len());
                    self.count(1);
                }
                Err(failure) => return self.allow_for(&failure),
            }
        }
    }

    /// In pieces down to a byte, with pauses.
    async fn ask_slowly(&self, mut talk: Talk) {
        let case = self.any();
        let (head, body) = case.request.split_at(case.head_bytes());
        // Within the time for a head.
        for byte in head {
            talk.send([*byte]).await;
            self.pause(20).await;
        }
        let mut rest = body;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(1 + self.random(rest.len().min(3000) as u64) as usize);
            talk.send(piece).await;
            self.pause(300).await;
            rest = left;
        }
        self.expect_answers(&mut talk, &[case]).await;
    }

    /// Sends a body only when the server asks for it.
    async fn ask_for_leave_to_send(&self, mut talk: Talk) {
        let body = pattern(1 + self.random(5000) as usize);
        let case = if self.random(2) == 0 { Case::upload(&body) } else { Case::chunked(&self.0.client, &body) };
        let case = case.expecting();
        let (head, body) = case.request.split_at(case.head_bytes());
        talk.send(head).await;
        match talk.next(false).await {
            Ok(Some(answer)) if answer.status == 100 => {}
            _ => return assert!(self.may_break(), "not asked for the body of {case:?}"),
        }
        talk.send(body).await;
        self.expect_answers(&mut talk, &[case]).await;
    }

    /// Ends its side with the last request. What was asked is answered all the same.
    async fn end_early_and_listen(&self, mut talk: Talk) {
        let cases: Vec<Case> = (0..1 + self.random(3)).map(|_| self.any()).collect();
        talk.send(joined(&cases)).await;
        talk.end();
        if self.expect_answers(&mut talk, &cases).await {
            assert!(!talk.receive().await, "nothing follows the last answer");
            assert!(talk.ended_in_order() || self.may_break());
        }
    }

    /// Messages over `/ws`, some of them in fragments, and a close: each comes back.
    async fn speak_over_a_web_socket(&self, mut talk: Talk) {
        let (bytes, expect) = self.web_socket();
        talk.send(bytes).await;
        while talk.receive().await {}
        let told = talk.rest();
        let end = told.windows(4).position(|window| window == b"\r\n\r\n").map_or(told.len(), |at| at + 4);
        let (head, told) = told.split_at(end);
        assert!(head.starts_with(&b"HTTP/1.1 101 Switching Protocols\r\n"[..head.len().min(34)]), "{head:?}");
        // A server that drains closes in place of what was still to be said, unless the client's close was there first.
        let close = [&b"\x88\x02\x03\xe9"[..], b"\x88\x02\x03\xe8"].into_iter().find(|close| told.ends_with(close));
        let (told, was_told) = match close {
            Some(close) if self.0.is_draining.get() => (&told[..told.len() - close.len()], true),
            _ => (told, false),
        };
        assert!(expect.starts_with(told), "{} bytes are not the beginning of {}", told.len(), expect.len());
        assert!(told.len() == expect.len() || was_told || self.may_break());
        self.count(u64::from(told.len() == expect.len()));
    }

    /// A session, and the frames that come back.
    fn web_socket(&self) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = b"GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
        let mut expect = Vec::new();
        for _ in 0..self.random(20) {
            let message = pattern((self.random(20_000) >> self.random(8)) as usize);
            let cut = self.random(message.len() as u64 + 1) as usize;
            frame(&mut bytes, 0x02, 0x80, &message[..cut]);
            frame(&mut bytes, 0x80, 0x80, &message[cut..]);
            frame(&mut expect, 0x82, 0, &message);
        }
        frame(&mut bytes, 0x88, 0x80, &1000u16.to_be_bytes());
        frame(&mut expect, 0x88, 0, &1000u16.to_be_bytes());
        (bytes, expect)
    }

    // ---- those who do not --------------------------------------------------------------------------------------------

    /// Leaves in the middle of a request, with or without one before.
    async fn die_while_asking(&self, mut talk: Talk) {
        let cases = [self.any(), self.any()];
        let mut bytes = joined(&cases);
        bytes.truncate(self.random(bytes.len() as u64) as usize);
        talk.send(bytes).await;
        self.pause(3).await;
        self.leave(talk);
    }

    /// Leaves in the middle of a session.
    async fn leave_a_web_socket(&self, mut talk: Talk) {
        let (mut bytes, _) = self.web_socket();
        bytes.truncate(self.random(bytes.len() as u64) as usize);
        talk.send(bytes).await;
        self.pause(3).await;
        self.leave(talk);
    }

    /// Leaves in the middle of an answer.
    async fn die_while_listening(&self, mut talk: Talk) {
        let size = 100_000 + self.random(400_000) as usize;
        let case = match self.random(3) {
            0 => Case::get(&format!("/bytes/{size}"), 200, vec![b'x'; size]),
            1 => Case::get("/stream/30", 200, vec![b'x'; 30 * 16 * 1024]),
            _ => Case::get("/sleep/50", 204, Vec::new()),
        };
        talk.send(case.request.clone()).await;
        for _ in 0..self.random(20) {
            if !talk.receive().await {
                break;
            }
        }
        self.leave(talk);
    }

    fn leave(&self, mut talk: Talk) {
        match self.random(3) {
            0 => talk.reset(),
            1 => drop(talk),
            _ => {
                talk.end();
                drop(talk);
            }
        }
    }

    /// Stops in the middle of a request and says nothing more: it is told so, and the connection ends.
    async fn fall_silent(&self, mut talk: Talk) {
        let body = pattern(1000);
        let case = if self.random(2) == 0 { Case::upload(&body) } else { Case::chunked(&self.0.client, &body) };
        let cut = 1 + self.random(case.request.len() as u64 - 1) as usize;
        talk.send(&case.request[..cut]).await;
        let begin = self.0.client.now();
        let mut is_whole = false;
        while let Ok(Some(answer)) = talk.next(false).await {
            is_whole |= answer.status == 200;
            assert!(matches!(answer.status, 200 | 408), "{answer:?}");
        }
        assert!(!is_whole, "half a request was answered in whole: {cut} bytes of {case:?}");
        let waited = self.0.client.now() - begin;
        assert!(waited < Duration::from_secs(80) || self.may_break(), "{waited:?}");
    }

    /// Asks for much and does not read: for a while the answers wait, then the server gives up.
    async fn stop_reading(&self, mut talk: Talk) {
        let size = 150_000 + self.random(100_000) as usize;
        let cases: Vec<Case> = (0..3).map(|_| Case::get(&format!("/bytes/{size}"), 200, vec![b'x'; size])).collect();
        talk.send(joined(&cases)).await;
        let is_long = self.random(2) == 0;
        self.0.client.sleep(Duration::from_secs(if is_long { 40 } else { 15 })).await;
        let (outcome, count) = talk.answers(&cases).await;
        self.count(count as u64);
        match outcome {
            Outcome::Broken | Outcome::Late => assert!(is_long || self.may_break(), "given up after 15 s"),
            Outcome::Closed => assert!(self.may_break(), "nobody asked it to close"),
            Outcome::Whole => assert!(!is_long || self.may_break(), "the server has waited too long"),
        }
    }

    /// A body that breaks off into nonsense. The answer may have begun; it is not whole.
    async fn break_a_body(&self, mut talk: Talk) {
        talk.send("POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        self.pause(3).await;
        talk.send("not a size\r\n").await;
        let answer = talk.next(false).await;
        let is_right = answer.as_ref().map_or(true, |answer| answer.as_ref().is_none_or(|answer| answer.status == 400));
        assert!(is_right, "{answer:?}");
        while talk.receive().await {}
    }

    /// Something malformed, after good requests: these are answered, it is refused, and the connection ends.
    async fn break_the_rules(&self, mut talk: Talk) {
        let mut cases: Vec<Case> = (0..self.random(3)).map(|_| self.any()).collect();
        let (bytes, refused) = Case::malformed(self.random(malformed::TABLE.len() as u64) as usize);
        talk.send([joined(&cases), bytes].concat()).await;
        cases.push(refused);
        if !self.expect_answers(&mut talk, &cases).await {
            while talk.receive().await {}
            assert!(talk.ended_in_order() || self.may_break(), "a refusal ends the connection in order");
        }
    }

    // ---- the oracle --------------------------------------------------------------------------------------------------

    /// The answers to requests, whole and right unless there is an excuse. True if the connection goes on.
    async fn expect_answers(&self, talk: &mut Talk, cases: &[Case]) -> bool {
        let (outcome, count) = talk.answers(cases).await;
        self.count(count as u64);
        let is_whole = count == cases.len() && matches!(outcome, Outcome::Whole | Outcome::Closed);
        assert!(is_whole || self.may_break(), "{outcome:?} after {count} answers to {cases:?}");
        outcome == Outcome::Whole
    }

    /// A connection may fail to come about, or break.
    fn allow_for(&self, failure: &Failure) {
        assert!(self.may_break() && !matches!(failure, Failure::Malformed(_)), "{failure}");
    }

    fn may_break(&self) -> bool {
        self.0.is_draining.get() || self.0.breaks
    }

    fn count(&self, answers: u64) {
        self.0.answered.set(self.0.answered.get() + answers);
    }

    // ---- chance ------------------------------------------------------------------------------------------------------

    fn any(&self) -> Case {
        Case::any(&self.0.client, self.0.shards)
    }

    fn random(&self, bound: u64) -> u64 {
        self.0.client.shard().random() % bound.max(1)
    }

    /// Up to so many milliseconds.
    async fn pause(&self, milliseconds: u64) {
        let time = Duration::from_millis(self.random(milliseconds + 1));
        if !time.is_zero() {
            self.0.client.sleep(time).await;
        }
    }
}

/// Adds a frame of a WebSocket; `mask` is the bit that says so, and the mask is of zeros.
fn frame(bytes: &mut Vec<u8>, first: u8, mask: u8, payload: &[u8]) {
    bytes.push(first);
    match payload.len() {
        count @ 0..126 => bytes.push(mask | count as u8),
        count => {
            bytes.push(mask | 126);
            bytes.extend((count as u16).to_be_bytes());
        }
    }
    bytes.extend(if mask == 0 { &[][..] } else { &[0; 4] });
    bytes.extend_from_slice(payload);
}

fn joined(cases: &[Case]) -> Vec<u8> {
    cases.iter().flat_map(|case| case.request.iter().copied()).collect()
}
