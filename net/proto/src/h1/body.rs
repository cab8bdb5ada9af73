//! Where a body ends: by length, by chunks, or with the connection. Consumed as it comes, however it was cut.
//!
//! The one idea: framing is a machine that eats one byte at a time, and data is passed by in bulk as a range of the
//! input. Only a trailer section with fields in it must be contiguous, like a head, and is read by the same scanner.

use std::ops::Range;

use super::lines::{Progress, Section};
use super::{Body, Error, Limits};
use crate::head::Fields;
use crate::scan::{self, TEXT, TOKEN};

/// The decoder of one body. Reused for every message of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Digits of the chunk size at hand.
    digits: u8,
    /// Bytes of chunk extensions so far, over the whole body.
    extension_bytes: u16,
    /// Bytes left of the body, or of the chunk at hand.
    left: u64,
}

/// What the decoder found, and how much of the input that took.
pub(crate) enum Piece {
    /// The input is used up, or the trailer section is not complete.
    NeedMore,
    Data(Range<usize>),
    /// The body has ended; the range is its trailer section.
    End(Range<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    // A chunk line, RFC 9112 sections 7.1 and 7.1.1. White space is "bad" there and read over, where the grammar has it.
    Size,
    SizeSpace,
    ExtensionStart,
    ExtensionName,
    ExtensionNameSpace,
    ValueStart,
    Value,
    ValueSpace,
    Quoted,
    QuotedPair,
    QuotedEnd,
    LineFeed,
    // Its data, and what follows.
    ChunkData,
    ChunkEnd,
    ChunkEndLineFeed,
    TrailersStart,
    Trailers,
    TrailersLineFeed,
    Ended,
}

impl Decoder {
    pub(crate) fn new(body: Body) -> Decoder {
        let (state, left) = match body {
            Body::None => (State::Ended, 0),
            Body::Length(count) => (State::Length, count),
            Body::Chunked => (State::Size, 0),
            Body::UntilClose => (State::UntilClose, 0),
        };
        Decoder { state, digits: 0, extension_bytes: 0, left }
    }

    /// Bytes still to come, if the body declared its length.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.left),
            State::Ended => Some(0),
            _ => None,
        }
    }

    /// The connection has ended. Whether the body may have ended with it.
    pub(crate) fn end_of_input(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Ended;
        }
        self.state == State::Ended
    }

    /// Takes in what it can of `input`, up to the first piece of data or the end.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
        progress: &mut Progress,
        trailers: &mut Fields,
        limits: &Limits,
    ) -> Result<(usize, Piece), Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Ended => return Ok((at, Piece::End(at..at))),
                _ if at == input.len() => return Ok((at, Piece::NeedMore)),
                State::UntilClose => return Ok((input.len(), Piece::Data(at..input.len()))),
                State::Length | State::ChunkData => {
                    let count = self.left.min((input.len() - at) as u64);
                    self.left -= count;
                    if self.left == 0 {
                        self.state = if self.state == State::Length { State::Ended } else { State::ChunkEnd };
                    }
                    let end = at + count as usize;
                    return Ok((end, Piece::Data(at..end)));
                }
                State::TrailersStart if input[at] != b'\r' => {
                    *progress = Progress::default();
                    // The table may be another than the head's, and hold those of another message.
                    trailers.clear();
                    self.state = State::Trailers;
                }
                State::Trailers => {
                    let Some(count) = Section::trailer(limits).read(&input[at..], progress, trailers)? else {
                        return Ok((at, Piece::NeedMore));
                    };
                    self.state = State::Ended;
                    return Ok((at + count, Piece::End(at..at + count)));
                }
                _ => {
                    self.state = self.next(input[at], limits)?;
                    at += 1;
                }
            }
        }
    }

    /// One byte of framing.
    fn next(&mut self, byte: u8, limits: &Limits) -> Result<State, Error> {
        match (self.state, byte) {
            (State::LineFeed, b'\n') if self.left == 0 => Ok(State::TrailersStart),
            (State::LineFeed, b'\n') => Ok(State::ChunkData),
            (State::ChunkEndLineFeed, b'\n') => {
                self.digits = 0;
                Ok(State::Size)
            }
            (State::TrailersLineFeed, b'\n') => Ok(State::Ended),
            (State::LineFeed | State::ChunkEndLineFeed | State::TrailersLineFeed, _) => Err(Error::BareCr),
            (_, b'\n') => Err(Error::BareLf),
            (State::ChunkEnd, b'\r') => Ok(State::ChunkEndLineFeed),
            (State::ChunkEnd, _) => Err(Error::ChunkEnd),
            (State::TrailersStart, _) => Ok(State::TrailersLineFeed),
            (State::Size, _) => self.size(byte),
            _ => {
                if self.extension_bytes == limits.chunk_extension_bytes_max {
                    return Err(Error::ChunkExtensionsTooLong);
                }
                self.extension_bytes += 1;
                self.extension(byte).ok_or(Error::ChunkExtension)
            }
        }
    }

    /// `chunk-size = 1*HEXDIG`, and what may follow it.
    fn size(&mut self, byte: u8) -> Result<State, Error> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::LineFeed),
            b';' if self.digits > 0 => return Ok(State::ExtensionStart),
            b' ' | b'\t' if self.digits > 0 => return Ok(State::SizeSpace),
            _ => return Err(Error::ChunkSize),
        };
        // The bound on digits is what keeps the size within its 64 bits.
        if self.digits == super::limits::CHUNK_SIZE_DIGITS_MAX {
            return Err(Error::ChunkSize);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`; nothing if `byte` cannot stand there.
    fn extension(&self, byte: u8) -> Option<State> {
        let is_space = byte == b' ' || byte == b'\t';
        let is_token = scan::is(TOKEN, byte);
        match self.state {
            State::SizeSpace if is_space => Some(State::SizeSpace),
            State::ExtensionStart if is_space => Some(State::ExtensionStart),
            State::ExtensionStart | State::ExtensionName if is_token => Some(State::ExtensionName),
            State::ExtensionName | State::ExtensionNameSpace if is_space => Some(State::ExtensionNameSpace),
            State::ExtensionName | State::ExtensionNameSpace if byte == b'=' => Some(State::ValueStart),
            State::ValueStart if is_space => Some(State::ValueStart),
            State::ValueStart if byte == b'"' => Some(State::Quoted),
            State::ValueStart | State::Value if is_token => Some(State::Value),
            State::Value | State::ValueSpace | State::QuotedEnd if is_space => Some(State::ValueSpace),
            State::Quoted if byte == b'"' => Some(State::QuotedEnd),
            State::Quoted if byte == b'\\' => Some(State::QuotedPair),
            State::Quoted | State::QuotedPair if scan::is(TEXT, byte) => Some(State::Quoted),
            State::ExtensionName | State::Value | State::QuotedEnd if byte == b'\r' => Some(State::LineFeed),
            State::SizeSpace | State::ExtensionName | State::ExtensionNameSpace if byte == b';' => {
                Some(State::ExtensionStart)
            }
            State::Value | State::ValueSpace | State::QuotedEnd if byte == b';' => Some(State::ExtensionStart),
            _ => None,
        }
    }
}
