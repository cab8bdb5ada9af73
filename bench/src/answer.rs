//! The bytes a ceiling answers with: exactly those of the real server's `/plaintext`, or of its `/echo` of a body whose length
//! is known beforehand, the date renewed every second.
//!
//! All answers within a second are the same, so one block holds many of them end to end and a gathered send is a
//! slice of it: no copy per request. A connection keeps the block it is sending from alive until the last byte has
//! gone, so a renewed date never changes bytes that the kernel still reads.

use std::rc::Rc;

use rustix::time::{ClockId, clock_gettime};

use crate::limits::{ANSWER_BLOCK_BYTES_MAX, ANSWERS_PER_SEND};

/// What a ceiling is told of the requests it will get, since it does not look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Of each, sent back if there are any.
    pub body: usize,
    /// Whether each asks for the connection to be closed behind its answer.
    pub close: bool,
}

/// The answers of the current second.
#[derive(Clone, Debug)]
pub struct Answers {
    requests: Requests,
    block: Rc<Block>,
    second: i64,
}

/// Many equal answers, end to end.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    answer_bytes: usize,
    count: usize,
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
    /// Answers to such requests, dated now.
    pub fn new(requests: Requests) -> Self {
        let second = now();
        Self { requests, block: Rc::new(Block::dated(second, requests)), second }
    }

    /// The requests that are answered.
    pub fn requests(&self) -> Requests {
        self.requests
    }

    /// Called once a turn. Reads the coarse clock (9 ns) and makes a new block when the second has changed.
    pub fn renew(&mut self) {
        let second = now();
        if second != self.second {
            *self = Self { requests: self.requests, block: Rc::new(Block::dated(second, self.requests)), second };
        }
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self::new(Requests::default())
    }
}

impl Block {
    fn dated(second: i64, Requests { body, close }: Requests) -> Self {
        let (content_type, body) = match body {
            0 => ("text/plain; charset=utf-8", "Hello, World!".to_owned()),
            bytes => ("application/octet-stream", "x".repeat(bytes)),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Type: {content_type}\r\n\
             Content-Length: {}\r\n\
             Server: shardwise\r\n\
             Date: {}\r\n\
             {}\r\n\
             {body}",
            body.len(),
            http_date(second),
            if close { "Connection: close\r\n" } else { "" }
        );
        let count = (ANSWER_BLOCK_BYTES_MAX / answer.len()).clamp(1, ANSWERS_PER_SEND);
        Self { bytes: answer.repeat(count).into_bytes(), answer_bytes: answer.len(), count }
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
            let count = self.owed.min(answers.block.count as u64) as usize;
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

/// The wall clock's second.
pub fn now() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// The second as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub fn http_date(second: i64) -> String {
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
