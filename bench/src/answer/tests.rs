use super::{Answers, Block, Outbox, Requests, http_date};
use crate::limits::{ANSWER_BLOCK_BYTES_MAX, ANSWERS_PER_SEND};

#[track_caller]
fn check_date(second: i64, expect: &str) {
    assert_eq!(http_date(second), expect);
}

#[test]
fn dates() {
    check_date(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_date(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_date(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
    check_date(1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT");
    check_date(1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT");
    check_date(1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT");
    check_date(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
}

#[test]
fn the_answer_is_the_servers() {
    let block = Block::dated(784_111_777, Requests::default());
    let expect = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\
                  Server: shardwise\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nHello, World!";
    assert_eq!(&block.bytes[..block.answer_bytes], expect.as_bytes());
    assert_eq!(block.bytes, expect.repeat(ANSWERS_PER_SEND).as_bytes());
}

#[test]
fn an_echo_is_as_long_as_its_request_and_says_that_it_is_the_last() {
    let block = Block::dated(784_111_777, Requests { body: 3, close: true });
    let expect = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\nServer: shardwise\r\n\
                  Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nxxx";
    assert_eq!(block.bytes, expect.repeat(ANSWERS_PER_SEND).as_bytes());
    let large = Block::dated(784_111_777, Requests { body: ANSWER_BLOCK_BYTES_MAX, close: false });
    assert_eq!(large.count, 1);
}

/// Owes answers, then sends at most `step` bytes at a time: all owed bytes go, once.
#[track_caller]
fn check_outbox(owed: u64, step: usize) {
    let answers = Answers::default();
    let mut outbox = Outbox::default();
    outbox.owe(owed);
    let mut sent = Vec::new();
    while let Some(bytes) = outbox.next(&answers) {
        let count = bytes.len().min(step);
        sent.extend_from_slice(&bytes[..count]);
        outbox.advance(count);
    }
    let one = &answers.block.bytes[..answers.block.answer_bytes];
    assert_eq!(sent, one.repeat(owed as usize));
    assert!(outbox.is_empty());
}

#[test]
fn everything_owed_is_sent_once() {
    for owed in [0, 1, 2, 16, 63, 64, 65, 200] {
        for step in [1, 7, 150, 1_000_000] {
            check_outbox(owed, step);
        }
    }
}

#[test]
fn a_renewed_date_does_not_change_what_is_being_sent() {
    let mut answers = Answers::default();
    let mut outbox = Outbox::default();
    outbox.owe(1);
    let before = outbox.next(&answers).unwrap().to_vec();
    outbox.advance(10);
    answers.second = 0;
    answers.block = std::rc::Rc::new(Block::dated(0, Requests::default()));
    assert_eq!(outbox.next(&answers).unwrap(), &before[10..]);
}
