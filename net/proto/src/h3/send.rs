//! From messages to frames, straight into the caller's slice.
//!
//! The one idea is HTTP/2's: what is asked for once is written once. Heads and trailers are measured first, since a table that
//! has been told of a field cannot be untold; so [`WriteError::Full`] means: a larger slice, please; nothing has happened.

use http::{Method, StatusCode};

use super::Own;
use super::engine::{Ending, Engine};
use super::frame::{GREASE, kind, number_bytes, put_number, put_number_in, setting, uni};
use super::limits::{CONTROL_BYTES_MIN, Limits, SECTION_BYTES_MAX};
use super::streams::{Key, Side, Stream};
use crate::head::Known;
use crate::message::written::{
    Answer, LENGTH_BYTES_MAX, decimal, length_bytes_max, measure, request_fields, trailer_fields,
};
use crate::message::{BodyLength, Field, Pseudo, Role, Standing, WriteError};
use crate::qpack::START_BYTES_MAX;

/// Indices of the static table.
const AUTHORITY: usize = 0;
const PATH: usize = 1;
const CONTENT_LENGTH: usize = 4;
const METHOD_CONNECT: usize = 15;
const METHODS: [Method; 7] =
    [Method::CONNECT, Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT];
const SCHEME_HTTP: usize = 22;
const SCHEME_HTTPS: usize = 23;
const STATUS: usize = 24;
const STATUSES: [(u16, usize); 14] = [
    (200, 25),
    (304, 26),
    (404, 27),
    (206, 65),
    (204, 64),
    (302, 66),
    (400, 67),
    (403, 68),
    (500, 71),
    (503, 28),
    (103, 24),
    (100, 63),
    (421, 69),
    (425, 70),
];

/// A field section that is being written, behind the head of its frame.
struct Writing<'o> {
    out: &'o mut [u8],
    /// Bytes of the frame's length.
    width: usize,
    count: usize,
}

impl Engine {
    /// Writes the head of a response, and says how many bytes that took. With [`BodyLength::None`], and to `HEAD`, the stream
    /// [ends](Engine::can_send) with it; else its data follows.
    ///
    /// `Content-Length` is the engine's, and so is what HTTP/3 has no fields for (`Connection` and its kind): what
    /// `fields` say of them is left out, except that an answer to `HEAD` without a body, or a 304, may state a length. An
    /// interim status leaves the response to come. Names must be in lower case.
    ///
    /// `section` is what this status, these fields and these standing ones were written as before, on any connection. If it is
    /// empty it is what they are written as now, should that say the same on any, as it does where the peer grants no table.
    #[expect(clippy::too_many_arguments, reason = "as of HTTP/2, and what was written before")]
    pub fn respond<F: Field>(
        &mut self,
        key: Key,
        status: StatusCode,
        fields: impl IntoIterator<Item = F> + Clone,
        standing: Standing<'_>,
        body: BodyLength,
        section: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let stream = self.streams.get(key).filter(|stream| stream.sent == Side::Head && !stream.is_reset);
        let is_head = stream.ok_or(WriteError::NotExpected)?.is_head;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(WriteError::Upgrade);
        }
        let answer = Answer { status, is_head, standing, body };
        let is_common = !self.encoder.has_table() && !status.is_informational() && !answer.states_length();
        let mut writing = if is_common && !section.is_empty() {
            // It was measured and looked at when it was written first.
            let mut writing = self.begin(key.id, section.len() + length_bytes_max(), out)?;
            writing.put(section);
            writing
        } else {
            let measured = measure(fields.clone())?;
            let mut writing = self.begin(key.id, measured.bytes + standing.bytes_max(), out)?;
            let start = writing.count;
            match STATUSES.iter().find(|fixed| fixed.0 == status.as_u16()) {
                Some(&(_, index)) => writing.fixed(self, index),
                None => writing.fixed_name(self, STATUS, status.as_str().as_bytes()),
            }
            answer.fields(fields, &measured, |known, name, value| writing.field(self, known, name, value));
            let written = &writing.out[start..writing.count];
            if is_common && written.len() <= SECTION_BYTES_MAX {
                section.extend_from_slice(written);
            }
            writing
        };
        match answer.length() {
            Some(0) => writing.fixed(self, CONTENT_LENGTH),
            Some(length) => writing.fixed_name(self, CONTENT_LENGTH, decimal(length, &mut [0; LENGTH_BYTES_MAX])),
            None => {}
        }
        let count = writing.finish(self);
        if !status.is_informational() {
            self.sent_head(key, answer.ends());
        }
        Ok(count)
    }

    /// Counts a whole answer as written, of which the owner has the bytes: those that [`respond`](Engine::respond) and
    /// [`data`](Engine::data) wrote on another stream, of any connection, for the same status, fields, standing ones and length.
    /// False, and nothing has happened, where this stream's would be others, or none is expected. With it all is done of a stream that
    /// is not [kept](Engine::keep).
    #[inline]
    pub fn repeat(&mut self, key: Key) -> bool {
        if self.encoder.has_table() {
            return false;
        }
        if key.is_loose() {
            self.budget.earn();
            return true;
        }
        let is_open = |stream: &&mut Stream| stream.sent == Side::Head && !stream.is_reset && !stream.is_head;
        let Some(stream) = self.streams.get_mut(key).filter(is_open) else { return false };
        stream.sent = Side::Ended;
        self.budget.earn();
        true
    }

    /// Writes the head of a request on a stream that QUIC has just opened, and names it. With [`BodyLength::None`] the stream
    /// [ends](Engine::can_send) with it.
    ///
    /// Fields are as for [`respond`](Engine::respond).
    pub fn request<F: Field>(
        &mut self,
        id: u64,
        pseudo: Pseudo<'_>,
        fields: impl IntoIterator<Item = F> + Clone,
        body: BodyLength,
        limits: &Limits,
        out: &mut [u8],
    ) -> Result<(Key, usize), WriteError> {
        pseudo.check(self.peer.connects)?;
        if !self.can_open(limits) || !id.is_multiple_of(4) || self.streams.find(id).is_some() {
            return Err(WriteError::NotExpected);
        }
        let Pseudo { method, is_secure, authority, path, protocol } = pseudo;
        let measured = measure(fields.clone())?;
        let mut writing = self.begin(id, measured.bytes + pseudo.bytes_max(), out)?;
        match METHODS.iter().position(|fixed| fixed == method) {
            Some(place) => writing.fixed(self, METHOD_CONNECT + place),
            None => writing.fixed_name(self, METHOD_CONNECT, method.as_str().as_bytes()),
        }
        if !path.is_empty() {
            writing.fixed(self, if is_secure { SCHEME_HTTPS } else { SCHEME_HTTP });
        }
        if !authority.is_empty() {
            writing.count +=
                self.encoder.pseudo(AUTHORITY, b":authority", authority, &mut writing.out[writing.count..]);
        }
        match path {
            b"" => {}
            b"/" => writing.fixed(self, PATH),
            _ => writing.fixed_name(self, PATH, path),
        }
        if let Some(protocol) = protocol {
            writing.field(self, Known::Other, b":protocol", protocol);
        }
        request_fields(fields, body, |known, name, value| writing.field(self, known, name, value));
        let count = writing.finish(self);
        self.next_id = self.next_id.max(id + 4);
        let key = self.streams.open(id);
        let stream = self.streams.get_mut(key).expect("it was opened");
        let is_connect = *method == Method::CONNECT;
        (stream.is_out, stream.is_head, stream.is_connect) = (true, *method == Method::HEAD, is_connect);
        self.sent_head(key, matches!(body, BodyLength::None | BodyLength::Known(0)) && !is_connect);
        Ok((key, count))
    }

    /// Whether the server lets a client speak another protocol on a stream (RFC 9220 section 3), as far as it has said.
    pub fn peer_connects(&self) -> bool {
        self.peer.connects
    }

    /// Whether the peer grants a table of fields, as far as it has said: then no two connections write the same.
    pub fn peer_has_table(&self) -> bool {
        self.encoder.has_table()
    }

    /// Whether the peer takes datagrams (RFC 9297 section 2.1.1), as far as it has said.
    pub fn peer_takes_datagrams(&self) -> bool {
        self.peer.datagrams
    }

    /// Whether a client may send one more request, if QUIC has a stream for it.
    pub fn can_open(&self, limits: &Limits) -> bool {
        self.role == Role::Client
            && self.failure.is_none()
            && self.ending == Ending::No
            && self.peer.goaway.is_none()
            && self.streams.len() < usize::from(limits.streams_max)
    }

    /// Room for a section that takes at most `bytes`, and for the head of its frame.
    fn begin<'o>(&mut self, stream: u64, bytes: usize, out: &'o mut [u8]) -> Result<Writing<'o>, WriteError> {
        let bytes = START_BYTES_MAX + bytes;
        let width = number_bytes(bytes as u64);
        if out.len() < 1 + width + bytes {
            return Err(WriteError::Full);
        }
        let out = &mut out[..1 + width + bytes];
        put_number(kind::HEADERS, out);
        let count = self.encoder.begin(stream, &mut out[1 + width..]);
        Ok(Writing { out, width, count: 1 + width + count })
    }

    fn sent_head(&mut self, key: Key, ends: bool) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.sent = if ends { Side::Ended } else { Side::Body };
        }
        if ends {
            self.budget.earn();
        }
    }

    /// Writes what goes before a piece of a stream's data of `count` bytes, and says how many bytes that took: none before
    /// none. With the last the stream [ends](Engine::can_send).
    ///
    /// Errors: the stream has ended or was reset, or the slice is too small: [`CONTROL_BYTES_MIN`] is enough.
    pub fn data(&mut self, key: Key, count: usize, is_last: bool, out: &mut [u8]) -> Result<usize, WriteError> {
        let stream = self.streams.get_mut(key).filter(|stream| stream.sent == Side::Body && !stream.is_reset);
        let stream = stream.ok_or(WriteError::NotExpected)?;
        let mut head = 0;
        if count > 0 {
            if out.len() < 1 + number_bytes(count as u64) {
                return Err(WriteError::Full);
            }
            head = put_number(kind::DATA, out);
            head += put_number(count as u64, &mut out[head..]);
        }
        if is_last {
            stream.sent = Side::Ended;
            self.budget.earn();
        }
        Ok(head)
    }

    /// Ends a stream's data with trailer fields, in lower case. Those that may not stand there are left out.
    pub fn trailers<F: Field>(
        &mut self,
        key: Key,
        fields: impl IntoIterator<Item = F> + Clone,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let stream = self.streams.get(key).filter(|stream| stream.sent == Side::Body && !stream.is_reset);
        stream.ok_or(WriteError::NotExpected)?;
        let measured = measure(fields.clone())?;
        let mut writing = self.begin(key.id, measured.bytes, out)?;
        trailer_fields(fields, |known, name, value| writing.field(self, known, name, value));
        let count = writing.finish(self);
        self.sent_head(key, true);
        Ok(count)
    }

    /// Writes what goes before what a datagram carries for a stream, and says how many bytes that took (RFC 9297 section 2.1).
    ///
    /// Errors: the peer takes none, the stream has ended, or the slice is too small: [`CONTROL_BYTES_MIN`] is enough.
    pub fn datagram(&self, key: Key, out: &mut [u8]) -> Result<usize, WriteError> {
        if !self.peer.datagrams || !self.can_send(key) {
            return Err(WriteError::NotExpected);
        }
        if out.len() < number_bytes(key.id / 4) {
            return Err(WriteError::Full);
        }
        Ok(put_number(key.id / 4, out))
    }

    // ---- what the connection itself says -----------------------------------------------------------------------------

    /// Whether there is something to [say](Engine::say) on this stream.
    pub fn has_to_say(&self, own: Own) -> bool {
        match own {
            Own::Control => self.pending.settings || self.pending.goaway.is_some(),
            Own::Encoder => self.encoder.has_to_say(),
            Own::Decoder => self.decoder.has_to_say(),
        }
    }

    /// Writes the next bytes of one of our streams, which begin with its type, and says how many. Whoever gives
    /// [`CONTROL_BYTES_MIN`] gets some; it is to be asked again while there [is more](Engine::has_to_say).
    pub fn say(&mut self, own: Own, limits: &Limits, out: &mut [u8]) -> usize {
        if !self.has_to_say(own) || out.len() < CONTROL_BYTES_MIN {
            return 0;
        }
        match own {
            Own::Control => self.say_control(limits, out),
            Own::Encoder => {
                let mut count = 0;
                if std::mem::take(&mut self.pending.encoder_type) {
                    count += put_number(uni::ENCODER, out);
                }
                count + self.encoder.say(&mut out[count..])
            }
            Own::Decoder => {
                let mut count = 0;
                if std::mem::take(&mut self.pending.decoder_type) {
                    count += put_number(uni::DECODER, out);
                }
                count + self.decoder.say(&mut out[count..])
            }
        }
    }

    fn say_control(&mut self, limits: &Limits, out: &mut [u8]) -> usize {
        if std::mem::take(&mut self.pending.settings) {
            return self.put_settings(limits, out);
        }
        let Some(from) = self.pending.goaway.take() else { return 0 };
        let mut count = put_number(kind::GOAWAY, out);
        count += put_number(number_bytes(from) as u64, &mut out[count..]);
        count + put_number(from, &mut out[count..])
    }

    /// What each end says first, and a frame that means nothing.
    fn put_settings(&self, limits: &Limits, out: &mut [u8]) -> usize {
        let mut payload = [0; CONTROL_BYTES_MIN / 2];
        let mut length = 0;
        let settings = [
            (setting::QPACK_MAX_TABLE_CAPACITY, Some(limits.table_bytes_max.into())),
            (setting::QPACK_BLOCKED_STREAMS, Some(limits.blocked_streams_max.into())),
            (setting::MAX_FIELD_SECTION_SIZE, Some(limits.head_bytes_max.into())),
            (setting::ENABLE_CONNECT_PROTOCOL, (self.role == Role::Server && limits.connects).then_some(1)),
            (setting::H3_DATAGRAM, limits.datagrams.then_some(1)),
            (GREASE, Some(0)),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                length += put_number(name, &mut payload[length..]);
                length += put_number(value, &mut payload[length..]);
            }
        }
        let mut count = put_number(uni::CONTROL, out);
        count += put_number(kind::SETTINGS, &mut out[count..]);
        count += put_number(length as u64, &mut out[count..]);
        out[count..count + length].copy_from_slice(&payload[..length]);
        count += length;
        count += put_number(GREASE, &mut out[count..]);
        count + put_number(0, &mut out[count..])
    }
}

impl Writing<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.count..self.count + bytes.len()].copy_from_slice(bytes);
        self.count += bytes.len();
    }

    fn fixed(&mut self, engine: &Engine, index: usize) {
        self.count += engine.encoder.fixed(index, &mut self.out[self.count..]);
    }

    fn fixed_name(&mut self, engine: &Engine, index: usize, value: &[u8]) {
        self.count += engine.encoder.fixed_name(index, value, &mut self.out[self.count..]);
    }

    #[inline]
    fn field(&mut self, engine: &mut Engine, known: Known, name: &[u8], value: &[u8]) {
        self.count += engine.encoder.field(known, name, value, &mut self.out[self.count..]);
    }

    /// Writes the length, and says what all takes.
    fn finish(self, engine: &mut Engine) -> usize {
        let start = 1 + self.width;
        let length = engine.encoder.finish(&mut self.out[start..], self.count - start);
        put_number_in(self.width, length as u64, &mut self.out[1..]);
        start + length
    }
}
