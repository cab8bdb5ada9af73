//! From bytes to events: streams that carry messages.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::engine::{Ending, Engine};
use super::error::{Code, Error};
use super::frame::{At, FrameHead, Kind};
use super::limits::{Limits, TINY_DATA_BYTES, TINY_DATA_PER_WORK};
use super::streams::{Key, Side, Stream};
use super::{Event, Head, Role, Scratch, Step};
use crate::head::{HeadTable, Known, KnownHead};
use crate::message::Priority;
use crate::message::head::{Bounds, Filling, Kind as Section, Verdict};
use crate::qpack::{Arena, Outcome};

/// Where what is received goes, and what is known besides.
pub(super) struct With<'a> {
    pub(super) scratch: &'a mut Scratch,
    table: &'a mut HeadTable,
    pub(super) now: Duration,
    pub(super) limits: &'a Limits,
}

impl Engine {
    /// Looks at what has come on a stream of the peer's, or on one that we have sent a request on, and says what comes first
    /// in it. To be called until it says [`Event::NeedMore`] or [`Event::Blocked`], and again when there is more: each byte
    /// of a stream once, in order. `end` says that the stream ends with the input.
    ///
    /// `table` and `scratch` belong to this call; what they hold after a head or trailers stays until the next. `now` is the
    /// time of any clock that goes forwards.
    ///
    /// After an error nothing more is read.
    #[expect(clippy::too_many_arguments, reason = "as of HTTP/2, and which stream it is")]
    pub fn receive(
        &mut self,
        id: u64,
        input: &[u8],
        end: bool,
        scratch: &mut Scratch,
        table: &mut HeadTable,
        now: Duration,
        limits: &Limits,
    ) -> Result<Step, Error> {
        if self.failure.is_some() {
            return Ok(Step { consumed: input.len(), event: Event::Closed });
        }
        let mut at = 0;
        match self.stream(id, input, &mut at, end, With { scratch, table, now, limits }) {
            Ok(event) => Ok(Step { consumed: at, event }),
            Err(error) => {
                self.fail(error);
                Err(error)
            }
        }
    }

    /// The same for what most streams bring: all of a request, at once, whose head has come before. `None`, and nothing has
    /// happened: it is something else, to be [received](Engine::receive).
    ///
    /// Where nothing but an answer that was given before may be sent at once, there is nothing to be kept of it: the key is for
    /// [`repeat`](Engine::repeat), and for all else once the stream is [kept](Engine::keep).
    #[inline]
    pub fn receive_known(
        &mut self,
        id: u64,
        input: &[u8],
        scratch: &Scratch,
        limits: &Limits,
    ) -> Option<(Key, Rc<KnownHead>)> {
        let takes_all = self.role == Role::Server && self.failure.is_none() && self.ending == Ending::No;
        let has_room = self.streams.len() < usize::from(limits.streams_max);
        if id & 3 != 0 || !takes_all || !has_room {
            return None;
        }
        let section = whole_section(input, limits)?;
        let known = scratch.requests.recall(section, judged_by(limits))?;
        if self.streams.find(id).is_some() || self.control.early_priority(id).is_some() {
            return None;
        }
        self.next_id = self.next_id.max(id + 4);
        let is_head = *known.head.table().method() == Method::HEAD;
        let key = match known.priority {
            None if !is_head => Key::loose(id),
            said => {
                let priority = said.unwrap_or_default();
                self.streams.add(Stream { is_head, priority, ..Stream::received(id) })
            }
        };
        Some((key, Rc::clone(&known.head)))
    }

    /// Keeps a stream of which nothing was kept, and names it from now on. Any other has the same key.
    #[inline]
    pub fn keep(&mut self, key: Key) -> Key {
        if key.is_loose() { self.streams.add(Stream::received(key.id)) } else { key }
    }

    #[inline]
    fn stream(&mut self, id: u64, input: &[u8], at: &mut usize, end: bool, mut with: With<'_>) -> Result<Event, Error> {
        if id & 2 != 0 {
            return self.uni(id, input, at, end, &mut with);
        }
        if id & 1 != 0 {
            return Err(Error::creation("a server opens no stream that goes both ways"));
        }
        let key = match (self.streams.find(id), self.role) {
            (Some(key), _) => key,
            (None, Role::Server) => match self.open(id, &with)? {
                Some(key) => match whole_section(input, with.limits) {
                    Some(section) => {
                        *at = input.len();
                        return self.section(key, section, end, &mut with);
                    }
                    None => key,
                },
                None => {
                    *at = input.len();
                    return Ok(Event::Refused { id, code: Code::REQUEST_REJECTED });
                }
            },
            // It was released.
            (None, Role::Client) => {
                *at = input.len();
                return Ok(Event::NeedMore);
            }
        };
        self.frames(key, input, at, end, &mut with)
    }

    /// A stream that the client has opened; `None` if it is not looked at.
    fn open(&mut self, id: u64, with: &With<'_>) -> Result<Option<Key>, Error> {
        let is_beyond_end = matches!(self.ending, Ending::Last(from) if id >= from);
        if !is_beyond_end {
            self.next_id = self.next_id.max(id + 4);
        }
        if is_beyond_end || self.streams.len() >= usize::from(with.limits.streams_max) {
            self.idle_work(1, with.now, with.limits, "too many streams that were refused")?;
            self.refused = self.refused.wrapping_add(u32::from(!is_beyond_end));
            return Ok(None);
        }
        let key = self.streams.open(id);
        if let Some(priority) = self.control.early_priority(id) {
            let stream = self.streams.get_mut(key).expect("it was opened");
            (stream.priority, stream.has_said_priority) = (priority, true);
        }
        Ok(Some(key))
    }

    fn frames(
        &mut self,
        key: Key,
        input: &[u8],
        at: &mut usize,
        end: bool,
        with: &mut With<'_>,
    ) -> Result<Event, Error> {
        loop {
            let rest = &input[*at..];
            let stream = self.streams.get_mut(key).expect("it is open");
            if stream.received == Side::Ended {
                *at = input.len();
                return Ok(Event::NeedMore);
            }
            if stream.is_blocked {
                let ends = end && rest.is_empty();
                return self.held_section(key, ends, with);
            }
            match &mut stream.at {
                At::Head(beginning) if rest.is_empty() => {
                    return match end {
                        true if beginning.is_empty() => self.end_of(key, with),
                        true => Err(Error::frame("a stream ends within a frame")),
                        false => Ok(Event::NeedMore),
                    };
                }
                At::Head(beginning) => match beginning.frame(rest) {
                    None => *at = input.len(),
                    Some((head, count)) => {
                        *at += count;
                        if let Some(event) = self.frame_head(key, head, with)? {
                            return Ok(event);
                        }
                    }
                },
                At::Payload { kind: Kind::Headers, left } => {
                    let length = *left as usize;
                    if stream.held.is_empty() && rest.len() >= length {
                        *at += length;
                        stream.at = At::default();
                        let ends = end && *at == input.len();
                        return self.section(key, &rest[..length], ends, with);
                    }
                    if rest.is_empty() {
                        return if end { Err(CUT) } else { Ok(Event::NeedMore) };
                    }
                    let count = rest.len().min(length);
                    *left -= count as u64;
                    *at += count;
                    let is_whole = *left == 0;
                    if is_whole {
                        stream.at = At::default();
                    }
                    if let Some(event) = self.hold(key, &rest[..count], with)? {
                        return Ok(event);
                    }
                    if is_whole {
                        let ends = end && *at == input.len();
                        return self.held_section(key, ends, with);
                    }
                }
                At::Payload { left: 0, .. } => stream.at = At::default(),
                At::Payload { .. } if rest.is_empty() => return if end { Err(CUT) } else { Ok(Event::NeedMore) },
                At::Payload { kind, left } => {
                    let count = (*left).min(rest.len() as u64);
                    *left -= count;
                    let (is_data, is_whole) = (*kind == Kind::Data, *left == 0);
                    if is_whole {
                        stream.at = At::default();
                    }
                    let start = *at;
                    *at += count as usize;
                    if !is_data {
                        self.skip(count, with)?;
                        continue;
                    }
                    let ends = end && is_whole && *at == input.len();
                    if ends {
                        if stream.left != u64::MAX && stream.left != 0 {
                            return self.reset_by(key, Code::MESSAGE_ERROR, with);
                        }
                        stream.received = Side::Ended;
                    }
                    return Ok(Event::Data { key, range: start..*at, end: ends });
                }
            }
        }
    }

    /// Whether a frame may come where it does, before anything of it is held.
    #[inline]
    fn frame_head(&mut self, key: Key, head: FrameHead, with: &With<'_>) -> Result<Option<Event>, Error> {
        let FrameHead { kind, length } = head;
        let stream = self.streams.get_mut(key).expect("it is open");
        stream.at = At::Payload { kind, left: length };
        match (kind, stream.received) {
            (Kind::Data, Side::Body) => {
                if stream.left != u64::MAX {
                    match stream.left.checked_sub(length) {
                        Some(left) => stream.left = left,
                        None => return self.reset_by(key, Code::MESSAGE_ERROR, with).map(Some),
                    }
                }
                if length == 0 {
                    self.idle_work(1, with.now, with.limits, "too many empty frames of data")?;
                } else if length <= TINY_DATA_BYTES && !stream.is_connect {
                    self.tiny_data += 1;
                    if self.tiny_data == TINY_DATA_PER_WORK {
                        self.tiny_data = 0;
                        self.idle_work(1, with.now, with.limits, "too many tiny frames of data")?;
                    }
                }
                Ok(None)
            }
            (Kind::Data, _) => Err(Error::unexpected("data comes before a head, or after trailers")),
            (Kind::Headers, Side::End) => Err(Error::unexpected("a head comes after trailers")),
            // RFC 9114 section 4.4: a tunnel carries data and nothing else.
            (Kind::Headers, Side::Body) if stream.is_connect => {
                Err(Error::unexpected("a tunnel carries something else than data"))
            }
            (Kind::Headers, _) if length > u64::from(with.limits.section_bytes_max) => {
                let is_request = self.role == Role::Server && stream.received == Side::Head;
                match is_request {
                    true => self.too_large(key).map(Some),
                    false => self.reset_by(key, Code::EXCESSIVE_LOAD, with).map(Some),
                }
            }
            (Kind::Headers, _) => Ok(None),
            (Kind::Unknown, _) => {
                self.idle_work(1, with.now, with.limits, "too many frames of an unknown kind")?;
                Ok(None)
            }
            (Kind::PushPromise, _) if self.role == Role::Client => {
                Err(Error::id("a push is promised, none of which was allowed"))
            }
            _ => Err(Error::unexpected("a frame that may not stand on a request's stream")),
        }
    }

    /// A stream has ended where it may.
    fn end_of(&mut self, key: Key, with: &With<'_>) -> Result<Event, Error> {
        let stream = self.streams.get_mut(key).expect("it is open");
        match stream.received {
            Side::Head if self.role == Role::Server => {
                self.idle_work(1, with.now, with.limits, "too many streams without a request")?;
                self.refuse(key, Code::REQUEST_INCOMPLETE)
            }
            Side::Head => self.reset_by(key, Code::MESSAGE_ERROR, with),
            Side::Body if stream.left != u64::MAX && stream.left != 0 => self.reset_by(key, Code::MESSAGE_ERROR, with),
            Side::Body => {
                stream.received = Side::Ended;
                Ok(Event::Ended { key })
            }
            Side::End | Side::Ended => {
                stream.received = Side::Ended;
                Ok(Event::NeedMore)
            }
        }
    }

    // ---- field sections ----------------------------------------------------------------------------------------------

    /// Holds a piece of a section, unless too much is held: then whoever sends it is refused.
    fn hold(&mut self, key: Key, piece: &[u8], with: &With<'_>) -> Result<Option<Event>, Error> {
        if self.held_bytes + piece.len() > with.limits.held_bytes_max as usize {
            let is_out = self.streams.get(key).is_some_and(|stream| stream.is_out);
            if is_out {
                return self.reset_by(key, Code::EXCESSIVE_LOAD, with).map(Some);
            }
            self.idle_work(1, with.now, with.limits, "too many heads that are not whole")?;
            self.refused = self.refused.wrapping_add(1);
            return self.refuse(key, Code::REQUEST_REJECTED).map(Some);
        }
        self.held_bytes += piece.len();
        self.streams.get_mut(key).expect("it is open").held.extend_from_slice(piece);
        Ok(None)
    }

    /// A section that is held and whole.
    fn held_section(&mut self, key: Key, end: bool, with: &mut With<'_>) -> Result<Event, Error> {
        let stream = self.streams.get_mut(key).expect("it is open");
        stream.is_blocked = false;
        let held = std::mem::take(&mut stream.held);
        self.held_bytes -= held.len();
        self.section(key, &held, end, with)
    }

    /// A whole section. It is of a request, or of an interim or final response, or of trailers.
    fn section(&mut self, key: Key, section: &[u8], end: bool, with: &mut With<'_>) -> Result<Event, Error> {
        let stream = self.streams.get(key).expect("it is open");
        let kind = match (stream.received, self.role) {
            (Side::Head, Role::Server) => Section::Request,
            (Side::Head, Role::Client) => Section::Response,
            _ => Section::Trailers,
        };
        let (bounds, connects) = judged_by(with.limits);
        // Those that require nothing of the table, and so refer to nothing in it.
        let may_recall = kind == Section::Request && section.first() == Some(&0);
        if may_recall && let Some(known) = with.scratch.requests.recall(section, (bounds, connects)) {
            let head = Rc::clone(&known.head);
            self.requested(key, Head { end, ..Head::default() }, head.table(), head.block());
            with.scratch.keep(head, with.table);
            return Ok(Event::Head { key, head: Head { end, ..Head::default() } });
        }
        with.scratch.lent = None;
        let mut arena = Arena::new(&mut with.scratch.room);
        let mut filling = Filling::new(kind, with.table, bounds);
        if self.decoder.decode(key.id, section, &mut arena, &mut filling)? == Outcome::Blocked {
            if let Some(event) = self.hold(key, section, with)? {
                return Ok(event);
            }
            self.streams.get_mut(key).expect("it is open").is_blocked = true;
            return Ok(Event::Blocked { id: key.id });
        }
        let verdict = filling.finish(&mut arena, end, connects);
        with.scratch.count = arena.len();
        if may_recall && let Ok(said) = verdict {
            let Scratch { requests, room, count, .. } = &mut *with.scratch;
            requests.remember(section, (bounds, connects), said, with.table, &room[..*count]);
        }
        match kind {
            Section::Request => self.request_section(key, verdict, with),
            Section::Response => self.response_section(key, end, verdict, with),
            _ => self.trailers_section(key, end, verdict, with),
        }
    }

    fn request_section(&mut self, key: Key, verdict: Result<Head, Verdict>, with: &With<'_>) -> Result<Event, Error> {
        let head = match verdict {
            Ok(head) => head,
            Err(Verdict::TooLarge) => return self.too_large(key),
            Err(Verdict::Malformed(_)) => {
                self.idle_work(1, with.now, with.limits, "too many malformed requests")?;
                return self.refuse(key, Code::MESSAGE_ERROR);
            }
        };
        self.requested(key, head, with.table, with.scratch.block());
        Ok(Event::Head { key, head })
    }

    /// Notes what a request means for its stream.
    #[inline]
    fn requested(&mut self, key: Key, head: Head, table: &HeadTable, block: &[u8]) {
        let stream = self.streams.get_mut(key).expect("it is open");
        stream.is_out = true;
        stream.received = if head.end { Side::Ended } else { Side::Body };
        stream.left = head.length.unwrap_or(u64::MAX);
        stream.is_head = table.method == Method::HEAD;
        stream.is_connect = head.is_connect;
        if !stream.has_said_priority
            && let Some(value) = table.get(block, Known::Priority)
        {
            stream.priority = Priority::of(value);
        }
    }

    /// The head of a request is lost, and what follows it is of no use.
    fn too_large(&mut self, key: Key) -> Result<Event, Error> {
        let stream = self.streams.get_mut(key).expect("it is open");
        stream.is_out = true;
        stream.received = Side::Ended;
        stream.is_lost = true;
        self.decoder.cancel(key.id)?;
        Ok(Event::HeadTooLarge { key })
    }

    fn response_section(
        &mut self,
        key: Key,
        end: bool,
        verdict: Result<Head, Verdict>,
        with: &With<'_>,
    ) -> Result<Event, Error> {
        let head = match verdict {
            Ok(head) => head,
            Err(Verdict::TooLarge) => return self.reset_by(key, Code::EXCESSIVE_LOAD, with),
            Err(Verdict::Malformed(_)) => return self.reset_by(key, Code::MESSAGE_ERROR, with),
        };
        let stream = self.streams.get_mut(key).expect("it is open");
        let status = with.table.status;
        if status.is_informational() {
            // RFC 9114 section 4.5: there is no switching of protocols.
            if end || status == StatusCode::SWITCHING_PROTOCOLS {
                return self.reset_by(key, Code::MESSAGE_ERROR, with);
            }
            self.idle_work(1, with.now, with.limits, "too many interim responses")?;
            return Ok(Event::Head { key, head });
        }
        // What is refused is an answer like others.
        stream.is_connect &= status.is_success();
        let is_bodiless = stream.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = head.length.filter(|_| !stream.is_connect);
        stream.left = if is_bodiless { 0 } else { length.unwrap_or(u64::MAX) };
        if end && stream.left != 0 && stream.left != u64::MAX {
            return self.reset_by(key, Code::MESSAGE_ERROR, with);
        }
        stream.received = if end { Side::Ended } else { Side::Body };
        Ok(Event::Head { key, head })
    }

    fn trailers_section(
        &mut self,
        key: Key,
        end: bool,
        verdict: Result<Head, Verdict>,
        with: &With<'_>,
    ) -> Result<Event, Error> {
        let stream = self.streams.get_mut(key).expect("it is open");
        match verdict {
            Err(Verdict::TooLarge) => self.reset_by(key, Code::EXCESSIVE_LOAD, with),
            Err(Verdict::Malformed(_)) => self.reset_by(key, Code::MESSAGE_ERROR, with),
            Ok(_) if stream.left != u64::MAX && stream.left != 0 => self.reset_by(key, Code::MESSAGE_ERROR, with),
            Ok(_) => {
                stream.received = if end { Side::Ended } else { Side::End };
                Ok(Event::Trailers { key })
            }
        }
    }

    /// Resets a stream for what the peer has done on it.
    fn reset_by(&mut self, key: Key, code: Code, with: &With<'_>) -> Result<Event, Error> {
        self.idle_work(1, with.now, with.limits, "too many streams were reset for their mistakes")?;
        self.end(key)?;
        Ok(Event::Reset { key, code })
    }
}

/// What a request's head is judged by.
#[inline]
fn judged_by(limits: &Limits) -> (Bounds, bool) {
    let Limits { head_bytes_max, field_count_max, connects, .. } = *limits;
    (Bounds { version: Version::HTTP_3, bytes_max: head_bytes_max, count_max: field_count_max }, connects)
}

/// The section that is all of the input, behind the head of its frame: what most requests are.
#[inline]
fn whole_section<'i>(input: &'i [u8], limits: &Limits) -> Option<&'i [u8]> {
    let (head, count) = FrameHead::read(input)?;
    let section = &input[count..];
    let is_whole = head.kind == Kind::Headers && head.length == section.len() as u64;
    (is_whole && section.len() <= limits.section_bytes_max as usize).then_some(section)
}

/// RFC 9114 section 7.1.
const CUT: Error = Error::frame("a stream ends within a frame");
