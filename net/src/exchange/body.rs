//! The body of a message on its way in: a stream of chunks from a connection loop to whoever reads it.
//!
//! The loop holds one end ([`Incoming`]), the reader the other ([`Body`]); both are on the same shard. The loop receives
//! only while the reader wants more, so a slow reader slows its peer and nobody else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Chunk, ChunkMut, Pool};
use proto::h1;

use super::Head;
use crate::limits::COPIED_CHUNK_BYTES;

/// The reading end of a message's body.
///
/// Dropping it tells the connection that nobody reads on: what is left is drained up to a bound, or the connection closes.
#[derive(Debug, Default)]
pub struct Body(Rest);

/// What of a body is still to be read.
#[derive(Debug)]
enum Rest {
    /// Nothing of so many bytes, or of [`UNKNOWN`].
    Nothing { length: u64 },
    /// All of it: it came with its head.
    Whole {
        chunk: Chunk,
        /// No chunk is as long as the longest that this can admit.
        bytes_max: u32,
    },
    /// What a connection feeds.
    Fed {
        incoming: Rc<Incoming>,
        /// What the sender announced, or [`UNKNOWN`].
        length: u64,
        /// What stood behind it, once it has been read to its end.
        trailers: Option<Box<Trailers>>,
    },
}

/// The length of a body that ends when it ends.
const UNKNOWN: u64 = u64::MAX;

// A connection holds one while it waits.
const _: () = assert!(size_of::<Body>() == 32);

/// The trailer fields of a message: what its sender knew only when the body had been made (RFC 9110 section 6.5). Framing,
/// routing and whatever else decides how a message is read are never among them.
#[derive(Debug)]
pub struct Trailers(Head);

/// The feeding end of a message's body, held by the connection.
#[derive(Debug)]
pub struct Incoming(RefCell<State>);

#[derive(Debug)]
struct State {
    chunks: VecDeque<Chunk>,
    /// What was copied behind these, and may get more.
    tail: Option<ChunkMut>,
    /// How it ended, once it has.
    end: Option<Result<(), BodyError>>,
    trailers: Option<Box<Trailers>>,
    /// The reader waits for more.
    wanted: bool,
    waker: Option<Waker>,
    /// Bytes fed so far, and the most that may be.
    bytes: u64,
    bytes_max: u64,
    /// Bytes that the reader has taken since they were last counted, and who counts them, if anyone does.
    taken: usize,
    feeder: Option<Waker>,
}

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than this route admits (413).
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The peer went away before the end.
    Truncated,
    /// The peer broke the framing (400), or a bound of it (431).
    Malformed(h1::Error),
    /// The peer sent nothing for too long (408).
    TimedOut,
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Body(Rest::Nothing { length: 0 })
    }

    /// A body that is there, of one byte or more: [`empty`](Body::empty) is for none.
    pub fn whole(chunk: Chunk) -> Self {
        Body(Rest::Whole { chunk, bytes_max: u32::MAX })
    }

    /// All of it, if it is there and not too long.
    pub(crate) fn into_whole(self) -> Result<Chunk, Self> {
        match self.0 {
            Rest::Whole { chunk, bytes_max } if chunk.len() <= bytes_max as usize => Ok(chunk),
            rest => Err(Body(rest)),
        }
    }

    /// A body that a connection feeds, and the end to feed it by. `length` is what the sender announced.
    pub fn channel(length: Option<u64>) -> (Rc<Incoming>, Self) {
        let incoming = Rc::new(Incoming(RefCell::new(State::new(VecDeque::new()))));
        let body = Body::fed_by(&incoming, length);
        (incoming, body)
    }

    /// A body that this end feeds, which is new or has been renewed.
    pub(crate) fn fed_by(incoming: &Rc<Incoming>, length: Option<u64>) -> Self {
        // Nobody sends as much as the longest that can be announced.
        let length = length.map_or(UNKNOWN, |length| length.min(UNKNOWN - 1));
        Body(Rest::Fed { incoming: Rc::clone(incoming), length, trailers: None })
    }

    /// The length that the sender announced; `None` if the body ends when it ends.
    pub fn length(&self) -> Option<u64> {
        match self.0 {
            Rest::Nothing { length: UNKNOWN } | Rest::Fed { length: UNKNOWN, .. } => None,
            Rest::Nothing { length } | Rest::Fed { length, .. } => Some(length),
            Rest::Whole { ref chunk, .. } => Some(chunk.len() as u64),
        }
    }

    /// Whether all of it is there, or there is none: then reading it waits for nothing. Bodies that came in one piece with the head of
    /// their request are.
    pub fn is_here(&self) -> bool {
        matches!(self.0, Rest::Nothing { .. } | Rest::Whole { .. })
    }

    /// Admits at most this many bytes in all; a longer body fails with [`BodyError::TooLarge`]. To be set before reading.
    pub fn limit(&mut self, bytes_max: u64) {
        match &mut self.0 {
            Rest::Nothing { .. } => {}
            Rest::Whole { bytes_max: known, .. } => *known = u32::try_from(bytes_max).unwrap_or(u32::MAX),
            Rest::Fed { incoming, .. } => incoming.0.borrow_mut().bytes_max = bytes_max,
        }
    }

    /// The next chunk, in order; `None` at the end.
    ///
    /// Cancel safe: a chunk is either returned or still there for the next call.
    ///
    /// Errors: the body is longer than the limit, or the peer went away, was too slow or broke the framing.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The trailer fields, if there are any and the body has been read to its end.
    ///
    /// A sender that announces nothing may still have some, and who is on the way may drop them.
    pub fn trailers(&self) -> Option<&Trailers> {
        match &self.0 {
            Rest::Fed { trailers, .. } => trailers.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn take_trailers(&mut self) -> Option<Trailers> {
        match &mut self.0 {
            Rest::Fed { trailers, .. } => trailers.take().map(|trailers| *trailers),
            _ => None,
        }
    }

    fn take_whole(&mut self) -> Option<Chunk> {
        let nothing = Rest::Nothing { length: self.length().unwrap_or(UNKNOWN) };
        match std::mem::replace(&mut self.0, nothing) {
            Rest::Whole { chunk, .. } => Some(chunk),
            _ => None,
        }
    }

    /// [`chunk`](Body::chunk) as a poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, BodyError>> {
        let (incoming, length, trailers) = match &mut self.0 {
            Rest::Fed { incoming, length, trailers } => (incoming, *length, trailers),
            Rest::Whole { chunk, bytes_max } if chunk.len() > *bytes_max as usize => {
                return Poll::Ready(Err(BodyError::TooLarge { max: (*bytes_max).into() }));
            }
            Rest::Nothing { .. } => return Poll::Ready(Ok(None)),
            Rest::Whole { .. } => return Poll::Ready(Ok(self.take_whole())),
        };
        let mut state = incoming.0.borrow_mut();
        if length != UNKNOWN && length > state.bytes_max || state.bytes > state.bytes_max {
            return Poll::Ready(Err(BodyError::TooLarge { max: state.bytes_max }));
        }
        if let Some(chunk) = state.next() {
            state.taken += chunk.len();
            if let Some(feeder) = &state.feeder
                && !feeder.will_wake(cx.waker())
            {
                feeder.wake_by_ref();
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        match state.end {
            Some(end) => {
                *trailers = trailers.take().or_else(|| state.trailers.take());
                Poll::Ready(end.map(|()| None))
            }
            None => {
                state.wanted = true;
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Default for Rest {
    fn default() -> Self {
        Rest::Nothing { length: UNKNOWN }
    }
}

impl State {
    fn new(chunks: VecDeque<Chunk>) -> Self {
        State {
            chunks,
            tail: None,
            end: None,
            trailers: None,
            wanted: false,
            waker: None,
            bytes: 0,
            bytes_max: u64::MAX,
            taken: 0,
            feeder: None,
        }
    }

    fn next(&mut self) -> Option<Chunk> {
        self.chunks.pop_front().or_else(|| self.tail.take().map(ChunkMut::freeze))
    }
}

impl Trailers {
    /// The trailer section's bytes, with the table that an engine has filled.
    pub(crate) fn new(head: Head) -> Self {
        Trailers(head)
    }

    /// The first value of a name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.table().trailers().find(self.0.block(), name)
    }

    /// Names as sent, and values, in the order received.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.0.table().trailers().iter(self.0.block())
    }
}

impl Incoming {
    /// Makes it fit for another body, with the memory of its queue. False if somebody still has the reading end.
    pub(crate) fn renew(self: &Rc<Self>) -> bool {
        let is_alone = self.is_forsaken();
        if is_alone {
            let mut state = self.0.borrow_mut();
            state.chunks.clear();
            let chunks = std::mem::take(&mut state.chunks);
            *state = State::new(chunks);
        }
        is_alone
    }

    /// Has a chunk ready for the reader. A reader in another task is to be told by [`wake`](Incoming::wake).
    pub fn push(&self, chunk: Chunk) {
        let mut state = self.0.borrow_mut();
        if let Some(tail) = state.tail.take() {
            state.chunks.push_back(tail.freeze());
        }
        state.bytes = state.bytes.saturating_add(chunk.len() as u64);
        state.chunks.push_back(chunk);
        state.wanted = false;
    }

    /// The same by a copy, which pins nothing of what was received, and fills what was leased for the last one first. False
    /// if the pool has no room.
    pub(crate) fn put(&self, mut bytes: &[u8], pool: &Pool) -> bool {
        let mut state = self.0.borrow_mut();
        state.bytes = state.bytes.saturating_add(bytes.len() as u64);
        state.wanted = false;
        while !bytes.is_empty() {
            match &mut state.tail {
                Some(tail) if tail.room() > 0 => bytes = &bytes[tail.put_some(bytes)..],
                _ => {
                    let Some(fresh) = pool.lease(bytes.len().clamp(COPIED_CHUNK_BYTES, CHUNK_BYTES_MAX)) else {
                        return false;
                    };
                    if let Some(full) = state.tail.replace(fresh) {
                        state.chunks.push_back(full.freeze());
                    }
                }
            }
        }
        true
    }

    /// Bytes that the reader has taken since this was last asked. From now on `feeder` is woken when it takes more, unless it
    /// reads there.
    pub(crate) fn taken(&self, feeder: &Waker) -> usize {
        let mut state = self.0.borrow_mut();
        match &mut state.feeder {
            Some(known) => known.clone_from(feeder),
            none => *none = Some(feeder.clone()),
        }
        std::mem::take(&mut state.taken)
    }

    /// Has what stood behind the body ready for the reader; to be said before the end.
    pub(crate) fn trail(&self, trailers: Trailers) {
        self.0.borrow_mut().trailers = Some(Box::new(trailers));
    }

    /// Says that the body has ended, or why it will not. The first word stands. As for [`push`](Incoming::push), a reader
    /// in another task is to be told.
    pub fn finish(&self, end: Result<(), BodyError>) {
        let mut state = self.0.borrow_mut();
        state.end.get_or_insert(end);
        state.wanted = false;
    }

    /// Wakes a reader that waits.
    pub fn wake(&self) {
        let waker = self.0.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the reader waits and has nothing to read.
    pub fn is_wanted(&self) -> bool {
        let state = self.0.borrow();
        state.wanted && state.chunks.is_empty() && state.tail.is_none() && state.end.is_none()
    }

    /// Bytes fed so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.borrow().bytes
    }

    /// Whether more may come of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.borrow().end.is_some()
    }

    /// Whether nobody will read on.
    pub fn is_forsaken(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge { max } => write!(f, "the body is longer than the {max} bytes admitted here"),
            BodyError::Truncated => f.write_str("the connection ended before the body did"),
            BodyError::Malformed(error) => write!(f, "{error}"),
            BodyError::TimedOut => f.write_str("the body did not arrive in time"),
        }
    }
}

impl std::error::Error for BodyError {}
