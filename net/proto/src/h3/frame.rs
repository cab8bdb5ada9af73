//! Frames (RFC 9114 section 7), settings, and the numbers of QUIC that both are made of (RFC 9000 section 16).

/// The largest number.
pub(crate) const NUMBER_MAX: u64 = (1 << 62) - 1;

/// The most bytes that a number has.
pub(super) const NUMBER_BYTES_MAX: usize = 8;

/// The most bytes that begin a frame: two numbers.
pub(super) const HEAD_BYTES_MAX: usize = 2 * NUMBER_BYTES_MAX;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    CancelPush,
    Settings,
    PushPromise,
    GoAway,
    MaxPushId,
    /// RFC 9218 section 7.2, of a request.
    PriorityUpdate,
    /// The same of a push.
    PriorityUpdatePush,
    /// One of HTTP/2 that HTTP/3 has not (RFC 9114 section 7.2.8).
    OfHttp2,
    /// Anything else, and what is read over.
    Unknown,
}

impl Kind {
    fn of(number: u64) -> Kind {
        match number {
            kind::DATA => Kind::Data,
            kind::HEADERS => Kind::Headers,
            kind::CANCEL_PUSH => Kind::CancelPush,
            kind::SETTINGS => Kind::Settings,
            kind::PUSH_PROMISE => Kind::PushPromise,
            kind::GOAWAY => Kind::GoAway,
            kind::MAX_PUSH_ID => Kind::MaxPushId,
            kind::PRIORITY_UPDATE => Kind::PriorityUpdate,
            kind::PRIORITY_UPDATE_PUSH => Kind::PriorityUpdatePush,
            0x2 | 0x6 | 0x8 | 0x9 => Kind::OfHttp2,
            _ => Kind::Unknown,
        }
    }
}

pub(super) mod kind {
    pub(crate) const DATA: u64 = 0x0;
    pub(crate) const HEADERS: u64 = 0x1;
    pub(crate) const CANCEL_PUSH: u64 = 0x3;
    pub(crate) const SETTINGS: u64 = 0x4;
    pub(crate) const PUSH_PROMISE: u64 = 0x5;
    pub(crate) const GOAWAY: u64 = 0x7;
    pub(crate) const MAX_PUSH_ID: u64 = 0xd;
    pub(crate) const PRIORITY_UPDATE: u64 = 0xf_0700;
    pub(crate) const PRIORITY_UPDATE_PUSH: u64 = 0xf_0701;
}

/// What a unidirectional stream is for (RFC 9114 section 6.2, RFC 9204 section 4.2).
pub(super) mod uni {
    pub(crate) const CONTROL: u64 = 0x0;
    pub(crate) const PUSH: u64 = 0x1;
    pub(crate) const ENCODER: u64 = 0x2;
    pub(crate) const DECODER: u64 = 0x3;
}

pub(super) mod setting {
    pub(crate) const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
    pub(crate) const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
    pub(crate) const QPACK_BLOCKED_STREAMS: u64 = 0x7;
    /// RFC 9220 section 3.
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
    /// RFC 9297 section 2.1.1.
    pub(crate) const H3_DATAGRAM: u64 = 0x33;
}

/// A frame kind, a setting and a stream type that mean nothing, so that nobody comes to rely on there being none: one of
/// `0x1f * N + 0x21` (RFC 9114 sections 6.2.3, 7.2.4.1 and 7.2.8).
pub(super) const GREASE: u64 = 0x1f * 0x7d3 + 0x21;

/// A number at the beginning, and how many bytes it has.
#[inline]
pub(crate) fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    // What most are: the kinds of frames, and the lengths of short ones.
    if first < 0x40 {
        return Some((first.into(), 1));
    }
    let count = 1 << (first >> 6);
    let all = bytes.get(..count)?;
    Some((all[1..].iter().fold(u64::from(first & 0x3f), |number, &byte| number << 8 | u64::from(byte)), count))
}

/// How many bytes a number takes at least.
#[inline]
pub(crate) fn number_bytes(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Writes a number in so many bytes, which there must be, and which must be enough.
#[inline]
pub(super) fn put_number_in(count: usize, number: u64, out: &mut [u8]) -> usize {
    debug_assert!(number_bytes(number) <= count && number <= NUMBER_MAX);
    let all = (number | u64::from(count.trailing_zeros()) << (8 * count - 2)).to_be_bytes();
    out[..count].copy_from_slice(&all[8 - count..]);
    count
}

/// Writes a number, for which there must be room.
#[inline]
pub(crate) fn put_number(number: u64, out: &mut [u8]) -> usize {
    put_number_in(number_bytes(number), number, out)
}

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: Kind,
    pub(super) length: u64,
}

impl FrameHead {
    /// It, and how many bytes it has.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<(FrameHead, usize)> {
        let (kind, first) = number(bytes)?;
        let (length, second) = number(&bytes[first..])?;
        Some((FrameHead { kind: Kind::of(kind), length }, first + second))
    }
}

/// The beginning of a frame or of a stream, of which bytes come one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    bytes: [u8; HEAD_BYTES_MAX],
    count: u8,
}

impl Beginning {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A frame's head out of what came before and the input, and how much of the input it takes; `None` if it is not
    /// complete, and then all is taken.
    #[inline]
    pub(super) fn frame(&mut self, input: &[u8]) -> Option<(FrameHead, usize)> {
        if self.count == 0
            && let Some(found) = FrameHead::read(input)
        {
            return Some(found);
        }
        self.take(input, FrameHead::read)
    }

    /// The same of a single number.
    pub(crate) fn number(&mut self, input: &[u8]) -> Option<(u64, usize)> {
        self.take(input, number)
    }

    fn take<T>(&mut self, input: &[u8], read: impl Fn(&[u8]) -> Option<(T, usize)>) -> Option<(T, usize)> {
        let before = usize::from(self.count);
        let count = input.len().min(HEAD_BYTES_MAX - before);
        self.bytes[before..before + count].copy_from_slice(&input[..count]);
        let found = read(&self.bytes[..before + count]);
        self.count = if found.is_some() { 0 } else { (before + count) as u8 };
        found.map(|(found, bytes)| (found, bytes - before))
    }
}

/// Where the reading of a stream of frames is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Head(Beginning),
    Payload { kind: Kind, left: u64 },
}

impl Default for At {
    fn default() -> At {
        At::Head(Beginning::default())
    }
}
