//! The bytes a ceiling answers with: exactly those of the real server's `/plaintext`, or of its `/echo` to a body of a given
//! length, the date renewed every second.
//!
//! All answers within a second are the same, so one block holds many of them end to end and a gathered send is a
//! slice of it: no copy per request. A connection keeps the block it is sending from alive until the last byte has
//! gone, so a renewed date never changes bytes that the kernel still reads.

use std::rc::Rc;

use rustix::time::{ClockId, clock_gettime};

use crate::limits::ANSWERS_PER_SEND;

/// The answers of the current second.
#[derive(Clone, Debug)]
pub struct Answers {
    block: Rc<Block>,
    second: i64,
    body: usize,
}

/// Many equal answers, end to end.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    answer_bytes: usize,
}

/// What a connection still has to send.
#[derive(Debug, Default)]
pub struct Outbox {
    owed: u64,
    sending: Option<Rc<Block>>,
    from: usize,
    to: usize,
}

impl Answers {
    /// Answers dated now, to requests whose bodies have so many bytes.
    pub fn new(body: usize) -> Self {
        let second = now();
        Self { block: Rc::new(Block::dated(second, body)), second, body }
    }

    /// Called once a turn. Reads the coarse clock (9 ns) and makes a new block when the second has changed.
    pub fn renew(&mut self) {
        let second = now();
        if second != self.second {
            (self.block, self.second) = (Rc::new(Block::dated(second, self.body)), second);
        }
    }
}

impl Block {
    fn dated(second: i64, body: usize) -> Self {
        let (kind, body) = match body {
            0 => ("text/plain; charset=utf-8", "Hello, World!".to_owned()),
            bytes => ("application/octet-stream", "x".repeat(bytes)),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Type: {kind}\r\n\
             Content-Length: {}\r\n\
             Server: shardwise\r\n\
             Date: {}\r\n\
             \r\n\
             {body}",
            body.len(),
            http_date(second)
        );
        Self { bytes: answer.repeat(ANSWERS_PER_SEND).into_bytes(), answer_bytes: answer.len() }
    }
}

impl Outbox {
    /// So many more requests have arrived.
    pub fn owe(&mut self, answers: u64) {
        self.owed += answers;
    }

    /// The bytes to send next: what is left of the last send, or else as many owed answers as one send takes.
    /// They stay where they are until [`Outbox::advance`] has been told that all of them went.
    pub fn next(&mut self, answers: &Answers) -> Option<&[u8]> {
        if self.sending.is_none() {
            if self.owed == 0 {
                return None;
            }
            let count = self.owed.min(ANSWERS_PER_SEND as u64) as usize;
            self.owed -= count as u64;
            (self.from, self.to) = (0, count * answers.block.answer_bytes);
            self.sending = Some(Rc::clone(&answers.block));
        }
        self.sending.as_deref().map(|block| &block.bytes[self.from..self.to])
    }

    /// So many bytes of what `next` returned were sent.
    pub fn advance(&mut self, bytes: usize) {
        self.from += bytes;
        assert!(self.from <= self.to, "more bytes sent than were given");
        if self.from == self.to {
            self.sending = None;
        }
    }

    /// Whether nothing is owed and nothing under way.
    pub fn is_empty(&self) -> bool {
        self.owed == 0 && self.sending.is_none()
    }
}

fn now() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// The second as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn http_date(second: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1 January 1970 was a Thursday
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, of_day) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let (mut year, mut day) = (1970, days);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[days.rem_euclid(7) as usize],
        day + 1,
        MONTHS[month],
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests;
