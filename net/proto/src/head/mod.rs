//! The head table: one contiguous head block, indexed. Shared by all HTTP versions.
//!
//! The one idea: a head stays where its bytes are (received in place, or decoded into an arena) and the table holds
//! only positions. The table is leased for an exchange and used again: [`HeadTable::clear`] keeps its capacity, so in
//! the steady state nothing is allocated. Accessors take the block, since the table does not own it; a table is only
//! ever asked about the block that filled it. Parsing and judging are left to the engines.

mod known;
mod shared;

pub use known::Known;
pub use shared::KnownHead;

use std::rc::Rc;

use http::{Method, StatusCode, Version};

use crate::h1::Limits;
use crate::h1::framing::Deciding;
use crate::h1::server::Verdict;

/// The index of one head: the request or status line, the header fields and, at the end, the trailer fields.
#[derive(Clone, Debug)]
pub struct HeadTable {
    pub(crate) method: Method,
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) fields: Fields,
    pub(crate) trailers: Fields,
    pub(crate) last: Last,
}

/// The last head of a request over HTTP/1.1 that a table has indexed. Clients send the same fields with many of their requests,
/// and often the same request, and the tables of a shard go from one request to the next: comparing the bytes costs a tenth
/// of parsing them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    /// Empty if the table's fields are not its.
    block: Vec<u8>,
    /// Where its header section starts.
    section: u16,
    /// What the fields mean for the connection, once that has been asked.
    pub(crate) meaning: Option<Deciding>,
    /// What is made of the whole, while the table holds its request line too.
    verdict: Option<Verdict>,
    /// How often it has come again, up to [`SHARED_TIMES`].
    times: u8,
    /// A head that requests share: this one, if it has come so often; else one of before, whose memory is used again.
    shared: Option<Rc<KnownHead>>,
}

impl HeadTable {
    /// An empty table. The first heads make it grow; [`clear`](Self::clear) keeps what it has.
    pub fn new() -> HeadTable {
        HeadTable {
            method: Method::GET,
            status: StatusCode::OK,
            version: Version::HTTP_11,
            target: Target::default(),
            fields: Fields::default(),
            trailers: Fields::default(),
            last: Last::default(),
        }
    }

    /// Forgets the head and keeps the capacity.
    pub fn clear(&mut self) {
        self.method = Method::GET;
        self.status = StatusCode::OK;
        self.version = Version::HTTP_11;
        self.target = Target::default();
        self.clear_fields();
        self.trailers.clear();
    }

    /// Indexes what another does, in a block with the same bytes.
    pub(crate) fn copy(&mut self, other: &HeadTable) {
        self.clear();
        self.method.clone_from(&other.method);
        (self.status, self.version, self.target) = (other.status, other.version, other.target);
        self.fields.list.extend_from_slice(&other.fields.list);
        self.fields.present = other.fields.present;
    }

    /// Forgets the header fields alone.
    pub(crate) fn clear_fields(&mut self) {
        self.fields.clear();
        self.last.block.clear();
        self.last.meaning = None;
        self.last.verdict = None;
        self.last.times = 0;
    }

    /// If the input begins with the head that this table has indexed before, that is in the table, and this is its length and
    /// what was made of it. Else another is to be read.
    #[inline(always)]
    pub(crate) fn again(&mut self, input: &[u8], limits: &Limits) -> Option<(usize, Verdict)> {
        let verdict = self.last.verdict?;
        let (length, target) = (self.last.block.len(), self.target.whole);
        let is_same = input.get(..length) == Some(&self.last.block);
        let is_within = length <= usize::from(limits.head_bytes_max)
            && self.fields.len() <= usize::from(limits.field_count_max)
            && target.len <= limits.target_bytes_max
            && target.start <= u16::from(limits.method_bytes_max) + 1;
        if !is_same || !is_within {
            // Whoever reads a request line into the table changes it before the line is whole.
            self.last.verdict = None;
            return None;
        }
        if self.last.times < SHARED_TIMES {
            self.comes_again();
        }
        Some((length, verdict))
    }

    #[cold]
    fn comes_again(&mut self) {
        self.last.times += 1;
        if self.last.times == SHARED_TIMES {
            let mut shared = self.last.shared.take().unwrap_or_default();
            KnownHead::fill(&mut shared, &self.last.block, self);
            self.last.shared = Some(shared);
        }
    }

    /// The head that has just come over HTTP/1.1, if it keeps coming: then its requests share it, and need neither their bytes nor a
    /// table.
    #[inline]
    pub fn shared(&self) -> Option<&Rc<KnownHead>> {
        match self.last {
            // Without a verdict the table holds another request line.
            Last { verdict: Some(_), times: SHARED_TIMES, ref shared, .. } => shared.as_ref(),
            _ => None,
        }
    }

    /// Begins a header section at `start`. If it is the one that this table has indexed before, its fields are there, and it
    /// ends where this says; else there are none.
    #[inline]
    pub(crate) fn section_again(&mut self, input: &[u8], start: usize, limits: &Limits) -> Option<usize> {
        let known = self.last.block.get(usize::from(self.last.section)..).unwrap_or_default();
        let end = start + known.len();
        let is_same = !known.is_empty() && input.get(start..end) == Some(known);
        let before = std::mem::replace(&mut self.last.section, start as u16);
        if !is_same
            || end > usize::from(limits.head_bytes_max)
            || self.fields.len() > usize::from(limits.field_count_max)
        {
            self.clear_fields();
            return None;
        }
        if before != self.last.section {
            self.fields.move_by(self.last.section.wrapping_sub(before));
        }
        self.remember(&input[..end]);
        Some(end)
    }

    /// The section that was begun is read: it ends with the block.
    #[inline]
    pub(crate) fn remember(&mut self, block: &[u8]) {
        self.last.block.clear();
        if block.len() <= LAST_BYTES_MAX {
            self.last.block.extend_from_slice(block);
        }
    }

    /// This is what is made of the head that is in the table.
    #[inline]
    pub(crate) fn judged(&mut self, verdict: Verdict) {
        self.last.times = 0;
        self.last.verdict = if self.last.block.is_empty() { None } else { Some(verdict) };
    }

    /// The method of a request.
    #[inline]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The status of a response.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The version of the message: what the peer speaks.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The request target as it was sent.
    #[inline]
    pub fn target<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        self.target.whole.of(block)
    }

    /// The path of the target; `/` where the target has none, `*` for the asterisk form, empty for `CONNECT`.
    #[inline]
    pub fn path<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        match self.target.path {
            Some(path) => path.of(block),
            None if self.target.whole == self.target.authority => b"",
            // RFC 9112 section 3.2.4: so the last proxy of a chain would write it.
            None if self.target.query.is_none() && self.method == Method::OPTIONS => b"*",
            None => b"/",
        }
    }

    /// What follows the `?` of the target, if there is one.
    #[inline]
    pub fn query<'b>(&self, block: &'b [u8]) -> Option<&'b [u8]> {
        self.target.query.map(|query| query.of(block))
    }

    /// The scheme of the target, in the case it was sent in, if the target has one: `http` or `https`.
    #[inline]
    pub fn scheme<'b>(&self, block: &'b [u8]) -> Option<&'b [u8]> {
        match self.target.scheme {
            Span { len: 0, .. } => None,
            scheme => Some(scheme.of(block)),
        }
    }

    /// The protocol that the client wishes to speak on the stream in HTTP's place, as a `CONNECT` of HTTP/2 names it (RFC 8441).
    /// Such a request asks for what a `GET` with `Upgrade` asks for over HTTP/1.1, and [`method`](Self::method) says so.
    #[inline]
    pub fn protocol<'b>(&self, block: &'b [u8]) -> Option<&'b [u8]> {
        match self.target.protocol {
            Span { len: 0, .. } => None,
            protocol => Some(protocol.of(block)),
        }
    }

    /// Host and port that the request is for: the target's own if it names them (RFC 9112 section 3.2.2), else the
    /// `Host` field's.
    #[inline]
    pub fn authority<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        match self.target.authority {
            Span { len: 0, .. } => self.get(block, Known::Host).unwrap_or_default(),
            authority => authority.of(block),
        }
    }

    /// The header fields.
    #[inline]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The trailer fields. They index the block that ended the message, not the head's.
    #[inline]
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// The first header field of this well-known name.
    #[inline]
    pub fn get<'b>(&self, block: &'b [u8], known: Known) -> Option<&'b [u8]> {
        self.fields.get(block, known)
    }

    /// All header fields of this well-known name, in the order received.
    #[inline]
    pub fn all<'b>(&self, block: &'b [u8], known: Known) -> impl Iterator<Item = &'b [u8]> {
        self.fields.all(block, known)
    }

    /// The first header field of this name, whatever the case of its letters.
    #[inline]
    pub fn find<'b>(&self, block: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.fields.find(block, name)
    }

    /// Names and values of the header fields, in the order received.
    #[inline]
    pub fn iter<'b>(&self, block: &'b [u8]) -> impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + Clone {
        self.fields.iter(block)
    }
}

impl Default for HeadTable {
    fn default() -> HeadTable {
        HeadTable::new()
    }
}

/// A section of fields: the header or the trailer section.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
    /// One bit for each well-known name in the section, so that asking for an absent one costs nothing.
    present: u64,
}

impl Fields {
    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is a field of this well-known name.
    #[inline]
    pub fn contains(&self, known: Known) -> bool {
        self.present & (1 << known as u8) != 0
    }

    /// The first value of this well-known name.
    #[inline]
    pub fn get<'b>(&self, block: &'b [u8], known: Known) -> Option<&'b [u8]> {
        if self.contains(known) { self.all(block, known).next() } else { None }
    }

    /// All values of this well-known name, in the order received. [`Known::Other`] gives every other field's.
    #[inline]
    pub fn all<'b>(&self, block: &'b [u8], known: Known) -> impl Iterator<Item = &'b [u8]> {
        let list = if self.contains(known) { &self.list[..] } else { &[] };
        list.iter().filter(move |field| field.known == known).map(|field| field.value.of(block))
    }

    /// The first value of this name, whatever the case of its letters.
    pub fn find<'b>(&self, block: &'b [u8], name: &str) -> Option<&'b [u8]> {
        match Known::of(name.as_bytes()) {
            Known::Other => {
                let mut others = self.list.iter().filter(|field| field.known == Known::Other);
                let field = others.find(|field| field.name.of(block).eq_ignore_ascii_case(name.as_bytes()))?;
                Some(field.value.of(block))
            }
            known => self.get(block, known),
        }
    }

    /// Names and values, in the order received.
    #[inline]
    pub fn iter<'b>(&self, block: &'b [u8]) -> impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> + Clone {
        self.list.iter().map(|field| (field.name.of(block), field.value.of(block)))
    }

    /// The fields as positions, for those who copy the block and its index elsewhere.
    #[inline]
    pub fn as_slice(&self) -> &[Field] {
        &self.list
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, field: Field) {
        self.list.push(field);
        self.present |= 1 << field.known as u8;
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
    }

    /// Shifts all fields in their block: forwards, or backwards by a number that wraps.
    fn move_by(&mut self, count: u16) {
        for field in &mut self.list {
            field.name.start = field.name.start.wrapping_add(count);
            field.value.start = field.value.start.wrapping_add(count);
        }
    }

    /// Gives the first field of this name another value, and drops the others.
    pub(crate) fn join(&mut self, known: Known, value: Span) {
        let mut is_first = true;
        self.list.retain_mut(|field| {
            let keeps = field.known != known || std::mem::take(&mut is_first);
            if field.known == known {
                field.value = value;
            }
            keeps
        });
    }
}

/// One field of a head, as positions in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, in the case it was sent in.
    pub name: Span,
    /// The value, without white space around it.
    pub value: Span,
    /// The name's number, if it is well known.
    pub known: Known,
}

/// A piece of a head block. Blocks are at most 65,535 bytes, so that an index of a hundred fields is one kilobyte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it starts in the block.
    pub start: u16,
    /// How many bytes it has.
    pub len: u16,
}

impl Span {
    /// The bytes of this piece.
    ///
    /// # Panics
    ///
    /// If the block is not the one that was indexed and ends before the piece does.
    #[inline]
    pub fn of(self, block: &[u8]) -> &[u8] {
        &block[self.start as usize..self.start as usize + self.len as usize]
    }

    /// From `start` up to, and not including, `end`: both within a block, whose bound is 65,535.
    #[inline(always)]
    pub(crate) fn between(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u16::MAX as usize);
        Span { start: start as u16, len: (end - start) as u16 }
    }
}

/// The request target and its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) whole: Span,
    /// Empty where it is not said.
    pub(crate) scheme: Span,
    /// Empty in origin and asterisk form; the whole of it in authority form.
    pub(crate) authority: Span,
    pub(crate) path: Option<Span>,
    pub(crate) query: Option<Span>,
    /// Empty where none is asked for.
    pub(crate) protocol: Span,
}

const _: () = assert!(size_of::<Field>() <= 12);

/// Longer heads are not remembered: hardly any come again, and a shard has as many tables as it has had requests at once.
const LAST_BYTES_MAX: usize = 1024;

/// A head that has come again so often in a row keeps coming. Not the first time: where requests come by twos, a copy for each
/// second one would be made for nothing.
const SHARED_TIMES: u8 = 2;
