//! The streams of HTTP/2 go through frames: the engine decides what is written next, and an outbox gathers it for one send.

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, Group};
use proto::h2::{self, CONTROL_BYTES_MIN, Code, Engine, Limits, Standing};
use proto::message::{Checked, WriteError};
use shards::Counter;

use crate::conn::outbox::Outbox;
use crate::conn::streams::client::{Asked, Asks};
use crate::conn::streams::{self, Answer, Cut, Key, Refusal, Streams, Wire};
use crate::conn::{Config, Exhausted, HEAD_BYTES_USUAL};
use crate::limits::COPY_BODY_BYTES_MAX;
use crate::stats::NetStats;
use crate::tcp::Outgoing;
use crate::{Headers, client};

/// A connection's engine, and what it has written.
pub(crate) struct Frames {
    pub(super) engine: Engine,
    outbox: Outbox,
}

/// What a connection is served with.
pub(super) type Means<'a> = streams::Means<'a, Frames>;

impl Frames {
    pub(super) fn new(engine: Engine) -> Self {
        Frames { engine, outbox: Outbox::default() }
    }

    /// Lets the engine write into the outbox, with a chunk of its own if the present one has too little room.
    pub(super) fn write<T>(
        &mut self,
        means: Means<'_>,
        mut bytes: usize,
        write: impl Fn(&mut Engine, &mut [u8]) -> Result<(T, usize), WriteError>,
    ) -> Result<T, Refusal> {
        loop {
            let room = self.outbox.room(bytes, means.supplies)?;
            match write(&mut self.engine, room) {
                Ok((written, count)) => {
                    self.outbox.commit(count);
                    return Ok(written);
                }
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = (4 * bytes).min(CHUNK_BYTES_MAX),
                Err(error) => return Err(Refusal::Unwritable(error)),
            }
        }
    }
}

impl Wire for Frames {
    type Key = h2::Key;
    type Code = Code;
    type Limits = Limits;

    fn limits(config: &Config) -> &Limits {
        &config.h2
    }

    fn streams_open(stats: &NetStats) -> &Counter {
        &stats.h2_streams_open
    }

    fn can_send(&self, key: h2::Key) -> bool {
        self.engine.can_send(key)
    }

    fn is_receiving(&self, key: h2::Key) -> bool {
        self.engine.is_receiving(key)
    }

    fn is_held(&self, key: h2::Key) -> bool {
        self.engine.is_held(key)
    }

    fn is_draining(&self) -> bool {
        self.engine.is_draining()
    }

    fn is_full(&self, means: Means<'_>) -> bool {
        self.outbox.is_full(means.gather_bytes_max)
    }

    fn has_control(&self) -> bool {
        self.engine.has_control()
    }

    fn control(&mut self, means: Means<'_>) -> Result<(), Exhausted> {
        while self.engine.has_control() && !self.is_full(means) {
            let room = self.outbox.room(CONTROL_BYTES_MIN, means.supplies)?;
            let count = self.engine.control(means.limits, room);
            self.outbox.commit(count);
        }
        Ok(())
    }

    fn head(
        &mut self,
        means: Means<'_>,
        key: h2::Key,
        answer: Answer<'_>,
        standing: Standing<'_>,
        _: &mut Buf,
    ) -> Result<bool, Refusal> {
        let Answer { status, headers, length } = answer;
        let fields = headers.iter().map(|(name, value)| Checked(name, value));
        self.write(means, HEAD_BYTES_USUAL, |engine, room| {
            let count = engine.respond(key, status, fields.clone(), standing, length, room)?;
            Ok((engine.can_send(key), count))
        })
    }

    /// As much as one frame takes, and windows admit.
    fn piece(&mut self, means: Means<'_>, key: h2::Key, buf: &mut Buf, is_last: bool) -> Result<(), Exhausted> {
        let room = self.outbox.room(CONTROL_BYTES_MIN, means.supplies)?;
        let Ok(data) = self.engine.data(key, buf.len(), is_last, room) else {
            *buf = Buf::EMPTY;
            return Ok(());
        };
        self.outbox.commit(data.head);
        if data.count > 0 {
            let front = buf.split_to(data.count);
            match front.len() <= COPY_BODY_BYTES_MAX {
                true => self.outbox.put(&front, means.supplies)?,
                false => self.outbox.push(front, means.supplies),
            }
        }
        Ok(())
    }

    fn end(&mut self, means: Means<'_>, key: h2::Key, trailers: &Headers) -> Result<(), Refusal> {
        let fields = trailers.iter().map(|(name, value)| Checked(name, value));
        self.write(means, HEAD_BYTES_USUAL, |engine, room| match trailers.is_empty() {
            true => engine.data(key, 0, true, room).map(|data| ((), data.head)),
            false => engine.trailers(key, fields.clone(), room).map(|count| ((), count)),
        })
    }

    fn offer(&mut self, key: h2::Key) {
        self.engine.offer(key);
    }

    fn pick(&mut self) -> Option<h2::Key> {
        self.engine.pick()
    }

    fn reset(&mut self, key: h2::Key, cut: Cut) {
        let code = match cut {
            Cut::Internal => Code::INTERNAL_ERROR,
            Cut::Cancel => Code::CANCEL,
        };
        self.engine.reset(key, code);
    }

    fn consume(&mut self, key: h2::Key, count: usize, limits: &Limits) {
        self.engine.consume(key, count, limits);
    }

    fn release(&mut self, key: h2::Key, limits: &Limits) {
        self.engine.release(key, limits);
    }

    fn drain(&mut self) -> bool {
        let is_news = !self.engine.is_draining() && !self.engine.is_closed();
        if is_news {
            self.engine.drain();
        }
        is_news
    }

    fn finish(&mut self) {
        self.engine.finish();
    }
}

impl Asks for Frames {
    const UNPROCESSED: Code = Code::REFUSED_STREAM;

    fn limits_of(config: &client::Config) -> &Limits {
        &config.h2
    }

    fn code(code: Code) -> client::Code {
        client::Code::Http2(code)
    }

    fn takes_requests(&self) -> bool {
        !self.engine.is_draining() && self.engine.has_numbers()
    }

    fn can_ask(&mut self, limits: &Limits) -> bool {
        self.engine.can_open(limits)
    }

    fn ask(&mut self, means: Means<'_>, asked: Asked<'_>) -> Result<h2::Key, Refusal> {
        let lines = asked.lines().map(|(name, value)| Checked(name, value));
        self.write(means, HEAD_BYTES_USUAL, |engine, room| {
            engine.request(asked.pseudo, lines.clone(), asked.length, means.limits, room)
        })
    }

    fn stream_count(&self) -> usize {
        self.engine.stream_count()
    }

    /// The end of the stream of bytes says so.
    fn close(&mut self) {}
}

impl Key for h2::Key {
    fn place(self) -> usize {
        h2::Key::place(self)
    }

    fn number(self) -> u32 {
        self.id()
    }
}

/// What concerns the one send of all streams.
impl Streams<Frames> {
    /// Whether the connection has come to its end and nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.has_come_to_its_end() && self.wire.outbox.is_empty() && !self.wire.engine.has_control()
    }

    /// Whether something is done when the present send has ended.
    pub(super) fn awaits_send(&self) -> bool {
        !self.wire.outbox.is_empty() || self.has_come_to_its_end()
    }

    fn has_come_to_its_end(&self) -> bool {
        let engine = &self.wire.engine;
        engine.is_closed() || engine.is_drained() || self.has_left && engine.stream_count() == 0
    }

    /// Takes what is gathered. Who waited for room is told.
    pub(super) fn take_outbox(&mut self, means: Means<'_>) -> Option<Outgoing> {
        if self.wire.outbox.is_empty() {
            return None;
        }
        self.make_room();
        Some(self.wire.outbox.take(means.supplies))
    }

    /// What is best received into.
    pub(super) fn group(&self) -> Group {
        if self.is_bulky() { Group::Bulk } else { Group::Heads }
    }
}
