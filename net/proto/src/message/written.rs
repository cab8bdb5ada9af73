//! What is written of a message over HTTP/2 and HTTP/3, before it is compressed: which fields, and which of them are ours.

use http::{Method, StatusCode};

use super::{BodyLength, Field, WriteError};
use crate::head::Known;
use crate::hpack::field_bytes_max;
use crate::scan::{self, TOKEN};

/// Fields that every response has unless it brings its own: the values of `Server` and `Date`, or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    /// Of `Server`.
    pub server: &'a [u8],
    /// Of `Date`.
    pub date: &'a [u8],
}

/// What a request is for: its pseudo-header fields (RFC 9113 section 8.3.1, RFC 9114 section 4.3.1).
#[derive(Clone, Copy, Debug)]
pub struct Pseudo<'a> {
    /// The method.
    pub method: &'a Method,
    /// Whether the scheme is `https`.
    pub is_secure: bool,
    /// Host and port.
    pub authority: &'a [u8],
    /// The path and the query, or `*`; for a `CONNECT` without a protocol, nothing.
    pub path: &'a [u8],
    /// Of a `CONNECT`: what is to be spoken on the stream, if the server offers that (RFC 8441, RFC 9220).
    pub protocol: Option<&'a [u8]>,
}

impl Standing<'_> {
    /// The most that these take, and a `Content-Length`.
    pub(crate) fn bytes_max(&self) -> usize {
        2 * field_bytes_max(b"server", b"") + self.server.len() + self.date.len() + length_bytes_max()
    }
}

impl Pseudo<'_> {
    /// Whether these can be written, to one who lets clients speak another protocol or does not.
    pub(crate) fn check(&self, connects: bool) -> Result<(), WriteError> {
        let is_connect = *self.method == Method::CONNECT;
        if self.protocol.is_some() && !(is_connect && connects) {
            return Err(WriteError::Upgrade);
        }
        let has_path = !is_connect || self.protocol.is_some();
        if self.path.is_empty() == has_path || !self.path.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(WriteError::Target);
        }
        if !self.authority.iter().all(u8::is_ascii_graphic) {
            return Err(WriteError::Target);
        }
        Ok(())
    }

    /// The most that these take, and a `Content-Length`.
    pub(crate) fn bytes_max(&self) -> usize {
        let protocol = self.protocol.map_or(0, <[u8]>::len);
        let texts = self.method.as_str().len() + self.authority.len() + self.path.len() + protocol;
        5 * field_bytes_max(b":authority", b"") + texts + length_bytes_max()
    }
}

/// What the fields of a message take, and which they are.
pub(crate) struct Measured {
    pub(crate) bytes: usize,
    has_server: bool,
    has_date: bool,
}

/// Looks at all fields before any is written.
#[inline]
pub(crate) fn measure<F: Field>(fields: impl IntoIterator<Item = F>) -> Result<Measured, WriteError> {
    let mut measured = Measured { bytes: 0, has_server: false, has_date: false };
    for field in fields {
        let (name, value) = (field.name(), field.value());
        if !F::IS_CHECKED {
            let is_name = |&byte: &u8| scan::is(TOKEN, byte) && !byte.is_ascii_uppercase();
            if name.is_empty() || !name.iter().all(is_name) {
                return Err(WriteError::FieldName);
            }
            if scan::end_of_text(value, 0) != value.len() {
                return Err(WriteError::FieldValue);
            }
        }
        match name {
            b"server" => measured.has_server = true,
            b"date" => measured.has_date = true,
            _ => {}
        }
        measured.bytes += field_bytes_max(name, value);
    }
    Ok(measured)
}

/// What an answer is, besides its fields.
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    /// Whether it is one to `HEAD`.
    pub(crate) is_head: bool,
    pub(crate) standing: Standing<'a>,
    pub(crate) body: BodyLength,
}

impl Answer<'_> {
    fn is_bodiless(&self) -> bool {
        matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Whether it ends with its head.
    pub(crate) fn ends(&self) -> bool {
        let has_none = matches!(self.body, BodyLength::None | BodyLength::Known(0));
        !self.status.is_informational() && (self.is_head || self.is_bodiless() || has_none)
    }

    /// Whether the length that its fields say is written.
    pub(crate) fn states_length(&self) -> bool {
        self.is_head && self.body == BodyLength::None || self.status == StatusCode::NOT_MODIFIED
    }

    /// Gives all fields of it that are written, but for the length of what follows.
    #[inline]
    pub(crate) fn fields<F: Field>(
        &self,
        fields: impl IntoIterator<Item = F>,
        measured: &Measured,
        mut put: impl FnMut(Known, &[u8], &[u8]),
    ) {
        let states_length = self.states_length();
        for field in fields {
            let (name, value) = (field.name(), scan::trim(field.value()));
            match Known::of(name) {
                Known::Connection | Known::KeepAlive | Known::ProxyConnection => {}
                Known::TransferEncoding | Known::Upgrade => {}
                Known::ContentLength if !states_length => {}
                known => put(known, name, value),
            }
        }
        if self.status.is_informational() {
            return;
        }
        if !measured.has_server && !self.standing.server.is_empty() {
            put(Known::Server, b"server", self.standing.server);
        }
        if !measured.has_date && !self.standing.date.is_empty() {
            put(Known::Date, b"date", self.standing.date);
        }
    }

    /// The length of what follows, where it is said: the last of its fields.
    #[inline]
    pub(crate) fn length(&self) -> Option<u64> {
        match self.body {
            BodyLength::Known(length) if !self.is_bodiless() && !self.status.is_informational() => Some(length),
            _ => None,
        }
    }
}

/// Gives all fields of a request that are written.
#[inline]
pub(crate) fn request_fields<F: Field>(
    fields: impl IntoIterator<Item = F>,
    body: BodyLength,
    mut put: impl FnMut(Known, &[u8], &[u8]),
) {
    for field in fields {
        let (name, value) = (field.name(), scan::trim(field.value()));
        match Known::of(name) {
            Known::Connection | Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding => {}
            Known::Upgrade | Known::Host | Known::ContentLength => {}
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => {}
            known => put(known, name, value),
        }
    }
    if let BodyLength::Known(length) = body {
        put_length(length, put);
    }
}

/// Gives all trailer fields that are written: those that may stand there.
#[inline]
pub(crate) fn trailer_fields<F: Field>(fields: impl IntoIterator<Item = F>, mut put: impl FnMut(Known, &[u8], &[u8])) {
    for field in fields {
        let (name, value) = (field.name(), scan::trim(field.value()));
        let known = Known::of(name);
        if known.is_allowed_in_trailers() {
            put(known, name, value);
        }
    }
}

#[inline]
pub(crate) fn put_length(length: u64, mut put: impl FnMut(Known, &[u8], &[u8])) {
    put(Known::ContentLength, b"content-length", decimal(length, &mut [0; LENGTH_BYTES_MAX]));
}

/// A length in decimal.
#[inline]
pub(crate) fn decimal(mut length: u64, digits: &mut [u8; LENGTH_BYTES_MAX]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (length % 10) as u8;
        length /= 10;
        if length == 0 {
            return &digits[at..];
        }
    }
}

/// The most that a `Content-Length` takes.
pub(crate) fn length_bytes_max() -> usize {
    field_bytes_max(b"content-length", &[0; LENGTH_BYTES_MAX])
}

/// Bytes of a length in decimal.
pub(crate) const LENGTH_BYTES_MAX: usize = 20;
