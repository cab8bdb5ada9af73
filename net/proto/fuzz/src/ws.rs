//! WebSocket's engine in both roles, with and without compression, however its input is cut.

use std::cell::RefCell;
use std::fmt::Write;

use proto::ws::{
    Agreed, Assembly, CONTROL_FRAME_BYTES_MAX, Contexts, Engine, Event, Kind, Limits, Role, Step, Terms, Wait,
};

use crate::cut::Cut;

/// No panic, one course whatever the cuts, text that is text, messages within their bound, nothing read after an error. The
/// first byte says what the engine is.
pub fn ws(input: &[u8]) {
    let Some((&manner, input)) = input.split_first() else { return };
    let [whole, others @ ..] = Cut::all(input);
    let expect = course(manner, input, whole);
    for cut in others {
        assert_eq!(course(manner, input, cut), expect, "{cut:?}");
    }
}

thread_local! {
    /// A shard's, and so shared by all that comes: nothing of one connection may show in another.
    static CONTEXTS: RefCell<Contexts> = RefCell::new(Contexts::new());
}

fn course(manner: u8, input: &[u8], cut: Cut) -> String {
    let role = if manner & 1 == 0 { Role::Server } else { Role::Client };
    let terms = Terms { takeover: manner & 2 != 0, window_bits: if manner & 4 == 0 { 15 } else { 9 } };
    let agreed = (manner & 8 != 0).then_some(Agreed { sending: terms, receiving: terms });
    CONTEXTS.with_borrow_mut(|contexts| run(Engine::new(role, agreed), contexts, input, cut))
}

/// All that happened, in words.
fn run(mut engine: Engine, contexts: &mut Contexts, input: &[u8], mut cut: Cut) -> String {
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() };
    let mut assembly = Assembly::new(MESSAGE_BYTES_MAX as usize);
    let (mut told, mut held, mut at, mut sent) = (String::new(), Vec::new(), 0, 0);
    loop {
        let step = match engine.receive(&mut held[at..], contexts, &limits) {
            Ok(step) => step,
            Err(error) => {
                let _ = write!(told, "{error:?} ");
                answer(&mut told, &mut engine);
                assert_eq!(engine.wait(), Wait::HangUp);
                let after = engine.receive(&mut [0x81, 0], contexts, &limits);
                assert_eq!(after, Ok(Step { consumed: 2, event: Event::Closed }), "nothing is read after an error");
                return told;
            }
        };
        assert!(step.consumed <= held.len() - at);
        match step.event {
            Event::NeedMore => {
                assert_eq!(step.consumed, held.len() - at);
                if sent == input.len() {
                    let _ = write!(told, "{:?}", engine.end_of_input());
                    return told;
                }
                let count = cut.next(input.len() - sent);
                held.clear();
                held.extend_from_slice(&input[sent..sent + count]);
                (at, sent) = (0, sent + count);
                continue;
            }
            Event::Data(piece) => {
                assert!(!piece.range.is_empty() || piece.is_final);
                let bytes = engine.bytes(&piece, &held[at..]);
                if let Some(message) = assembly.push(&piece, bytes).expect("the engine bounds it") {
                    assert_eq!(message.text().is_some(), message.kind == Kind::Text);
                    let _ = write!(told, "{:?} {} ", message.kind, message.bytes.escape_ascii());
                }
            }
            Event::Ping | Event::Pong => {
                let _ = write!(told, "{:?} {} ", step.event, engine.control().escape_ascii());
            }
            Event::Close(code) => {
                let _ = write!(told, "close {code:?} {} ", engine.reason());
            }
            Event::Closed => return told + "closed",
        }
        at += step.consumed;
        answer(&mut told, &mut engine);
    }
}

/// What the engine says by itself: pongs and closes.
fn answer(told: &mut String, engine: &mut Engine) {
    while engine.wants_transmit() {
        engine.set_key([1, 2, 3, 4]);
        let mut out = [0; CONTROL_FRAME_BYTES_MAX];
        let count = engine.transmit(&mut out).expect("a control frame has room");
        assert!([0x8a, 0x88].contains(&out[0]) && usize::from(out[1] & 0x7f) <= count - 2);
        let _ = write!(told, ">{} ", out[..count].escape_ascii());
    }
}

/// So that what is inflated ends.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024;
