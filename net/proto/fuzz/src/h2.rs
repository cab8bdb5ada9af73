//! HTTP/2's engine in both roles: what it takes, and what it says, whatever its peer sends.

mod bytes;
mod end;
mod frame;
mod frames;
mod message;
mod talk;
mod theirs;
mod witness;

use proto::h2::{Limits, Role};

pub use self::bytes::h2_bytes_vs_h2;
use self::end::End;
pub use self::frames::h2_frames;
pub(crate) use self::frames::sent;
pub(crate) use self::talk::said;
pub use self::talk::{h2_client_vs_h2, h2_server_vs_h2};
use crate::cut::{Cut, Random};

/// A server is sent any bytes: no panic, one verdict and one answer whatever the cuts, and nothing said that may not be.
pub fn h2_server(input: &[u8]) {
    check(Role::Server, input);
}

/// The same of a client, which has asked for a few things.
pub fn h2_client(input: &[u8]) {
    check(Role::Client, input);
}

/// The first bytes say what the owner is like.
fn check(role: Role, input: &[u8]) {
    let (manner, input) = input.split_at(input.len().min(2));
    let manner = manner.iter().fold(0, |manner, &byte| manner << 8 | u64::from(byte));
    let [whole, others @ ..] = Cut::all(input);
    let expect = course(role, manner, input, whole);
    for cut in others {
        let course = course(role, manner, input, cut);
        assert_eq!(course.0, expect.0, "{cut:?}");
        assert!(course.1 == expect.1, "{cut:?}: {}, and {}", course.1.escape_ascii(), expect.1.escape_ascii());
    }
}

/// What was told and said. The owner acts when something has happened that is the same whatever the cuts: not at pieces of
/// data.
fn course(role: Role, manner: u64, input: &[u8], mut cut: Cut) -> (String, Vec<u8>) {
    let mut random = Random(manner);
    let choose = &mut |bound| random.below(bound);
    let mut end = End::new(role, limits(choose));
    end.say_control();
    if role == Role::Client {
        for _ in 0..4 {
            end.ask(choose);
        }
        end.send(100, choose);
    }
    let mut sent = 0;
    while sent < input.len() && !end.is_over {
        let count = cut.next(input.len() - sent);
        let mut bytes = &input[sent..sent + count];
        sent += count;
        let mut told = end.told.len();
        while end.receive(std::mem::take(&mut bytes)) {
            if end.told.len() > told {
                act(&mut end, choose);
                told = end.told.len();
            }
        }
    }
    if !end.is_over {
        act(&mut end, choose);
    }
    end.say_control();
    (end.told, end.wire)
}

/// Answers, reads and sends all that there is, mostly.
fn act(end: &mut End, choose: end::Choose<'_>) {
    for id in end.unanswered() {
        if choose(16) < 15 {
            end.answer(id, choose);
        }
    }
    let ids: Vec<u32> = end.exchanges.keys().copied().collect();
    for id in ids {
        if choose(8) < 7 {
            end.consume(id, usize::MAX);
        }
    }
    end.say_control();
    end.send(100, choose);
    end.release_ended();
    end.say_control();
}

/// Limits that are soon reached, or the usual ones.
fn limits(choose: end::Choose<'_>) -> Limits {
    let usual = Limits { connects: choose(2) == 1, ..Limits::default() };
    match choose(2) {
        0 => usual,
        _ => Limits {
            streams_max: 3,
            head_bytes_max: 400,
            stream_window: 1000,
            stream_window_max: 4000,
            connection_window_max: 100_000,
            field_count_max: 8,
            block_bytes_max: 1000,
            continuation_count_max: 2,
            idle_work_max: 20,
            ..usual
        },
    }
}
