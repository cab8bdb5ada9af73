//! Frames (RFC 9113 sections 4 and 6): nine bytes, and what follows.

use super::error::Code;

/// Length of what begins every frame.
pub(super) const HEAD_BYTES: usize = 9;

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// RFC 9218 section 7.1.
    pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
}

pub(super) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441 section 3.
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218 section 2.1.
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// The largest window (RFC 9113 section 6.9.1), and the largest stream.
pub(super) const NUMBER_MAX: u32 = 0x7fff_ffff;

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    #[inline]
    pub(super) fn read(input: &[u8]) -> Option<FrameHead> {
        let &[high, middle, low, kind, flags, a, b, c, d] = input.first_chunk::<HEAD_BYTES>()?;
        Some(FrameHead {
            length: u32::from_be_bytes([0, high, middle, low]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]) & NUMBER_MAX,
        })
    }

    #[inline]
    pub(super) fn write(self, out: &mut [u8]) {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        let [a, b, c, d] = self.stream.to_be_bytes();
        out[..HEAD_BYTES].copy_from_slice(&[high, middle, low, self.kind, self.flags, a, b, c, d]);
    }

    #[inline]
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Four bytes as a number.
#[inline]
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A frame whose payload is at most a few numbers: written whole, or not at all.
pub(super) fn put(out: &mut [u8], kind: u8, flags: u8, stream: u32, payload: &[&[u8]]) -> Option<usize> {
    let length = payload.iter().map(|part| part.len()).sum();
    let frame = out.get_mut(..HEAD_BYTES + length)?;
    FrameHead { length, kind, flags, stream }.write(frame);
    let mut at = HEAD_BYTES;
    for part in payload {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Some(at)
}

pub(super) fn put_reset(out: &mut [u8], stream: u32, code: Code) -> Option<usize> {
    put(out, kind::RST_STREAM, 0, stream, &[&code.0.to_be_bytes()])
}

pub(super) fn put_window(out: &mut [u8], stream: u32, increment: u32) -> Option<usize> {
    put(out, kind::WINDOW_UPDATE, 0, stream, &[&increment.to_be_bytes()])
}
