//! The head of a frame (RFC 6455 section 5.2), read and written.
//!
//! The one idea: a head is judged as far as it has arrived, each byte as soon as it is there, and always in the same
//! order. So what becomes of a stream does not depend on how it was cut into reads.

use super::{Error, Role, WriteError};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(byte: u8) -> Option<Opcode> {
        match byte & 0x0f {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// A head that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) opcode: Opcode,
    pub(crate) is_final: bool,
    /// RSV1, which permessage-deflate sets at the first frame of a compressed message.
    pub(crate) is_compressed: bool,
    pub(crate) payload_bytes: u64,
    pub(crate) key: [u8; 4],
}

/// What decides whether a head may stand where it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Who reads it.
    pub(crate) role: Role,
    /// Whether compression was agreed on.
    pub(crate) has_deflate: bool,
    /// Whether a message has begun and not ended.
    pub(crate) is_in_message: bool,
}

/// Reads the head at the beginning of `bytes`, and how long it is; `None` if its end has not arrived.
#[inline]
pub(crate) fn read(bytes: &[u8], place: Place) -> Result<Option<(Head, usize)>, Error> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let (opcode, is_final) = (Opcode::of(first), first & FINAL != 0);
    let is_compressed = first & RSV1 != 0;
    if first & (RSV2 | RSV3) != 0 {
        return Err(Error::ReservedBit);
    }
    let opcode = opcode.ok_or(Error::Opcode)?;
    match opcode {
        Opcode::Text | Opcode::Binary if is_compressed && !place.has_deflate => return Err(Error::ReservedBit),
        Opcode::Text | Opcode::Binary if place.is_in_message => return Err(Error::MessageUnfinished),
        Opcode::Text | Opcode::Binary => {}
        // RFC 7692 section 6.1: only a message's first frame says so.
        _ if is_compressed => return Err(Error::ReservedBit),
        Opcode::Continuation if !place.is_in_message => return Err(Error::ContinuationUnexpected),
        Opcode::Continuation => {}
        _ if !is_final => return Err(Error::ControlFragmented),
        _ => {}
    }

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let is_masked = second & MASKED != 0;
    match place.role {
        Role::Server if !is_masked => return Err(Error::MaskMissing),
        Role::Client if is_masked => return Err(Error::MaskForbidden),
        _ => {}
    }
    let (payload_bytes, at) = match second & !MASKED {
        LENGTH_16.. if opcode.is_control() => return Err(Error::ControlTooLong),
        LENGTH_16 => {
            let Some(&length) = bytes[2..].first_chunk() else { return Ok(None) };
            let length = u16::from_be_bytes(length);
            if length < LENGTH_16.into() {
                return Err(Error::LengthNotMinimal);
            }
            (length.into(), 4)
        }
        LENGTH_64 => {
            if bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Error::LengthTopBit);
            }
            let Some(&length) = bytes[2..].first_chunk() else { return Ok(None) };
            let length = u64::from_be_bytes(length);
            if length <= u16::MAX.into() {
                return Err(Error::LengthNotMinimal);
            }
            (length, 10)
        }
        length => (length.into(), 2),
    };
    let (key, count) = match bytes[at..].first_chunk() {
        _ if !is_masked => ([0; 4], at),
        Some(&key) => (key, at + 4),
        None => return Ok(None),
    };
    Ok(Some((Head { opcode, is_final, is_compressed, payload_bytes, key }, count)))
}

/// The bytes of a head. Without a key it is a server's.
#[inline]
pub(crate) fn head_bytes(payload_bytes: usize, key: Option<[u8; 4]>) -> usize {
    let length = match payload_bytes {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    };
    length + key.map_or(0, |key| key.len())
}

/// Writes the head of a frame and says how many bytes that took.
#[inline]
pub(crate) fn write(
    opcode: Opcode,
    is_final: bool,
    is_compressed: bool,
    payload_bytes: usize,
    key: Option<[u8; 4]>,
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let count = head_bytes(payload_bytes, key);
    let out = out.get_mut(..count).ok_or(WriteError::Full)?;
    out[0] = opcode as u8 | if is_final { FINAL } else { 0 } | if is_compressed { RSV1 } else { 0 };
    let masked = if key.is_some() { MASKED } else { 0 };
    match payload_bytes {
        0..126 => out[1] = masked | payload_bytes as u8,
        126..0x1_0000 => {
            out[1] = masked | LENGTH_16;
            out[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out[1] = masked | LENGTH_64;
            out[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        out[count - 4..].copy_from_slice(&key);
    }
    Ok(count)
}

const FINAL: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const MASKED: u8 = 0x80;
/// Instead of a length: it follows, in two bytes.
const LENGTH_16: u8 = 126;
/// The same, in eight.
const LENGTH_64: u8 = 127;
