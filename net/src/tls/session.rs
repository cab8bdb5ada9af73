//! One side of a TLS connection as a value: received bytes in and plaintext out, plaintext in and records out. It knows no
//! socket and reads no clock.
//!
//! The idea: rustls's unbuffered interface works on memory of ours, so bytes stay in pooled chunks. Records that lie whole in
//! what was received are decrypted there; one that comes in several pieces is gathered in a chunk first. What is to be sent
//! is sealed as much at a time as one send takes, however large it is.
//!
//! What that costs, with rustls 0.23: for each record received an allocation and a copy of theirs, and a copy of ours into a
//! chunk; for each record sent an allocation and two copies of theirs. Nothing else is allocated.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Chunk, ChunkMut, Pool};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::{Failure, hello};
use crate::limits::{
    TLS_BURST_BYTES_MIN, TLS_BURST_PAUSE, TLS_GATHER_BYTES_MAX, TLS_OVERHEAD_BYTES_MAX, TLS_RECEIVED_BYTES_MAX,
    TLS_RECORD_BYTES_MAX, TLS_RECORD_BYTES_MIN,
};
use crate::tcp::Outgoing;

/// One side of a connection.
pub(crate) struct Session {
    side: Side,
    gathered: Gathered,
    output: Output,
    /// The name that the client has asked the server for.
    server_name: Option<Box<str>>,
    has_greeted: bool,
    /// The peer may be sent to while the hand-shake goes on.
    is_half_open: bool,
    has_closed: bool,
    /// Why it cannot go on: from then on rustls is asked for nothing.
    failed: Option<Failure>,
    burst: Burst,
}

#[allow(clippy::large_enum_variant, reason = "a session is boxed as a whole")]
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What has come of received bytes.
#[derive(Debug)]
pub(crate) enum Event {
    /// The content of one record, never empty.
    Data(Chunk),
    /// All of it is used up, and nothing has come of it.
    NeedMore,
    /// The peer has said that nothing more comes.
    Closed,
}

/// What rustls says to what it was shown.
enum Told {
    Data(Chunk),
    Written,
    /// There is more to be said.
    Again,
    NeedMore,
    Closed,
}

/// What is to become a record.
#[derive(Clone, Copy)]
enum Write<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl Session {
    /// The server's side.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Failure> {
        Ok(Session::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// The client's side. Its first words are in the output.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>, pool: &Pool) -> Result<Self, Failure> {
        let mut session = Session::new(Side::Client(UnbufferedClientConnection::new(config, name)?));
        while let Told::Again = session.digest(&mut [], None, pool).1? {}
        Ok(session)
    }

    fn new(side: Side) -> Self {
        let (gathered, output, server_name, failed, burst) = Default::default();
        let (has_greeted, is_half_open, has_closed) = Default::default();
        Session { side, gathered, output, server_name, has_greeted, is_half_open, has_closed, failed, burst }
    }

    /// What was agreed on, as far as it was.
    pub(crate) fn agreed(&self) -> &CommonState {
        match &self.side {
            Side::Server(server) => server,
            Side::Client(client) => client,
        }
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether the hand-shake goes on. Data that comes before its end is early, and anybody may have sent it before.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.agreed().is_handshaking()
    }

    /// Whether data can be sealed.
    pub(crate) fn may_send(&self) -> bool {
        self.failed.is_none() && (self.is_half_open || !self.is_handshaking())
    }

    // ---- what comes in -----------------------------------------------------------------------------------------------

    /// Takes received bytes off the front of `input`, until something comes of them.
    pub(crate) fn receive(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Event, Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let received = self.try_receive(input, pool);
        if let Err(failure) = &received {
            self.failed = Some(failure.clone());
            // An alert, if there is anything to tell the peer. Nothing of what has come is looked at any more.
            while self.agreed().wants_write() && matches!(self.digest(&mut [], None, pool), (_, Ok(Told::Again))) {}
        }
        received
    }

    /// Whether something may come of what was received before, with nothing added: as long as the handshake goes on, and where
    /// records were gathered.
    pub(crate) fn has_more(&self) -> bool {
        self.is_handshaking() || !self.gathered.is_empty()
    }

    fn try_receive(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Event, Failure> {
        while !self.has_closed {
            let told = match self.gathered.is_empty() {
                true => self.receive_in_place(input, pool)?,
                false => self.receive_gathered(input, pool)?,
            };
            match told {
                Told::Data(chunk) => return Ok(Event::Data(chunk)),
                Told::NeedMore if input.is_empty() => return Ok(Event::NeedMore),
                Told::NeedMore | Told::Again | Told::Written => {}
                Told::Closed => self.has_closed = true,
            }
        }
        // What comes after the last word is nobody's (RFC 8446 section 6.1).
        input.advance(input.len());
        Ok(Event::Closed)
    }

    fn receive_in_place(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Told, Failure> {
        let whole = whole_records(input);
        let (discard, told) = self.digest(input.make_mut().ok_or(Failure::Exhausted)?, None, pool);
        input.advance(discard);
        let told = told?;
        if let Told::NeedMore = told
            && !input.is_empty()
        {
            self.gathered.keep(input, whole - discard, pool)?;
        }
        Ok(told)
    }

    fn receive_gathered(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Told, Failure> {
        self.gathered.add(input, pool)?;
        let mut gathered = std::mem::take(&mut self.gathered);
        let (discard, told) = self.digest(gathered.as_mut(), None, pool);
        gathered.discard(discard, pool)?;
        self.gathered = gathered;
        told
    }

    // ---- what goes out -----------------------------------------------------------------------------------------------

    /// Seals the front of `plain`, as much as one send is to take. There is to be none while it [may not be
    /// sent](Session::may_send).
    pub(crate) fn seal(&mut self, plain: &mut Outgoing, now: Instant, pool: &Pool) -> Result<(), Failure> {
        self.burst.goes_on(now);
        let mut left = plain.bytes();
        let records = left.div_ceil(self.burst.record_bytes());
        self.output.reserve(left + records * TLS_OVERHEAD_BYTES_MAX, pool)?;
        while left > 0 {
            let record = self.burst.record_bytes().min(left);
            if self.output.len() + record + TLS_OVERHEAD_BYTES_MAX > CHUNK_BYTES_MAX {
                break;
            }
            let bytes = match front(plain) {
                front if front.len() >= record => {
                    self.write(Write::Data(&front[..record]), pool)?;
                    record
                }
                front if front.len() > TLS_GATHER_BYTES_MAX => {
                    self.write(Write::Data(front), pool)?;
                    front.len()
                }
                _ => {
                    let mut gathered = pool.lease(record).ok_or(Failure::Exhausted)?;
                    gather(plain, record, &mut gathered);
                    self.write(Write::Data(&gathered), pool)?;
                    gathered.len()
                }
            };
            plain.advance(bytes);
            self.burst.bytes += bytes;
            left -= bytes;
        }
        Ok(())
    }

    /// Says that nothing more is sent. Before anything can be sealed there is nothing to end.
    pub(crate) fn close(&mut self, pool: &Pool) -> Result<(), Failure> {
        match self.may_send() {
            true => self.write(Write::CloseNotify, pool),
            false => Ok(()),
        }
    }

    /// Takes the records that are to be sent.
    pub(crate) fn take_output(&mut self) -> Option<Chunk> {
        self.output.0.take().map(ChunkMut::freeze)
    }

    fn write(&mut self, what: Write<'_>, pool: &Pool) -> Result<(), Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        // What rustls still needs of what has come, it wants to see each time; there is nothing new in it.
        let mut gathered = std::mem::take(&mut self.gathered);
        let told = loop {
            match self.digest(gathered.as_mut(), Some(what), pool).1 {
                Ok(Told::Again) => {}
                told => break told,
            }
        };
        self.gathered = gathered;
        match told? {
            Told::Written => Ok(()),
            _ => Err(rustls::Error::HandshakeNotComplete.into()),
        }
    }

    /// Shows rustls what has come, and lets it write if it can: how many bytes it needs no more, and what it says.
    fn digest(&mut self, incoming: &mut [u8], what: Option<Write<'_>>, pool: &Pool) -> (usize, Result<Told, Failure>) {
        if !self.has_greeted && whole_records(incoming) > 0 {
            self.has_greeted = true;
            self.server_name = hello::server_name(incoming).map(Into::into);
        }
        let output = &mut self.output;
        match &mut self.side {
            Side::Server(server) => match server.process_tls_records(incoming) {
                UnbufferedStatus { discard, state: Ok(ConnectionState::ReadEarlyData(mut early)) } => {
                    let bytes = early.peek_len().map_or(0, usize::from);
                    take_record(discard, bytes, || early.next_record(), pool)
                }
                status => tell(status, what, output, &mut self.is_half_open, pool),
            },
            Side::Client(client) => {
                tell(client.process_tls_records(incoming), what, output, &mut self.is_half_open, pool)
            }
        }
    }
}

/// What rustls says, for either side.
fn tell<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    what: Option<Write<'_>>,
    output: &mut Output,
    is_half_open: &mut bool,
    pool: &Pool,
) -> (usize, Result<Told, Failure>) {
    let UnbufferedStatus { discard, state } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error.into())),
    };
    let told = match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let bytes = traffic.peek_len().map_or(0, usize::from);
            return take_record(discard, bytes, || traffic.next_record(), pool);
        }
        ConnectionState::EncodeTlsData(mut data) => output.encode(&mut data, pool).map(|()| Told::Again),
        ConnectionState::TransmitTlsData(data) => {
            // It is in the output, which is sent in order.
            data.done();
            Ok(Told::Again)
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            *is_half_open = true;
            match what {
                Some(what) => output.write(&mut traffic, what, pool).map(|()| Told::Written),
                None => Ok(Told::NeedMore),
            }
        }
        ConnectionState::BlockedHandshake => Ok(Told::NeedMore),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Told::Closed),
        other => Err(rustls::Error::General(format!("an unknown state: {other:?}")).into()),
    };
    (discard, told)
}

/// Moves the next record's data into a chunk.
fn take_record<'r>(
    discard: usize,
    bytes: usize,
    next: impl FnOnce() -> Option<Result<AppDataRecord<'r>, rustls::Error>>,
    pool: &Pool,
) -> (usize, Result<Told, Failure>) {
    let Some(mut chunk) = pool.lease(bytes) else { return (discard, Err(Failure::Exhausted)) };
    match next() {
        Some(Ok(record)) => {
            chunk.put(record.payload);
            (discard + record.discard, Ok(Told::Data(chunk.freeze())))
        }
        Some(Err(error)) => (discard, Err(error.into())),
        None => (discard, Ok(Told::Again)),
    }
}

/// What has come and cannot be used where it came: the beginning of a record, and before that whole ones that hold the
/// beginning of a message.
#[derive(Default)]
struct Gathered {
    chunk: Option<ChunkMut>,
    /// Bytes of whole records. They are counted as they come, since rustls moves together what it finds in them.
    whole: usize,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.chunk.is_none()
    }

    fn as_mut(&mut self) -> &mut [u8] {
        self.chunk.as_deref_mut().unwrap_or_default()
    }

    /// Keeps what is left of `input`, which begins with so many bytes of whole records.
    fn keep(&mut self, input: &mut Chunk, whole: usize, pool: &Pool) -> Result<(), Failure> {
        self.room(whole.max(1), pool)?.put(&input[..whole]);
        self.whole = whole;
        input.advance(whole);
        self.add(input, pool)
    }

    /// Adds what the last record lacks, as far as it is there. What follows is used where it lies.
    fn add(&mut self, input: &mut Chunk, pool: &Pool) -> Result<(), Failure> {
        let begun = self.chunk.as_deref().map_or(&[][..], |chunk| &chunk[self.whole..]);
        let mut header = [0; HEADER_BYTES];
        let known = begun.iter().chain(input.iter()).zip(&mut header).map(|(byte, place)| *place = *byte).count();
        let begun = begun.len();
        let (whole, wanted) = match known {
            // Whatever is longer than that, rustls refuses by its header.
            HEADER_BYTES => (record_bytes(header), record_bytes(header).min(TLS_RECEIVED_BYTES_MAX).max(begun) - begun),
            _ => (usize::MAX, input.len()),
        };
        let bytes = wanted.min(input.len());
        self.room(wanted, pool)?.put(&input[..bytes]);
        input.advance(bytes);
        if begun + bytes == whole {
            self.whole += whole;
        }
        Ok(())
    }

    /// Drops the first bytes, all of which lie in whole records.
    fn discard(&mut self, count: usize, pool: &Pool) -> Result<(), Failure> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        self.whole -= count;
        if count == chunk.len() {
            self.chunk = None;
        } else if count > 0 {
            let mut rest = pool.lease(chunk.len() - count).ok_or(Failure::Exhausted)?;
            rest.put(&chunk[count..]);
            *chunk = rest;
        }
        Ok(())
    }

    fn room(&mut self, bytes: usize, pool: &Pool) -> Result<&mut ChunkMut, Failure> {
        with_room(&mut self.chunk, bytes, pool)
    }
}

/// Records on their way out.
#[derive(Default)]
struct Output(Option<ChunkMut>);

impl Output {
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// Makes room for so many bytes, or for as many as a chunk holds.
    fn reserve(&mut self, bytes: usize, pool: &Pool) -> Result<(), Failure> {
        let bytes = bytes.min(CHUNK_BYTES_MAX - self.len());
        with_room(&mut self.0, bytes, pool).map(drop)
    }

    fn encode<Side>(&mut self, data: &mut EncodeTlsData<'_, Side>, pool: &Pool) -> Result<(), Failure> {
        let mut bytes = TLS_OVERHEAD_BYTES_MAX;
        loop {
            let chunk = with_room(&mut self.0, bytes, pool)?;
            match data.encode(chunk.spare()) {
                Ok(count) => {
                    chunk.commit(count);
                    return Ok(());
                }
                Err(EncodeError::InsufficientSize(lack)) if lack.required_size > bytes => bytes = lack.required_size,
                Err(error) => return Err(rustls::Error::General(error.to_string()).into()),
            }
        }
    }

    fn write<Side>(
        &mut self,
        traffic: &mut WriteTraffic<'_, Side>,
        what: Write<'_>,
        pool: &Pool,
    ) -> Result<(), Failure> {
        let mut bytes = match what {
            Write::Data(data) => data.len() + TLS_OVERHEAD_BYTES_MAX,
            Write::CloseNotify => TLS_OVERHEAD_BYTES_MAX,
        };
        loop {
            let chunk = with_room(&mut self.0, bytes, pool)?;
            let written = match what {
                Write::Data(data) => traffic.encrypt(data, chunk.spare()),
                Write::CloseNotify => traffic.queue_close_notify(chunk.spare()),
            };
            match written {
                Ok(count) => {
                    chunk.commit(count);
                    return Ok(());
                }
                // It has something to say first, such as an answer to an update of keys.
                Err(EncryptError::InsufficientSize(lack)) if lack.required_size > bytes => bytes = lack.required_size,
                Err(error) => return Err(rustls::Error::General(error.to_string()).into()),
            }
        }
    }
}

/// The chunk, with room for so many bytes more: in a larger one if need be.
fn with_room<'a>(chunk: &'a mut Option<ChunkMut>, bytes: usize, pool: &Pool) -> Result<&'a mut ChunkMut, Failure> {
    let len = chunk.as_ref().map_or(0, |chunk| chunk.len());
    if chunk.as_ref().is_none_or(|chunk| chunk.room() < bytes) {
        if len + bytes > CHUNK_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let mut larger = pool.lease(len + bytes).ok_or(Failure::Exhausted)?;
        larger.put(chunk.as_deref().unwrap_or_default());
        *chunk = Some(larger);
    }
    Ok(chunk.as_mut().expect("it has been made"))
}

/// How much has been sent without a pause. It decides how long records are: who waits for the first bytes of an answer can
/// use none of a record before all of it is there, and a large one takes several round trips while a connection is young.
#[derive(Default)]
struct Burst {
    bytes: usize,
    last: Option<Instant>,
}

impl Burst {
    fn goes_on(&mut self, now: Instant) {
        let last = self.last.replace(now);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= TLS_BURST_PAUSE) {
            self.bytes = 0;
        }
    }

    fn record_bytes(&self) -> usize {
        if self.bytes < TLS_BURST_BYTES_MIN { TLS_RECORD_BYTES_MIN } else { TLS_RECORD_BYTES_MAX }
    }
}

/// The first buffer.
fn front(outgoing: &Outgoing) -> &[u8] {
    match outgoing {
        Outgoing::One(buf) => buf,
        Outgoing::Many(list) => list.iter().next().map_or(&[], |buf| buf.as_slice()),
        Outgoing::Pipe(_) => unreachable!("what is to be sealed is read, not piped"),
    }
}

/// Copies the first buffers together.
fn gather(outgoing: &Outgoing, bytes: usize, into: &mut ChunkMut) {
    let Outgoing::Many(list) = outgoing else { unreachable!("one buffer is sealed where it lies") };
    for buf in list.iter() {
        let count = buf.len().min(bytes - into.len());
        into.put(&buf[..count]);
    }
}

const HEADER_BYTES: usize = 5;

/// Bytes of a record with this header (RFC 8446 section 5.1).
fn record_bytes([.., high, low]: [u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))
}

/// Bytes of the whole records that it begins with.
fn whole_records(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(header) = bytes[whole..].first_chunk::<HEADER_BYTES>()
        && bytes.len() - whole >= record_bytes(*header)
    {
        whole += record_bytes(*header);
    }
    whole
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
