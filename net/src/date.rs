//! The `Date` header's value, formatted once a second for all connections of a shard (RFC 9110 section 6.6.1).

use std::cell::Cell;
use std::time::{Duration, Instant, UNIX_EPOCH};

use shards::Shard;

/// The date of this second.
#[derive(Debug)]
pub(crate) struct DateCache {
    text: Cell<[u8; 29]>,
    good_until: Cell<Option<Instant>>,
}

impl DateCache {
    pub(crate) fn new() -> Self {
        DateCache { text: Cell::new([0; 29]), good_until: Cell::new(None) }
    }

    /// The date, as of this turn.
    pub(crate) fn get(&self, shard: &Shard) -> [u8; 29] {
        let now = shard.now();
        if self.good_until.get().is_none_or(|until| now >= until) {
            let time = shard.wall_clock();
            let text = httpdate::fmt_http_date(time);
            self.text.set(text.as_bytes().try_into().expect("an IMF-fixdate has 29 bytes"));
            let since_second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            self.good_until.set(Some(now + Duration::from_nanos(1_000_000_000 - u64::from(since_second))));
        }
        self.text.get()
    }
}
