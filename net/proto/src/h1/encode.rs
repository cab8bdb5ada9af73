//! Heads and chunk framing, written straight into the caller's slice. Shared by server and client.
//!
//! The one idea: a writer that only ever appends, and fails as a whole. Whoever uses it changes its own state after
//! the last byte has found room, so [`WriteError::Full`] means: a larger slice, please; nothing has happened.

use http::StatusCode;

use crate::head::Known;
use crate::message::{self, Field, WriteError};
use crate::scan::{self, TOKEN};

use super::Again;

/// What goes around a piece of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// So many bytes were written to the slice; they go before the piece.
    pub head: usize,
    /// These go after it.
    pub tail: &'static [u8],
}

/// A body on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No head has been asked for.
    Idle,
    /// The head is to be written.
    Head,
    /// So many bytes of body are still to come.
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

impl Sending {
    /// Frames a piece of `count` bytes.
    pub(crate) fn data(&mut self, count: usize, out: &mut [u8]) -> Result<Frame, WriteError> {
        const PLAIN: Frame = Frame { head: 0, tail: b"" };
        match self {
            Sending::Idle | Sending::Head | Sending::Done => Err(WriteError::NotExpected),
            Sending::Length(left) => {
                *left = left.checked_sub(count as u64).ok_or(WriteError::BodyTooLong)?;
                Ok(PLAIN)
            }
            // An empty chunk would be the last one.
            Sending::Chunked if count > 0 => {
                let mut writer = Writer::new(out);
                writer.hex(count as u64)?;
                writer.put(b"\r\n")?;
                Ok(Frame { head: writer.count, tail: b"\r\n" })
            }
            Sending::Chunked | Sending::UntilClose => Ok(PLAIN),
        }
    }

    /// Ends the body. A short one ends too, as an error. Where there is no room for trailer fields, only behind chunks,
    /// they are left out: RFC 9110 section 6.5 lets anyone on the way do so.
    pub(crate) fn finish<F: Field>(
        &mut self,
        trailers: impl IntoIterator<Item = F>,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let mut writer = Writer::new(out);
        let result = match self {
            Sending::Idle | Sending::Head | Sending::Done => return Err(WriteError::NotExpected),
            Sending::Length(1..) => Err(WriteError::BodyTooShort),
            Sending::Chunked => {
                writer.put(b"0\r\n")?;
                writer.trailers(trailers)?;
                writer.put(b"\r\n")?;
                Ok(writer.count)
            }
            Sending::Length(0) | Sending::UntilClose => Ok(0),
        };
        *self = Sending::Done;
        result
    }
}

/// What the caller's fields said that is the engine's to say.
#[derive(Default)]
pub(crate) struct Overridden {
    pub(crate) close: bool,
    pub(crate) has_upgrade: bool,
    pub(crate) has_date: bool,
    pub(crate) has_server: bool,
    pub(crate) length: Option<u64>,
}

/// No fields.
pub(crate) const NO_FIELDS: [(&[u8], &[u8]); 0] = [];

#[inline(always)]
fn is_name<F: Field>(field: &F) -> bool {
    F::IS_CHECKED || !field.name().is_empty() && scan::all(TOKEN, field.name())
}

#[inline(always)]
fn is_value<F: Field>(field: &F) -> bool {
    F::IS_CHECKED || scan::end_of_text(field.value(), 0) == field.value().len()
}

/// Field lines made once for many responses: each whole, with its line end, or empty. They are trusted. A response that
/// brings a `Server` or `Date` of its own goes without the standing one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    /// `Server: …` and then `Date: …`: side by side, since most responses take both in one copy.
    pub server_and_date: &'a [u8],
    /// How many of these bytes are the first line's.
    pub server_bytes: usize,
    /// What this kind of response has besides; none of the fields that are the engine's.
    pub other: &'static [u8],
    /// Heads that were written with these lines of server and date, so that one that comes again is copied.
    pub again: Option<&'a Again>,
}

/// Appends to a slice.
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    pub(crate) count: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Writer<'o> {
        Writer { out, count: 0 }
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.out[..self.count]
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let end = self.count + bytes.len();
        self.out.get_mut(self.count..end).ok_or(WriteError::Full)?.copy_from_slice(bytes);
        self.count = end;
        Ok(())
    }

    /// `HTTP/1.1 status reason CRLF`. RFC 9110 section 2.5: our version, whatever the peer's.
    #[inline]
    pub(crate) fn status_line(&mut self, status: StatusCode) -> Result<(), WriteError> {
        if status == StatusCode::OK {
            return self.put(b"HTTP/1.1 200 OK\r\n");
        }
        self.put(b"HTTP/1.1 ")?;
        self.put(status.as_str().as_bytes())?;
        self.put(b" ")?;
        self.put(status.canonical_reason().unwrap_or_default().as_bytes())?;
        self.put(b"\r\n")
    }

    #[inline(always)]
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let end = self.count + name.len() + value.len() + 4;
        let line = self.out.get_mut(self.count..end).ok_or(WriteError::Full)?;
        let (head, tail) = line.split_at_mut(name.len());
        head.copy_from_slice(name);
        tail[..2].copy_from_slice(b": ");
        tail[2..2 + value.len()].copy_from_slice(value);
        tail[2 + value.len()..].copy_from_slice(b"\r\n");
        self.count = end;
        Ok(())
    }

    /// Writes the caller's fields, except those that are the engine's to write.
    #[inline]
    pub(crate) fn fields<F: Field>(&mut self, fields: impl IntoIterator<Item = F>) -> Result<Overridden, WriteError> {
        let mut overridden = Overridden::default();
        for field in fields {
            let (name, value) = (field.name(), field.value());
            match Known::of(name) {
                Known::Other if !is_name(&field) => return Err(WriteError::FieldName),
                Known::ContentLength => overridden.length = message::length(value),
                Known::Connection => {
                    overridden.close |= scan::list(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                }
                Known::TransferEncoding | Known::KeepAlive | Known::ProxyConnection => {}
                known => {
                    if !is_value(&field) {
                        return Err(WriteError::FieldValue);
                    }
                    overridden.has_upgrade |= known == Known::Upgrade;
                    overridden.has_date |= known == Known::Date;
                    overridden.has_server |= known == Known::Server;
                    self.field(name, scan::trim(value))?;
                }
            }
        }
        Ok(overridden)
    }

    /// Writes the fields of a trailer section.
    fn trailers<F: Field>(&mut self, fields: impl IntoIterator<Item = F>) -> Result<(), WriteError> {
        for field in fields {
            if !Known::of(field.name()).is_allowed_in_trailers() {
                return Err(WriteError::TrailerField);
            }
            if !is_name(&field) {
                return Err(WriteError::FieldName);
            }
            if !is_value(&field) {
                return Err(WriteError::FieldValue);
            }
            self.field(field.name(), scan::trim(field.value()))?;
        }
        Ok(())
    }

    /// Writes the standing lines that the fields have not replaced.
    #[inline]
    pub(crate) fn standing(&mut self, standing: Standing<'_>, overridden: &Overridden) -> Result<(), WriteError> {
        self.put(standing.other)?;
        let start = if overridden.has_server { standing.server_bytes } else { 0 };
        let end = if overridden.has_date { standing.server_bytes } else { standing.server_and_date.len() };
        self.put(&standing.server_and_date[start..end])
    }

    #[inline]
    pub(crate) fn content_length(&mut self, count: u64) -> Result<(), WriteError> {
        self.put(b"Content-Length: ")?;
        match u32::try_from(count) {
            Ok(count @ ..10_000) => self.short_decimal(count)?,
            Ok(count @ ..100_000_000) => {
                self.short_decimal(count / 10_000)?;
                self.put(&(digits(count % 10_000) | ZEROS).to_le_bytes())?;
            }
            _ => self.decimal(count)?,
        }
        self.put(b"\r\n")
    }

    /// A number below 10,000: its four digits in one word, without the zeros before it.
    #[inline(always)]
    fn short_decimal(&mut self, number: u32) -> Result<(), WriteError> {
        let digits = digits(number);
        let zeros = (digits | 1 << 24).trailing_zeros() / 8;
        let text = (digits | ZEROS) >> (8 * zeros);
        let count = 4 - zeros as usize;
        match self.out.get_mut(self.count..).and_then(<[u8]>::first_chunk_mut) {
            // What is too much is written over.
            Some(room) => *room = text.to_le_bytes(),
            None => return self.put(&text.to_le_bytes()[..count]),
        }
        self.count += count;
        Ok(())
    }

    #[cold]
    fn decimal(&mut self, mut number: u64) -> Result<(), WriteError> {
        let end = self.count + number.checked_ilog10().unwrap_or(0) as usize + 1;
        for digit in self.out.get_mut(self.count..end).ok_or(WriteError::Full)?.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.count = end;
        Ok(())
    }

    fn hex(&mut self, mut number: u64) -> Result<(), WriteError> {
        let mut digits = [0; super::limits::CHUNK_SIZE_DIGITS_MAX as usize];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
            if number == 0 {
                return self.put(&digits[at..]);
            }
        }
    }
}

/// The four digits of a number below 10,000, the first in the lowest byte.
#[inline(always)]
fn digits(number: u32) -> u32 {
    let (high, low) = (number / 100, number % 100);
    u32::from_le_bytes([(high / 10) as u8, (high % 10) as u8, (low / 10) as u8, (low % 10) as u8])
}

/// What makes digits characters.
const ZEROS: u32 = u32::from_le_bytes([b'0'; 4]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in (0..=10_001).chain([16_384, 99_999, 1_000_001, 99_999_999, 100_000_000, 1 << 32, u64::MAX]) {
            let expect = format!("Content-Length: {number}\r\n");
            let mut out = [0; 40];
            for room in 0..out.len() {
                let mut writer = Writer::new(&mut out[..room]);
                let result = writer.content_length(number);
                assert_eq!(result.is_ok(), room >= expect.len(), "{number} in {room} bytes");
                if result.is_ok() {
                    assert_eq!(&out[..expect.len()], expect.as_bytes());
                }
            }
        }
    }
}
