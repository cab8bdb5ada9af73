//! From bytes to the head table, line by line: the scanner of request heads, response heads and trailer sections.
//!
//! The one idea: *a line is judged when its LF has arrived*, so the verdict does not depend on how the bytes were cut
//! into reads. Parsers run straight over what is there; if they meet the end, or an error in a line whose LF is still
//! to come, the line waits, and the next read searches the new bytes for that LF before it parses anything. So every
//! byte is searched once and parsed at most twice, however slowly it trickles in.
//!
//! What a whole head means is left to [`framing`](super::framing).

use http::{Method, StatusCode, Version};
use memchr::memchr;

use super::target;
use super::{Error, Limits};
use crate::head::{Field, Fields, HeadTable, Known, Span};
use crate::scan::{self, TEXT, TOKEN};

/// How far a section has been read: kept between reads, all the state a half-received head has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Where the line starts that is waited for.
    line: u16,
    /// Up to here there is no LF in it.
    searched: u16,
}

/// What one parser says of the line at hand: where the next line starts, or nothing if the bytes end before it does.
type Line<T> = Result<Option<T>, Error>;

impl Progress {
    /// Where the line starts that is waited for.
    pub(crate) fn line(self) -> usize {
        self.line as usize
    }

    /// Starts with the line at `at`.
    pub(crate) fn at(at: usize) -> Progress {
        Progress { line: at as u16, searched: at as u16 }
    }

    /// Judges one line of `window`: `Ok(None)` if it is not complete.
    #[inline(always)]
    fn judge<T>(&mut self, window: &[u8], parse: impl FnOnce(usize) -> Line<T>) -> Line<T> {
        if self.searched > self.line && !has_line_feed(window, self.searched) {
            self.searched = window.len() as u16;
            return Ok(None);
        }
        match parse(self.line()) {
            Ok(Some(parsed)) => Ok(Some(parsed)),
            Err(error) if has_line_feed(window, self.line) => Err(error),
            Ok(None) | Err(_) => {
                self.searched = window.len() as u16;
                Ok(None)
            }
        }
    }
}

#[cold]
fn has_line_feed(window: &[u8], from: u16) -> bool {
    memchr(b'\n', window.get(from as usize..).unwrap_or_default()).is_some()
}

/// What the first line of a connection's next request turned out to be.
pub(crate) enum RequestLine {
    /// It is in the table; the header section follows.
    Complete,
    /// Its end has not arrived.
    Partial,
    /// It is the first line of the HTTP/2 connection preface (RFC 9113 section 3.4).
    Http2Preface,
}

/// Reads the request line into the table and moves `progress` behind it.
#[inline]
pub(crate) fn request_line(
    input: &[u8],
    progress: &mut Progress,
    table: &mut HeadTable,
    limits: &Limits,
) -> Result<RequestLine, Error> {
    let line = progress.line();
    // Judged at once, so that one who speaks TLS or anything else to us need not wait for a time-out.
    match input.get(line) {
        None => return Ok(RequestLine::Partial),
        Some(&first) if !scan::is(TOKEN, first) && first != b'\r' => return Err(Error::Method),
        Some(_) => {}
    }
    let line_bytes_max = limits.method_bytes_max as usize + 1 + limits.target_bytes_max as usize + REQUEST_LINE_TAIL;
    let window = window(input, line_bytes_max.saturating_add(line).min(limits.head_bytes_max as usize));
    match progress.judge(window, |at| parse_request_line(window, at, table, limits))? {
        Some(next) => {
            *progress = Progress::at(next);
            let preface = table.version == Version::HTTP_2;
            Ok(if preface { RequestLine::Http2Preface } else { RequestLine::Complete })
        }
        None if window.len() == limits.head_bytes_max as usize => Err(Error::HeadTooLong),
        None if window.len() == line_bytes_max.saturating_add(line) => {
            let method = scan::end_of(TOKEN, window, line) - line;
            Err(if method > limits.method_bytes_max as usize { Error::MethodTooLong } else { Error::TargetTooLong })
        }
        None => Ok(RequestLine::Partial),
    }
}

/// `method SP request-target SP HTTP-version CRLF`, RFC 9112 section 3.
#[inline(always)]
fn parse_request_line(window: &[u8], at: usize, table: &mut HeadTable, limits: &Limits) -> Line<usize> {
    let method_end = scan::end_of(TOKEN, window, at);
    match window.get(method_end) {
        None => return Ok(None),
        Some(b' ') if method_end > at => {}
        Some(_) => return Err(line_error(window, method_end, Error::Method)),
    }
    if method_end - at > limits.method_bytes_max as usize {
        return Err(Error::MethodTooLong);
    }
    table.method = method(&window[at..method_end])?;
    let target_start = method_end + 1;
    let Some(target_end) = target::parse(window, target_start, table)? else { return Ok(None) };
    if target_end - target_start > limits.target_bytes_max as usize {
        return Err(Error::TargetTooLong);
    }
    match window.get(target_end) {
        None => return Ok(None),
        Some(b' ') if target_end > target_start => {}
        Some(b'\r') if target_end > target_start => {
            return Ok(unusual_version(window, at, target_end)?.map(|_| target_end));
        }
        Some(_) => return Err(line_error(window, target_end, Error::Target)),
    }
    // Slices, which are compared word by word; patterns of arrays are, byte by byte.
    table.version = match window.get(target_end..target_end + REQUEST_LINE_TAIL) {
        Some(tail) if tail == b" HTTP/1.1\r\n" => Version::HTTP_11,
        Some(tail) if tail == b" HTTP/1.0\r\n" => Version::HTTP_10,
        _ => match unusual_version(window, at, target_end)? {
            Some(version) => version,
            None => return Ok(None),
        },
    };
    Ok(Some(target_end + REQUEST_LINE_TAIL))
}

/// The rest of a request line that does not end in version 1.0 or 1.1, or not yet.
#[cold]
fn unusual_version(window: &[u8], at: usize, target_end: usize) -> Line<Version> {
    let Some(count) = memchr(b'\n', &window[target_end..]) else { return Ok(None) };
    let Some(line) = window[target_end..target_end + count].strip_suffix(b"\r") else { return Err(Error::BareLf) };
    if line.contains(&b'\r') {
        return Err(Error::BareCr);
    }
    match line {
        // A higher minor version is served as the highest that we know (RFC 9110 section 2.5).
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(Some(Version::HTTP_11)),
        b" HTTP/2.0" if &window[at..target_end] == b"PRI *" => Ok(Some(Version::HTTP_2)),
        [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Error::VersionNotSupported),
        _ => Err(Error::Version),
    }
}

#[inline(always)]
fn method(token: &[u8]) -> Result<Method, Error> {
    match token {
        b"GET" => Ok(Method::GET),
        b"POST" => Ok(Method::POST),
        // Allocates only for unregistered methods over 15 bytes.
        _ => Method::from_bytes(token).map_err(|_| Error::Method),
    }
}

/// Reads `HTTP-version SP status-code SP [reason-phrase] CRLF` (RFC 9112 section 4) into the table. False: its
/// end has not arrived.
pub(crate) fn status_line(
    input: &[u8],
    progress: &mut Progress,
    table: &mut HeadTable,
    limits: &Limits,
) -> Result<bool, Error> {
    let window = window(input, limits.head_bytes_max as usize);
    match progress.judge(window, |at| parse_status_line(window, at, table))? {
        Some(next) => {
            *progress = Progress::at(next);
            Ok(true)
        }
        None if window.len() == limits.head_bytes_max as usize => Err(Error::HeadTooLong),
        None => Ok(false),
    }
}

fn parse_status_line(window: &[u8], at: usize, table: &mut HeadTable) -> Line<usize> {
    let Some(count) = memchr(b'\n', &window[at..]) else { return Ok(None) };
    let Some(line) = window[at..at + count].strip_suffix(b"\r") else { return Err(Error::BareLf) };
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ', a, b, c, reason @ ..] = line else {
        return Err(Error::StatusLine);
    };
    table.version = match (major, minor) {
        (b'1', b'0') => Version::HTTP_10,
        (b'1', b'0'..=b'9') => Version::HTTP_11,
        (b'0'..=b'9', b'0'..=b'9') => return Err(Error::VersionNotSupported),
        _ => return Err(Error::StatusLine),
    };
    table.status = StatusCode::from_bytes(&[*a, *b, *c]).map_err(|_| Error::StatusLine)?;
    // Many servers leave out the space before an absent reason.
    if matches!(reason, [] | [b' ', ..]) && scan::all(TEXT, reason) {
        Ok(Some(at + count + 1))
    } else {
        Err(Error::StatusLine)
    }
}

/// The bounds of one section of fields, and the errors that say so.
pub(crate) struct Section {
    pub(crate) bytes_max: u16,
    pub(crate) count_max: u16,
    pub(crate) too_long: Error,
    pub(crate) too_many: Error,
    pub(crate) is_trailer: bool,
}

impl Section {
    #[inline(always)]
    pub(crate) fn header(limits: &Limits) -> Section {
        Section {
            bytes_max: limits.head_bytes_max,
            count_max: limits.field_count_max,
            too_long: Error::HeadTooLong,
            too_many: Error::TooManyFields,
            is_trailer: false,
        }
    }

    pub(crate) fn trailer(limits: &Limits) -> Section {
        Section {
            bytes_max: limits.trailer_bytes_max,
            count_max: limits.trailer_count_max,
            too_long: Error::TrailersTooLong,
            too_many: Error::TooManyTrailers,
            is_trailer: true,
        }
    }

    /// Reads field lines up to and including the empty line that ends the section, and says where that is; `None` if
    /// it has not arrived.
    #[inline(always)]
    pub(crate) fn read(&self, input: &[u8], progress: &mut Progress, fields: &mut Fields) -> Line<usize> {
        let window = window(input, self.bytes_max as usize);
        loop {
            match progress.judge(window, |at| parse_field(window, at))? {
                None if window.len() == self.bytes_max as usize => return Err(self.too_long),
                None => return Ok(None),
                Some((None, next)) => return Ok(Some(next)),
                Some((Some(field), next)) => {
                    if fields.len() == self.count_max as usize {
                        return Err(self.too_many);
                    }
                    if self.is_trailer && !field.known.is_allowed_in_trailers() {
                        return Err(Error::TrailerField);
                    }
                    fields.push(field);
                    *progress = Progress::at(next);
                }
            }
        }
    }
}

/// `field-name ":" OWS field-value OWS CRLF`, RFC 9112 section 5; or the empty line, which is no field.
#[inline(always)]
fn parse_field(window: &[u8], at: usize) -> Line<(Option<Field>, usize)> {
    let name_end = scan::end_of(TOKEN, window, at);
    match window.get(name_end) {
        None => return Ok(None),
        Some(b':') if name_end > at => {}
        Some(b'\r') if name_end == at => return Ok(line_end(window, at, Error::FieldName)?.map(|next| (None, next))),
        Some(_) => return Err(name_error(window, at, name_end)),
    }
    let mut value_start = name_end + 1;
    while let Some(b' ' | b'\t') = window.get(value_start) {
        value_start += 1;
    }
    let text_end = scan::end_of_text(window, value_start);
    let Some(next) = line_end(window, text_end, Error::FieldValue)? else { return Ok(None) };
    let mut value_end = text_end;
    while value_end > value_start && matches!(window[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let known = Known::at(window, at, name_end);
    let field = Field { name: Span::between(at, name_end), value: Span::between(value_start, value_end), known };
    Ok(Some((Some(field), next)))
}

/// What follows the line end at `at`; an error says what stands there instead.
#[inline(always)]
fn line_end(window: &[u8], at: usize, otherwise: Error) -> Line<usize> {
    match window.get(at..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(at + 2)),
        Some([] | [b'\r']) | None => Ok(None),
        Some(_) => Err(line_error(window, at, otherwise)),
    }
}

/// Names a stray CR or LF at `at` for what it is.
#[cold]
fn line_error(window: &[u8], at: usize, otherwise: Error) -> Error {
    match window.get(at..) {
        Some([b'\n', ..]) => Error::BareLf,
        Some([b'\r', other, ..]) if *other != b'\n' => Error::BareCr,
        _ => otherwise,
    }
}

#[cold]
fn name_error(window: &[u8], at: usize, name_end: usize) -> Error {
    match window[name_end] {
        b' ' | b'\t' if name_end == at => Error::LineFolding,
        b' ' | b'\t' => Error::FieldColon,
        b'\r' if window.get(name_end + 1) == Some(&b'\n') => Error::FieldColon,
        _ => line_error(window, name_end, Error::FieldName),
    }
}

/// The part of the input that a bounded section may reach into.
#[inline(always)]
fn window(input: &[u8], bytes_max: usize) -> &[u8] {
    &input[..input.len().min(bytes_max)]
}

/// The space before the version, the version, and the line end.
const REQUEST_LINE_TAIL: usize = " HTTP/1.1\r\n".len();
