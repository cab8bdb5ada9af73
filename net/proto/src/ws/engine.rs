//! One connection, of either end: frames in, pieces of messages out, and what must be answered by itself.
//!
//! The one idea: a frame is never held. Its payload is unmasked where it lies and reported as it comes, as a piece of its
//! message; only a head that the input ends within and the 125 bytes of a control frame are gathered here. So all
//! input is consumed, except that a compressed message is taken a piece at a time.
//!
//! The close is a hand-shake (RFC 6455 section 7): each end sends one, and nothing after it. Who was first does not matter;
//! what is still to come is what [`Engine::wait`] says.

use super::deflate::{Contexts, Deflater, Inflater};
use super::frame::{self, Opcode, Place};
use super::limits::{CONTROL_BYTES_MAX, HEAD_BYTES_MAX, INFLATER_INPUT_BYTES_MAX};
use super::utf8::Utf8;
use super::{Agreed, CloseCode, Error, Event, Kind, Limits, Mask, Piece, Role, Step, Terms, Wait};

/// The engine of one connection.
///
/// ```
/// use shardwise_proto::ws::{Contexts, Engine, Event, Kind, Limits, Role};
///
/// let (mut contexts, limits) = (Contexts::new(), Limits::default());
/// let mut server = Engine::new(Role::Server, None);
///
/// let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// let step = server.receive(&mut input, &mut contexts, &limits).unwrap();
/// let Event::Data(piece) = step.event else { panic!() };
/// assert!(piece.kind == Kind::Text && piece.is_first && piece.is_final);
/// assert_eq!((server.bytes(&piece, &input), step.consumed), (&b"Hello"[..], input.len()));
///
/// let mut out = [0; 16];
/// let count = server.message(Kind::Text, b"Hello", &mut out).unwrap();
/// assert_eq!(&out[..count], b"\x81\x05Hello");
/// ```
#[derive(Debug)]
pub struct Engine {
    pub(super) role: Role,
    phase: Phase,
    // The frame at hand.
    head: [u8; HEAD_BYTES_MAX],
    head_count: u8,
    opcode: Opcode,
    is_final: bool,
    mask: Mask,
    payload_left: u64,
    /// So many bytes of the input that will be shown again are unmasked.
    unmasked: usize,
    /// The payload of the last control frame, and how much of it has arrived.
    control: [u8; CONTROL_BYTES_MAX],
    control_count: u8,
    // The messages at hand, and their contexts.
    incoming: Option<Incoming>,
    pub(super) inflater: Option<Box<Inflater>>,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) deflater: Option<Box<Deflater>>,
    pub(super) agreed: Option<Agreed>,
    // What is to be written.
    pub(super) key: Option<[u8; 4]>,
    /// The latest ping: RFC 6455 section 5.5.3 lets the others go unanswered.
    pub(super) pong: [u8; CONTROL_BYTES_MAX],
    pub(super) pong_count: Option<u8>,
    pub(super) close: Option<Option<CloseCode>>,
    // How far the close is.
    pub(super) is_close_sent: bool,
    is_close_received: bool,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Payload,
    Control,
    /// A close was received, or something was wrong: nothing is read any more.
    Closed,
}

/// A message that arrives.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    kind: Kind,
    is_compressed: bool,
    /// Whether none of it has been reported.
    is_first: bool,
    fragment_count: u32,
    bytes: u64,
    utf8: Utf8,
}

/// A message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) kind: Kind,
    pub(super) is_compressed: bool,
    /// Whether it has had a frame.
    pub(super) is_begun: bool,
}

impl Engine {
    /// The engine of a connection whose hand-shake has just ended; `agreed` is what it came to about compression.
    pub fn new(role: Role, agreed: Option<Agreed>) -> Engine {
        Engine {
            role,
            phase: Phase::Head,
            head: [0; HEAD_BYTES_MAX],
            head_count: 0,
            opcode: Opcode::Continuation,
            is_final: false,
            mask: Mask::NONE,
            payload_left: 0,
            unmasked: 0,
            control: [0; CONTROL_BYTES_MAX],
            control_count: 0,
            incoming: None,
            inflater: None,
            outgoing: None,
            deflater: None,
            agreed,
            key: None,
            pong: [0; CONTROL_BYTES_MAX],
            pong_count: None,
            close: None,
            is_close_sent: false,
            is_close_received: false,
            has_failed: false,
        }
    }

    /// Looks at all input not yet consumed and says what comes first in it; unmasks it in place. To be called until it
    /// says [`Event::NeedMore`], also when nothing of the input is left: what a compressed message inflates to may
    /// come in several pieces.
    ///
    /// Everything is consumed, except behind a piece: that must be shown again, as it is now. After an error, or a
    /// close, all input is dropped, and [`transmit`](Self::transmit) has something to write.
    #[inline]
    pub fn receive(&mut self, input: &mut [u8], contexts: &mut Contexts, limits: &Limits) -> Result<Step, Error> {
        let result = self.step(input, contexts, limits);
        if let Err(error) = result {
            self.phase = Phase::Closed;
            self.has_failed = true;
            self.close = Some(Some(error.code()));
        }
        result
    }

    #[inline]
    fn step(&mut self, input: &mut [u8], contexts: &mut Contexts, limits: &Limits) -> Result<Step, Error> {
        if self.incoming.is_none() && self.inflater.is_some() {
            self.release_inflater(contexts);
        }
        let mut at = 0;
        loop {
            let event = match self.phase {
                Phase::Closed => return Ok(Step { consumed: input.len(), event: Event::Closed }),
                Phase::Head => match self.receive_head(&input[at..])? {
                    Some(count) => {
                        at += count;
                        self.begin_frame(contexts, limits)?;
                        continue;
                    }
                    None => return Ok(Step { consumed: input.len(), event: Event::NeedMore }),
                },
                Phase::Control => self.receive_control(input, &mut at)?,
                Phase::Payload => match self.incoming {
                    Some(Incoming { is_compressed: true, .. }) => self.receive_compressed(input, &mut at, limits)?,
                    _ => self.receive_plain(input, &mut at)?,
                },
            };
            match event {
                Some(event) => return Ok(Step { consumed: at, event }),
                // The frame has ended without anything to say.
                None if self.phase == Phase::Head => {}
                None => return Ok(Step { consumed: at, event: Event::NeedMore }),
            }
        }
    }

    /// Reads a head, from the input if it is all there. Says how many bytes were new.
    #[inline]
    fn receive_head(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let place =
            Place { role: self.role, has_deflate: self.agreed.is_some(), is_in_message: self.incoming.is_some() };
        let (head, count) = if self.head_count == 0
            && let Some(whole) = frame::read(input, place)?
        {
            whole
        } else {
            let mut count = 0;
            loop {
                let Some(&byte) = input.get(count) else { return Ok(None) };
                self.head[self.head_count as usize] = byte;
                self.head_count += 1;
                count += 1;
                // Of fourteen bytes at the most, so there is room.
                if let Some((head, _)) = frame::read(&self.head[..self.head_count as usize], place)? {
                    break (head, count);
                }
            }
        };
        self.head_count = 0;
        self.opcode = head.opcode;
        self.is_final = head.is_final;
        self.mask = Mask::new(head.key);
        self.payload_left = head.payload_bytes;
        if let Opcode::Text | Opcode::Binary = head.opcode {
            self.incoming = Some(Incoming {
                kind: if head.opcode == Opcode::Text { Kind::Text } else { Kind::Binary },
                is_compressed: head.is_compressed,
                is_first: true,
                fragment_count: 0,
                bytes: 0,
                utf8: Utf8::default(),
            });
        }
        Ok(Some(count))
    }

    /// A head is complete: what its frame is, and whether it is within the limits.
    #[inline]
    fn begin_frame(&mut self, contexts: &mut Contexts, limits: &Limits) -> Result<(), Error> {
        let (Opcode::Continuation | Opcode::Text | Opcode::Binary, Some(incoming)) = (self.opcode, &mut self.incoming)
        else {
            self.control_count = 0;
            self.phase = Phase::Control;
            return Ok(());
        };
        if self.payload_left > limits.frame_bytes_max {
            return Err(Error::FrameTooLong);
        }
        if incoming.fragment_count == limits.fragment_count_max {
            return Err(Error::TooManyFragments);
        }
        incoming.fragment_count += 1;
        match (incoming.is_compressed, self.agreed) {
            (true, Some(agreed)) => {
                if self.inflater.is_none() {
                    self.inflater = Some(contexts.lease_inflater(agreed.receiving));
                }
            }
            _ => {
                incoming.bytes = incoming.bytes.saturating_add(self.payload_left);
                if incoming.bytes > limits.message_bytes_max {
                    return Err(Error::MessageTooLong);
                }
            }
        }
        self.phase = Phase::Payload;
        Ok(())
    }

    /// A piece of a frame of an uncompressed message: what has arrived of it.
    #[inline]
    fn receive_plain(&mut self, input: &mut [u8], at: &mut usize) -> Result<Option<Event>, Error> {
        let count = self.payload_left.min((input.len() - *at) as u64) as usize;
        let range = *at..*at + count;
        *at = range.end;
        self.payload_left -= count as u64;
        let bytes = &mut input[range.clone()];
        self.mask.apply(bytes);
        if let Some(incoming) = &mut self.incoming
            && incoming.kind == Kind::Text
        {
            incoming.utf8.push(bytes)?;
        }
        self.piece(range, false, self.payload_left == 0)
    }

    /// The same of a compressed message: what some of it inflates to.
    fn receive_compressed(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Event>, Error> {
        let (Some(incoming), Some(inflater), Some(agreed)) = (&mut self.incoming, &mut self.inflater, self.agreed)
        else {
            unreachable!("a compressed message has a context, which was agreed on");
        };
        let is_text = incoming.kind == Kind::Text;
        loop {
            let count = self.payload_left.min((input.len() - *at) as u64) as usize;
            let part = &mut input[*at..*at + count.min(INFLATER_INPUT_BYTES_MAX)];
            if self.unmasked < part.len() {
                self.mask.apply(&mut part[self.unmasked..]);
                self.unmasked = part.len();
            }
            // One more than there may be, to see that there is one.
            let left = limits.message_bytes_max.saturating_sub(incoming.bytes);
            let (taken, piece) = inflater.inflate(part, left.saturating_add(1).try_into().unwrap_or(usize::MAX))?;
            *at += taken;
            self.payload_left -= taken as u64;
            self.unmasked = self.unmasked.saturating_sub(taken);
            incoming.bytes += piece.len() as u64;
            if is_text {
                let within = inflater.piece(piece.clone());
                incoming.utf8.push(&within[..within.len().min(left.try_into().unwrap_or(usize::MAX))])?;
            }
            if piece.len() as u64 > left {
                return Err(Error::MessageTooLong);
            }
            let is_end = self.payload_left == 0 && !inflater.has_more();
            if is_end && self.is_final {
                inflater.end(agreed.receiving.takeover)?;
            }
            // Blocks without content are read over.
            if !piece.is_empty() || is_end || taken == 0 {
                return self.piece(piece, true, is_end);
            }
        }
    }

    /// Reports a piece, if there is something to report; `is_end`: it is the frame's last.
    #[inline]
    fn piece(
        &mut self,
        range: std::ops::Range<usize>,
        is_inflated: bool,
        is_end: bool,
    ) -> Result<Option<Event>, Error> {
        let Some(incoming) = &mut self.incoming else { unreachable!("a piece is of a message") };
        let (kind, is_final) = (incoming.kind, is_end && self.is_final);
        if is_end {
            self.phase = Phase::Head;
        }
        if range.is_empty() && !is_final {
            return Ok(None);
        }
        let is_first = std::mem::take(&mut incoming.is_first);
        if is_final {
            incoming.utf8.end()?;
            self.incoming = None;
        }
        Ok(Some(Event::Data(Piece { kind, range, is_inflated, is_first, is_final })))
    }

    fn receive_control(&mut self, input: &mut [u8], at: &mut usize) -> Result<Option<Event>, Error> {
        let count = self.payload_left.min((input.len() - *at) as u64) as usize;
        let start = self.control_count as usize;
        // A control frame has 125 bytes at the most: its head was judged.
        let part = &mut self.control[start..start + count];
        part.copy_from_slice(&input[*at..*at + count]);
        self.mask.apply(part);
        *at += count;
        self.control_count += count as u8;
        self.payload_left -= count as u64;
        if self.payload_left > 0 {
            return Ok(None);
        }
        self.phase = Phase::Head;
        match self.opcode {
            Opcode::Ping => {
                self.pong = self.control;
                self.pong_count = Some(self.control_count);
                Ok(Some(Event::Ping))
            }
            Opcode::Pong => Ok(Some(Event::Pong)),
            _ => self.receive_close().map(Some),
        }
    }

    /// RFC 6455 section 5.5.1. The answer has the same code.
    fn receive_close(&mut self) -> Result<Event, Error> {
        let code = match self.control() {
            [] => None,
            [_] => return Err(Error::CloseLength),
            [high, low, reason @ ..] => {
                let code = CloseCode::new(u16::from_be_bytes([*high, *low])).ok_or(Error::CloseCode)?;
                std::str::from_utf8(reason).map_err(|_| Error::CloseReason)?;
                Some(code)
            }
        };
        self.phase = Phase::Closed;
        self.is_close_received = true;
        self.pong_count = None;
        if !self.is_close_sent {
            self.close = Some(code);
        }
        Ok(Event::Close(code))
    }

    /// The bytes of a piece that was just reported, with the input that was shown, whole.
    ///
    /// # Panics
    ///
    /// If `input` is another and ends before the piece does.
    #[inline]
    pub fn bytes<'b>(&'b self, piece: &Piece, input: &'b [u8]) -> &'b [u8] {
        match &self.inflater {
            Some(inflater) if piece.is_inflated => inflater.piece(piece.range.clone()),
            _ => &input[piece.range.clone()],
        }
    }

    /// The payload of the control frame that was just reported.
    pub fn control(&self) -> &[u8] {
        &self.control[..self.control_count as usize]
    }

    /// The words in which the close that was just reported gives its reason. Not for the end user's eyes.
    pub fn reason(&self) -> &str {
        let reason = self.control().get(2..).unwrap_or_default();
        std::str::from_utf8(reason).unwrap_or_default()
    }

    /// The peer will send no more. An error if it has not said so.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        let was_expected = self.is_close_received || self.has_failed;
        self.phase = Phase::Closed;
        self.has_failed |= !was_expected;
        if was_expected { Ok(()) } else { Err(Error::Incomplete) }
    }

    /// What the connection waits for, besides what the application wants. Where it says that time is limited, the limit
    /// is the caller's.
    pub fn wait(&self) -> Wait {
        match (self.is_close_sent, self.is_close_received) {
            _ if self.wants_transmit() => Wait::Transmit,
            _ if self.has_failed => Wait::HangUp,
            (false, _) => Wait::Nothing,
            (true, false) => Wait::Close,
            // RFC 6455 section 7.1.1: the server is the first to go, so that the client's ports are not used up.
            (true, true) => match self.role {
                Role::Server => Wait::HangUp,
                Role::Client => Wait::End,
            },
        }
    }

    /// Whether nothing of a message, and of no frame, is there: what distinguishes an idle connection's time-out.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Head && self.head_count == 0 && self.incoming.is_none()
    }

    /// The last message has ended, and all of it was seen.
    fn release_inflater(&mut self, contexts: &mut Contexts) {
        let keeps = self.agreed.is_some_and(|Agreed { receiving: Terms { takeover, .. }, .. }| takeover);
        if !keeps && let Some(inflater) = self.inflater.take() {
            contexts.give_inflater(inflater);
        }
    }
}

// What an idle connection costs here. Half of it are the two control frames.
const _: () = assert!(size_of::<Engine>() <= 448);
