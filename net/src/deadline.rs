//! How much time is left for a request, as one server tells the next.
//!
//! The one idea: what travels is a time from now and not a moment, since no two clocks agree. What is under way meanwhile is
//! lost, and whoever asks gives up by itself; the field spares the next server work that nobody waits for.
//!
//! There is no standard. Envoy's field is what proxies of services write and read, and applications behind them; that of gRPC
//! is the other one in wide use. Both are read, and a client writes the one that it is told to.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::{Headers, Request};

/// The field that says how much time is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadlineField {
    /// `x-envoy-expected-rq-timeout-ms`: milliseconds.
    #[default]
    Milliseconds,
    /// `grpc-timeout`: a number of at most eight digits and a unit.
    Grpc,
}

impl DeadlineField {
    /// Its name.
    pub fn name(self) -> HeaderName {
        match self {
            DeadlineField::Milliseconds => MILLISECONDS,
            DeadlineField::Grpc => GRPC,
        }
    }

    /// Says among `headers` how much is left until then, in the place of what was said before.
    pub(crate) fn tell(self, headers: &mut Headers, deadline: Instant, now: Instant) {
        headers.set(self.name(), self.value(deadline.saturating_duration_since(now)));
    }

    /// Its value: not more than what is left, but never nothing.
    fn value(self, left: Duration) -> HeaderValue {
        let milliseconds = left.as_millis().max(1);
        let text = match self {
            DeadlineField::Milliseconds => milliseconds.to_string(),
            DeadlineField::Grpc if milliseconds < 100_000_000 => format!("{milliseconds}m"),
            DeadlineField::Grpc => format!("{}S", left.as_secs().min(99_999_999)),
        };
        HeaderValue::from_str(&text).expect("digits and a letter")
    }
}

impl Request {
    /// How much time is left for it, as its client says in either field. What cannot be understood is as good as absent.
    pub fn time_left(&self) -> Option<Duration> {
        let milliseconds = self.header(MILLISECONDS.as_str()).and_then(number);
        let grpc = self.header(GRPC.as_str()).and_then(|value| {
            let (unit, digits) = value.split_last()?;
            let count = number(digits).filter(|_| digits.len() <= 8)?;
            Some(match unit {
                b'H' => Duration::from_secs(count * 3600),
                b'M' => Duration::from_secs(count * 60),
                b'S' => Duration::from_secs(count),
                b'm' => Duration::from_millis(count),
                b'u' => Duration::from_micros(count),
                b'n' => Duration::from_nanos(count),
                _ => return None,
            })
        });
        milliseconds.map(Duration::from_millis).into_iter().chain(grpc).min()
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

const MILLISECONDS: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC: HeaderName = HeaderName::from_static("grpc-timeout");
