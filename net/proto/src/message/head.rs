//! What the fields of a message must be like over HTTP/2 and HTTP/3 (RFC 9113 section 8, RFC 9114 section 4): from a decoded
//! block to a head table, or a verdict. Sections are of RFC 9113 where RFC 9114 says the same.

use std::rc::Rc;

use http::{Method, StatusCode, Version};

use crate::head::{Field, HeadTable, Known, KnownHead, Span, Target};
use crate::hpack::{Arena, Decoded, ENTRY_OVERHEAD_BYTES, Name, Sink, TABLE_BYTES};
use crate::message::again::Requests;
use crate::message::{self, authority};
use crate::scan::{self, PATH, QUERY, TOKEN};

/// Which message's fields these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Trailers,
    /// Nobody's: they are decoded for the sake of those that come after.
    Ignored,
}

/// Fills a table with the fields of a block as they are decoded.
pub(crate) struct Filling<'a> {
    table: &'a mut HeadTable,
    bounds: Bounds,
    kind: Kind,
    bytes: usize,
    count: u16,
    verdict: Option<Verdict>,
    has_method: bool,
    has_status: bool,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
    is_connect: bool,
    host: Option<Span>,
    has_fields: bool,
    cookies: u16,
    length: Option<u64>,
    expects_continue: bool,
}

/// What a head is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) version: Version,
    /// Its fields, each counted with 32 bytes more.
    pub(crate) bytes_max: u16,
    pub(crate) count_max: u16,
}

/// Why a head is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It breaks the rules: a stream error (RFC 9113 section 8.1.1).
    Malformed(&'static str),
    /// It has more than we hold.
    TooLarge,
}

/// What a head says of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Whether the message ends with it.
    pub end: bool,
    /// The length that it declares.
    pub length: Option<u64>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Whether it is a `CONNECT`: what follows is no body, but what a tunnel carries. With a protocol (RFC 8441) the table says
    /// `GET`, and [names it](HeadTable::protocol).
    pub is_connect: bool,
}

/// Room to decode heads in: one for all connections of a shard, since nothing of theirs stays in it but what they have in common.
#[derive(Debug)]
pub struct Scratch {
    pub(crate) room: Box<[u8]>,
    pub(crate) count: usize,
    /// Of HTTP/3.
    pub(crate) requests: Requests,
    pub(crate) lends: bool,
    pub(crate) lent: Option<Rc<KnownHead>>,
}

impl Scratch {
    /// Room for heads of up to so many bytes, and for the crumbs of their cookies once more.
    pub fn new(head_bytes_max: u16) -> Scratch {
        let bytes = (2 * usize::from(head_bytes_max) + TABLE_BYTES).min(usize::from(u16::MAX));
        Scratch { room: vec![0; bytes].into(), count: 0, requests: Requests::default(), lends: false, lent: None }
    }

    /// The same for an owner that [asks](Scratch::lent) after each head whether it has come before: then it is neither in the
    /// table nor in the block.
    pub fn lending(head_bytes_max: u16) -> Scratch {
        Scratch { lends: true, ..Scratch::new(head_bytes_max) }
    }

    /// The last head, if it has come before and was not copied.
    #[inline]
    pub fn lent(&mut self) -> Option<Rc<KnownHead>> {
        self.lent.take()
    }

    /// Keeps a head that has come before: as it is, or copied to where its owner looks for it.
    #[inline]
    pub(crate) fn keep(&mut self, head: Rc<KnownHead>, table: &mut HeadTable) {
        if self.lends {
            self.lent = Some(head);
        } else {
            self.count = head.block().len();
            self.room[..self.count].copy_from_slice(head.block());
            table.copy(head.table());
        }
    }

    /// The block of the last head or trailer section.
    pub fn block(&self) -> &[u8] {
        &self.room[..self.count]
    }
}

impl<'a> Filling<'a> {
    pub(crate) fn new(kind: Kind, table: &'a mut HeadTable, bounds: Bounds) -> Filling<'a> {
        match kind {
            Kind::Request | Kind::Response => table.clear(),
            Kind::Trailers => table.trailers.clear(),
            Kind::Ignored => {}
        }
        Filling {
            table,
            bounds,
            kind,
            bytes: 0,
            count: 0,
            verdict: None,
            has_method: false,
            has_status: false,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            is_connect: false,
            host: None,
            has_fields: false,
            cookies: 0,
            length: None,
            expects_continue: false,
        }
    }

    /// The verdict on the whole. `connects` says that extended CONNECT was offered.
    pub(crate) fn finish(mut self, arena: &mut Arena<'_>, end: bool, connects: bool) -> Result<Head, Verdict> {
        if let Some(verdict) = self.verdict {
            return Err(verdict);
        }
        match self.kind {
            Kind::Request => self.request(arena.as_slice(), connects).map_err(Verdict::Malformed)?,
            Kind::Response if !self.has_status => return Err(Verdict::Malformed("a response has no :status")),
            Kind::Response => self.table.version = self.bounds.version,
            Kind::Trailers | Kind::Ignored => {}
        }
        if self.cookies > 1 {
            self.join_cookies(arena)?;
        }
        if end && self.kind == Kind::Request && !self.is_connect && self.length.is_some_and(|length| length > 0) {
            return Err(Verdict::Malformed("a request without a body declares a length"));
        }
        let expect_continue = self.expects_continue && !end;
        // RFC 9110 section 9.3.6: it has no content, whatever it says of that.
        let length = self.length.filter(|_| !self.is_connect);
        Ok(Head { end, length, expect_continue: expect_continue && !self.is_connect, is_connect: self.is_connect })
    }

    /// RFC 9113 section 8.3.1, and of `CONNECT` section 8.5 and RFC 8441 section 4.
    fn request(&mut self, block: &[u8], connects: bool) -> Result<(), &'static str> {
        if !self.has_method {
            return Err("a request has no :method");
        }
        self.is_connect = self.table.method == Method::CONNECT;
        if self.protocol.is_some() && !(self.is_connect && connects) {
            return Err("a request has a :protocol, which was not offered, or is no CONNECT");
        }
        self.table.version = self.bounds.version;
        let authority = match (self.authority, self.host) {
            (Some(authority), Some(host)) if !authority.of(block).eq_ignore_ascii_case(host.of(block)) => {
                return Err("a request is for one :authority and for another Host");
            }
            (authority, host) => authority.or(host).unwrap_or_default(),
        };
        if self.is_connect && self.protocol.is_none() {
            if self.scheme.is_some() || self.path.is_some() || authority.len == 0 {
                return Err("a CONNECT has a :scheme or a :path, or no :authority");
            }
            if !authority::is_endpoint(authority.of(block)) {
                return Err("a CONNECT is for no host and port");
            }
            self.table.target = Target { whole: authority, authority, ..Target::default() };
            return Ok(());
        }
        let (Some(scheme), Some(path)) = (self.scheme, self.path) else {
            return Err("a request has no :scheme or no :path");
        };
        if !authority::is_host(authority.of(block)) {
            return Err("the authority of a request is no host");
        }
        // RFC 9114 section 4.3.1; RFC 9113 leaves it to those who need one.
        let is_web = [&b"http"[..], b"https"].iter().any(|web| scheme.of(block).eq_ignore_ascii_case(web));
        if authority.len == 0 && is_web && self.bounds.version == Version::HTTP_3 {
            return Err("a request has no :authority and no Host");
        }
        let protocol = self.protocol.unwrap_or_default();
        if protocol.len > 0 {
            self.table.method = Method::GET;
        }
        let mut parts = Target { whole: path, scheme, authority, path: None, query: None, protocol };
        let bytes = path.of(block);
        if bytes == b"*" {
            if self.table.method != Method::OPTIONS {
                return Err("the :path of a request is an asterisk");
            }
        } else {
            if bytes.first() != Some(&b'/') {
                return Err("the :path of a request does not begin with a slash");
            }
            let path_end = scan::end_of(PATH, bytes, 0);
            let (start, end) = (usize::from(path.start), usize::from(path.start) + bytes.len());
            parts.path = Some(Span::between(start, start + path_end));
            if bytes.get(path_end) == Some(&b'?') && scan::end_of(QUERY, bytes, path_end + 1) == bytes.len() {
                parts.query = Some(Span::between(start + path_end + 1, end));
            } else if path_end < bytes.len() {
                return Err("the :path of a request holds a character that must be percent-encoded");
            }
        }
        self.table.target = parts;
        Ok(())
    }

    /// RFC 9113 section 8.2.3: whoever knows nothing of crumbs sees one cookie. Empty ones are left out: behind the last
    /// delimiter nothing would follow its space, and values do not end with one (section 8.2.1).
    #[cold]
    fn join_cookies(&mut self, arena: &mut Arena<'_>) -> Result<(), Verdict> {
        let start = arena.len();
        let crumbs: Vec<Span> = self
            .table
            .fields
            .as_slice()
            .iter()
            .filter(|field| field.known == Known::Cookie)
            .map(|field| field.value)
            .collect();
        for crumb in crumbs.into_iter().filter(|crumb| crumb.len > 0) {
            let separator: &[u8] = if arena.len() == start { b"" } else { b"; " };
            if arena.put(separator).and_then(|_| arena.put_again(crumb)).is_none() {
                return Err(Verdict::TooLarge);
            }
        }
        self.table.fields.join(Known::Cookie, Span::between(start, arena.len()));
        Ok(())
    }

    fn pseudo(&mut self, arena: &Arena<'_>, field: Decoded) -> Result<(), &'static str> {
        if self.has_fields {
            return Err("a pseudo-header field comes after others");
        }
        let value = field.value.of(arena.as_slice());
        let place = match (self.kind, field.name) {
            (Kind::Request, Name::Method) => {
                if std::mem::replace(&mut self.has_method, true) {
                    return Err("a request has two :method");
                }
                self.table.method = match value {
                    b"GET" => Method::GET,
                    _ => Method::from_bytes(value).map_err(|_| "a :method is not a token")?,
                };
                return Ok(());
            }
            (Kind::Response, Name::Status) => {
                if std::mem::replace(&mut self.has_status, true) {
                    return Err("a response has two :status");
                }
                self.table.status = StatusCode::from_bytes(value).map_err(|_| "a :status is not of three digits")?;
                return Ok(());
            }
            (Kind::Request, Name::Scheme) if value.is_empty() || !scan::all(TOKEN, value) => {
                return Err("the :scheme of a request is none");
            }
            (Kind::Request, Name::Scheme) => &mut self.scheme,
            (Kind::Request, Name::Authority) => &mut self.authority,
            (Kind::Request, Name::Path) => &mut self.path,
            // An upgrade token, which may have a version (RFC 9110 section 7.8).
            (Kind::Request, Name::Protocol)
                if value.is_empty() || !value.iter().all(|&byte| scan::is(TOKEN, byte) || byte == b'/') =>
            {
                return Err("the :protocol of a request is none");
            }
            (Kind::Request, Name::Protocol) => &mut self.protocol,
            _ => return Err("a message has a pseudo-header field that it must not have"),
        };
        match place.replace(field.value) {
            None => Ok(()),
            Some(_) => Err("a request has a pseudo-header field twice"),
        }
    }

    /// RFC 9113 section 8.2.
    #[inline]
    fn plain(&mut self, arena: &Arena<'_>, field: Decoded, known: Known) -> Result<(), &'static str> {
        self.has_fields = true;
        let (name, value) = (field.text.of(arena.as_slice()), field.value.of(arena.as_slice()));
        // A well-known one may still have been sent in capitals.
        if name.is_empty() || !name.iter().all(|&byte| scan::is(TOKEN, byte) && !byte.is_ascii_uppercase()) {
            return Err("a field name has a capital letter, or a character that is no token's");
        }
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
            return Err("a field value begins or ends with white space");
        }
        if scan::end_of_text(value, 0) != value.len() {
            return Err("a field value holds a control character");
        }
        match known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => {
                return Err("a message has a field of the connection");
            }
            Known::Te if value != b"trailers" => return Err("a TE field says something else than trailers"),
            Known::ContentLength => {
                let length = message::length(value).ok_or("a Content-Length is no number")?;
                if self.length.replace(length).is_some_and(|before| before != length) {
                    return Err("a message declares two lengths");
                }
            }
            Known::Host if self.host.replace(field.value).is_some() => return Err("a request has two Host fields"),
            Known::Cookie => self.cookies += 1,
            Known::Expect => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(())
    }
}

impl Sink for Filling<'_> {
    #[inline]
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        self.bytes += usize::from(field.text.len) + usize::from(field.value.len) + ENTRY_OVERHEAD_BYTES;
        self.count = self.count.saturating_add(1);
        if self.bytes > usize::from(self.bounds.bytes_max) || self.count > self.bounds.count_max {
            // What is too large need not be well formed besides.
            self.verdict = Some(Verdict::TooLarge);
        }
        if self.verdict.is_some() || self.kind == Kind::Ignored {
            return false;
        }
        let result = match field.name {
            Name::Field(known) => self.plain(arena, field, known).map(|()| Some(known)),
            _ => self.pseudo(arena, field).map(|()| None),
        };
        match result {
            Ok(None) => true,
            Ok(Some(known)) if self.kind == Kind::Trailers => {
                let is_allowed = known.is_allowed_in_trailers();
                if is_allowed {
                    self.table.trailers.push(Field { name: field.text, value: field.value, known });
                }
                is_allowed
            }
            // It is the authority's: see `HeadTable::authority`.
            Ok(Some(Known::Host)) if self.kind == Kind::Request => true,
            Ok(Some(known)) => {
                self.table.fields.push(Field { name: field.text, value: field.value, known });
                true
            }
            Err(what) => {
                self.verdict = Some(Verdict::Malformed(what));
                false
            }
        }
    }

    fn overflow(&mut self) {
        self.verdict = Some(Verdict::TooLarge);
    }

    fn has_enough(&self) -> bool {
        self.verdict.is_some()
    }
}
