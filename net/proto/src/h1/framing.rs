//! What a complete head means: who it is for, where its body ends, what becomes of the connection.
//!
//! The one idea: one pass over the few fields that decide, and no second opinion. Where two readings are possible
//! the message is refused, since another server on the way may have read it differently (RFC 9112 section 11.2).

use http::{StatusCode, Version};

use super::target;
use super::{Body, Error, Head};
use crate::head::{HeadTable, Known};
use crate::message::{self, authority};
use crate::scan;

/// The verdict on a request's head.
#[inline]
pub(crate) fn request(block: &[u8], table: &mut HeadTable) -> Result<Head, Error> {
    target::check_form(block, table)?;
    let fields = match table.last.meaning {
        Some(known) => known,
        None => *table.last.meaning.insert(Deciding::gather(block, table)?),
    };
    let is_new = table.version != Version::HTTP_10;
    if is_new && !fields.has_host {
        return Err(Error::HostMissing);
    }
    let body = match (fields.length, fields.codings) {
        (None, Codings::None) => Body::None,
        (Some(0), Codings::None) => Body::None,
        (Some(count), Codings::None) => Body::Length(count),
        (None, codings) => codings.judge(is_new)?,
        (Some(_), _) => return Err(Error::LengthWithCoding),
    };
    // RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored.
    if is_new && fields.expects == Expects::Other {
        return Err(Error::Expectation);
    }
    Ok(Head {
        body,
        keep_alive: fields.keeps_alive(is_new),
        expect_continue: is_new && fields.expects == Expects::Continue && body != Body::None,
        upgrade: is_new && fields.has_upgrade && fields.connection_upgrade,
    })
}

/// The verdict on the head of a response: RFC 9112 section 6.3. What its request was decides with it.
pub(crate) fn response(block: &[u8], table: &HeadTable, is_head: bool, is_connect: bool) -> Result<Head, Error> {
    let fields = Deciding::gather(block, table)?;
    let is_new = table.version != Version::HTTP_10;
    let status = table.status;
    let tunnel = is_connect && status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS;
    let bodiless = is_head || status.is_informational() || tunnel;
    let body = match (fields.length, fields.codings) {
        _ if bodiless || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED => Body::None,
        (None, Codings::None) => Body::UntilClose,
        (Some(0), Codings::None) => Body::None,
        (Some(count), Codings::None) => Body::Length(count),
        (None, codings) => codings.judge(is_new)?,
        (Some(_), _) => return Err(Error::LengthWithCoding),
    };
    Ok(Head {
        body,
        keep_alive: fields.keeps_alive(is_new) && body != Body::UntilClose,
        expect_continue: false,
        upgrade: tunnel,
    })
}

/// What the deciding fields say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deciding {
    has_host: bool,
    length: Option<u64>,
    codings: Codings,
    expects: Expects,
    has_upgrade: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
}

impl Deciding {
    #[inline(always)]
    fn gather(block: &[u8], table: &HeadTable) -> Result<Deciding, Error> {
        let mut deciding = Deciding::default();
        for field in table.fields.as_slice().iter().filter(|field| field.known.is_framing()) {
            let value = field.value.of(block);
            match field.known {
                Known::Host if deciding.has_host => return Err(Error::HostRepeated),
                Known::Host if !authority::is_host(value) => return Err(Error::Host),
                Known::Host => deciding.has_host = true,
                Known::ContentLength if deciding.length.is_some() => return Err(Error::LengthRepeated),
                Known::ContentLength => deciding.length = Some(length(value)?),
                Known::TransferEncoding => deciding.codings.add(value),
                Known::Connection => deciding.connection(value),
                Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => deciding.expects.also_continue(),
                Known::Expect => deciding.expects = Expects::Other,
                _ => deciding.has_upgrade = true,
            }
        }
        Ok(deciding)
    }

    #[inline]
    fn connection(&mut self, value: &[u8]) {
        for option in scan::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// RFC 9112 section 9.3.
    #[inline]
    fn keeps_alive(&self, is_new: bool) -> bool {
        !self.close && (is_new || self.keep_alive)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expects {
    #[default]
    Nothing,
    Continue,
    Other,
}

impl Expects {
    fn also_continue(&mut self) {
        if *self == Expects::Nothing {
            *self = Expects::Continue;
        }
    }
}

/// What `Transfer-Encoding` says, over all its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    None,
    /// `chunked`, once and last.
    Chunked,
    /// `chunked` once and last, after codings that we do not implement.
    UnknownThenChunked,
    /// Only codings that we do not implement, so far.
    Unknown,
    /// Empty, or `chunked` more than once or not last.
    Malformed,
}

impl Codings {
    /// Empty list members are refused, although section 5.6.1.2 of RFC 9110 would read over them: no client sends
    /// them in this field, but those who want two servers to disagree do.
    fn add(&mut self, value: &[u8]) {
        for coding in scan::list(value) {
            *self = match (*self, coding.eq_ignore_ascii_case(b"chunked")) {
                _ if coding.is_empty() => Codings::Malformed,
                (Codings::None, true) => Codings::Chunked,
                (Codings::Unknown, true) => Codings::UnknownThenChunked,
                (Codings::None | Codings::Unknown, false) => Codings::Unknown,
                _ => Codings::Malformed,
            };
        }
    }

    fn judge(self, is_new: bool) -> Result<Body, Error> {
        match self {
            _ if !is_new => Err(Error::CodingInOldVersion),
            Codings::Chunked => Ok(Body::Chunked),
            Codings::UnknownThenChunked => Err(Error::CodingUnknown),
            _ => Err(Error::CodingNotChunked),
        }
    }
}

/// A list of equal lengths may be repaired or refused (RFC 9112 section 6.3): refused.
fn length(value: &[u8]) -> Result<u64, Error> {
    message::length(value).ok_or(if value.contains(&b',') { Error::LengthRepeated } else { Error::LengthMalformed })
}
