//! The field lines that every response has, made once a second for all connections of a shard: `Server`, and `Date`
//! (RFC 9110 section 6.6.1).

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{Duration, Instant, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::HttpDate;
use proto::h1::{Again, Standing};
use proto::h2;
use shards::Shard;

/// The lines of this second.
#[derive(Debug)]
pub(crate) struct StandingLines {
    /// `Server`, if it is sent, and `Date`.
    lines: RefCell<Vec<u8>>,
    server_bytes: usize,
    good_until: Cell<Option<Instant>>,
    /// Heads of HTTP/1.1 that were written with them.
    again: Again,
}

const SERVER: &str = "Server: ";
const DATE: &str = "Date: ";
const DATE_LINE_BYTES: usize = DATE.len() + "Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

impl StandingLines {
    pub(crate) fn new(server: Option<&HeaderValue>) -> Self {
        let mut lines = match server {
            Some(name) => [SERVER.as_bytes(), name.as_bytes(), b"\r\n"].concat(),
            None => Vec::new(),
        };
        let server_bytes = lines.len();
        lines.resize(server_bytes + DATE_LINE_BYTES, 0);
        StandingLines { lines: RefCell::new(lines), server_bytes, good_until: Cell::new(None), again: Again::default() }
    }

    /// Heads with the lines of this turn.
    #[inline(always)]
    pub(crate) fn again(&self, shard: &Shard) -> &Again {
        let now = shard.now();
        if self.good_until.get().is_none_or(|until| now >= until) {
            self.renew(shard, now);
        }
        &self.again
    }

    /// Hands the lines, as of this turn, to `f`.
    #[inline]
    pub(crate) fn with<R>(&self, shard: &Shard, f: impl FnOnce(Standing<'_>) -> R) -> R {
        let again = Some(self.again(shard));
        let lines = self.lines.borrow();
        f(Standing { server_and_date: &lines, server_bytes: self.server_bytes, other: &[], again })
    }

    /// The same as values, for HTTP/2.
    #[inline]
    pub(crate) fn with_values<R>(&self, shard: &Shard, f: impl FnOnce(h2::Standing<'_>) -> R) -> R {
        self.with(shard, |standing| {
            let (server, date) = standing.server_and_date.split_at(standing.server_bytes);
            f(h2::Standing { server: value(server, SERVER), date: value(date, DATE) })
        })
    }

    #[cold]
    fn renew(&self, shard: &Shard, now: Instant) {
        let time = shard.wall_clock();
        self.again.clear();
        let mut lines = self.lines.borrow_mut();
        // Into the memory it has: a steady server allocates nothing, not even once a second.
        let mut line = &mut lines[self.server_bytes..];
        write!(line, "{DATE}{}\r\n", HttpDate::from(time)).expect("every date has the same length");
        let since_second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        self.good_until.set(Some(now + Duration::from_nanos(1_000_000_000 - u64::from(since_second))));
    }
}

/// What stands between a line's name and its end; nothing of no line.
#[inline]
fn value<'l>(line: &'l [u8], name: &str) -> &'l [u8] {
    line.get(name.len()..line.len().saturating_sub(2)).unwrap_or_default()
}
