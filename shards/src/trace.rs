//! [`TraceContext`]: which trace a piece of work belongs to, across shards and across machines.
//!
//! The one idea: it is a small plain value that a scope carries and hands on to all that lies in it, so that whoever asks,
//! however far inside, and on whichever shard, learns whose work it is. Written as text it is the `traceparent` of W3C Trace
//! Context, which is read as that demands: what is not exactly so is as good as absent.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use crate::Shard;

/// A trace, and the span in it that the work belongs to.
///
/// ```
/// use shardwise_shards::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace = TraceContext::parse(text.as_bytes()).unwrap();
/// assert_eq!(trace.span_id(), 0x00f0_67aa_0ba9_02b7);
/// assert!(trace.is_sampled());
/// assert_eq!(trace.to_string(), text);
/// assert_eq!(TraceContext::parse(b"00-0-0-01"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    flags: u8,
}

/// Bytes of a `traceparent` of version 0; later versions may say more behind it.
const TEXT_BYTES: usize = 55;

/// The one flag that version 0 knows: the caller may have recorded the trace. The others are to be sent as zero.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// One of these numbers; `None` if one of them is zero, which names nothing.
    pub fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        let (trace_id, span_id) = (NonZeroU128::new(trace_id)?, NonZeroU64::new(span_id)?);
        Some(TraceContext { trace_id, span_id, flags: if is_sampled { SAMPLED } else { 0 } })
    }

    /// A trace that begins here. Not sampled: that is for whoever records it to say.
    pub fn begin(shard: &Shard) -> Self {
        let (high, low) = (shard.random(), shard.random());
        // A bit is given up, so that it is never zero.
        let trace_id = NonZeroU128::MIN | u128::from(high) << 64 | u128::from(low);
        TraceContext { trace_id, span_id: span_id(shard), flags: 0 }
    }

    /// A span of the same trace, for work that is to be told apart from this.
    pub fn child(self, shard: &Shard) -> Self {
        TraceContext { span_id: span_id(shard), ..self }
    }

    /// Reads a `traceparent`. `None` if it is not what W3C Trace Context (section 3.2) demands: then there is no trace.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(TEXT_BYTES)?;
        let version = hex(&known[..2])?;
        let is_complete = match version {
            0 => more.is_empty(),
            0xff => false,
            // A later version begins with the same fields, and what follows begins with a dash (section 3.2.4).
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        if !is_complete || [2, 35, 52].iter().any(|dash| known[*dash] != b'-') {
            return None;
        }
        let (trace_id, span_id) = (hex(&known[3..35])?, hex(&known[36..52])?);
        let flags = hex(&known[53..])?;
        TraceContext::new(trace_id, u64::try_from(span_id).ok()?, flags & u128::from(SAMPLED) != 0)
    }

    /// The number of the trace.
    pub fn trace_id(self) -> u128 {
        self.trace_id.get()
    }

    /// The number of the span.
    pub fn span_id(self) -> u64 {
        self.span_id.get()
    }

    /// Whether the trace may be recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, recorded or not.
    pub fn sampled(self, is_sampled: bool) -> Self {
        TraceContext { flags: if is_sampled { SAMPLED } else { 0 }, ..self }
    }
}

fn span_id(shard: &Shard) -> NonZeroU64 {
    NonZeroU64::MIN | shard.random()
}

/// A number in hexadecimal digits, of which only the small letters are admitted.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests;
