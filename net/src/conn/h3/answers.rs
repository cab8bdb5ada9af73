//! What answers were written as: those that say the same are not encoded anew.
//!
//! The one idea: most answers of a server have fields that others had, and comparing headers costs a tenth of compressing them. It
//! helps where the client grants no table of fields; with one, a field that was written before takes a byte.

use http::StatusCode;
use proto::h3::Standing;

use crate::Headers;
use crate::limits::H3_ANSWERS_KNOWN_MAX;

/// The field sections of answers, but for their length: of all connections of a server on its shard.
#[derive(Debug, Default)]
pub(in crate::conn) struct Answers {
    /// None until one is asked for.
    known: Vec<Known>,
    /// What all of them say beside their headers.
    date: Vec<u8>,
}

#[derive(Debug, Default)]
struct Known {
    status: StatusCode,
    headers: Headers,
    /// Empty while it is not known.
    section: Vec<u8>,
}

impl Answers {
    /// Where the section of such an answer is kept: empty if none was written in this second. What has the same place gives way.
    pub(super) fn section(&mut self, status: StatusCode, headers: &Headers, standing: Standing<'_>) -> &mut Vec<u8> {
        if self.date != standing.date || self.known.is_empty() {
            self.known.resize_with(H3_ANSWERS_KNOWN_MAX, Known::default);
            self.known.iter_mut().for_each(|known| known.section.clear());
            self.date.clear();
            self.date.extend_from_slice(standing.date);
        }
        let place = headers.mark().wrapping_add(status.as_u16().into()) % self.known.len();
        let known = &mut self.known[place];
        if known.status != status || !known.headers.is_same(headers) {
            known.section.clear();
            known.status = status;
            known.headers.clone_from(headers);
        }
        &mut known.section
    }
}

#[cfg(test)]
mod tests;
