//! What answers were written as: those that say the same are not encoded anew.
//!
//! The one idea: most answers of a server have fields that others had, and comparing headers costs a tenth of compressing them. It
//! helps where the client grants no table of fields; with one, a field that was written before takes a byte.

use bytes::Bytes;
use http::StatusCode;
use proto::h3::Standing;

use crate::Headers;
use crate::limits::H3_ANSWERS_KNOWN_MAX;

/// The answers of all connections of a server on its shard, as they were written in this second.
#[derive(Debug, Default)]
pub(in crate::conn) struct Answers {
    /// None until one is asked for.
    known: Vec<Known>,
    /// What all of them say beside their headers.
    date: Option<[u8; DATE_BYTES]>,
}

#[derive(Debug, Default)]
struct Known {
    status: StatusCode,
    headers: Headers,
    written: Written,
}

/// What an answer was written as; empty while that is not known.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Its field section, but for its length.
    pub(super) section: Vec<u8>,
    /// All of one, whose content was written with it and has so many bytes.
    whole: Bytes,
    content_bytes: usize,
}

impl Answers {
    /// What such an answer was written as in this second. What has the same place gives way.
    pub(super) fn of(&mut self, status: StatusCode, headers: &Headers, standing: Standing<'_>) -> &mut Written {
        let date = standing.date.first_chunk();
        if self.known.is_empty() || self.date.as_ref() != date {
            self.begin_second(date);
        }
        let place = headers.mark().wrapping_add(status.as_u16().into()) % H3_ANSWERS_KNOWN_MAX;
        let known = &mut self.known[place];
        if known.status != status || !known.headers.is_same(headers) {
            known.written.clear();
            known.status = status;
            known.headers.clone_from(headers);
        }
        &mut known.written
    }

    #[cold]
    fn begin_second(&mut self, date: Option<&[u8; DATE_BYTES]>) {
        self.known.resize_with(H3_ANSWERS_KNOWN_MAX, Known::default);
        self.known.iter_mut().for_each(|known| known.written.clear());
        self.date = date.copied();
    }
}

/// Every date has this length (RFC 9110 section 5.6.7).
const DATE_BYTES: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

impl Written {
    fn clear(&mut self) {
        self.section.clear();
        self.whole = Bytes::new();
    }

    /// What goes before a content of so many bytes.
    #[inline]
    pub(super) fn beginning(&self, content_bytes: usize) -> Option<&[u8]> {
        let is_known = self.content_bytes == content_bytes && !self.whole.is_empty();
        is_known.then(|| &self.whole[..self.whole.len() - content_bytes])
    }

    /// All of it, with this content.
    #[inline]
    pub(super) fn with(&self, content: &[u8]) -> Option<Bytes> {
        let beginning = self.beginning(content.len())?;
        (self.whole[beginning.len()..] == *content).then(|| self.whole.clone())
    }

    /// Notes what it was written as with a content of so many bytes, unless its section is one that is not kept.
    pub(super) fn keep(&mut self, whole: &Bytes, content_bytes: usize) {
        if !self.section.is_empty() {
            self.whole = whole.clone();
            self.content_bytes = content_bytes;
        }
    }
}

#[cfg(test)]
mod tests;
