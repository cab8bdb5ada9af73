//! One side of a TLS connection as a value: received bytes in and plaintext out, plaintext in and records out. It knows no
//! socket and reads no clock.
//!
//! The idea: rustls makes the hand-shake, on memory of ours by its unbuffered interface. When that of TLS 1.3 is over, it gives
//! the keys away, and from there on records are opened and sealed between pooled chunks (`traffic.rs`): nothing is allocated
//! and nothing copied. A record that comes in several pieces is gathered in a chunk first. What is to be sent is sealed as
//! much at a time as one send takes, however large it is.
//!
//! Under TLS 1.2, and where a configuration keeps its keys to itself (`enable_secret_extraction` is not set), rustls does the
//! records too. What that costs, with rustls 0.23: for each record received an allocation and a copy of theirs, and a copy of
//! ours into a chunk; for each record sent an allocation and two copies of theirs.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, mem};

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Chunk, ChunkMut, Pool};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ProtocolVersion, ServerConfig};

use super::output::{Output, with_room};
use super::record::{HEADER_BYTES, length_of};
use super::suites::Derived;
use super::traffic::{Keys, Opened, Traffic};
use super::{Failure, Secured, hello};
use crate::limits::{
    TLS_BURST_BYTES_MIN, TLS_BURST_PAUSE, TLS_OVERHEAD_BYTES_MAX, TLS_RECEIVED_BYTES_MAX, TLS_RECORD_BYTES_MAX,
    TLS_RECORD_BYTES_MIN,
};
use crate::tcp::Outgoing;

/// One side of a connection.
pub(crate) struct Session {
    stage: Stage,
    /// rustls gives the keys away.
    gives_keys: bool,
    /// What it has derived, until then.
    derived: Derived,
    gathered: Gathered,
    output: Output,
    /// The name that the client has asked the server for.
    server_name: Option<Box<str>>,
    /// What was agreed on, once rustls is not there any more to say it.
    secured: Option<Rc<Secured>>,
    has_greeted: bool,
    /// The peer may be sent to while the hand-shake goes on.
    is_half_open: bool,
    has_closed: bool,
    /// Why it cannot go on: from then on nothing is looked at.
    failed: Option<Failure>,
    burst: Burst,
}

/// Whose the records are.
#[allow(clippy::large_enum_variant, reason = "a session is boxed as a whole")]
enum Stage {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
    Traffic(Traffic),
    /// Nobody's: rustls was to give the keys away, and has failed.
    Failed,
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

/// What has come of what was shown.
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
        let gives_keys = config.enable_secret_extraction;
        Ok(Session::new(Stage::Server(UnbufferedServerConnection::new(config)?), gives_keys))
    }

    /// The client's side. Its first words are in the output.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>, pool: &Pool) -> Result<Self, Failure> {
        let gives_keys = config.enable_secret_extraction;
        let mut session = Session::new(Stage::Client(UnbufferedClientConnection::new(config, name)?), gives_keys);
        while let Told::Again = session.digest(&mut [], None, pool).1? {}
        Ok(session)
    }

    fn new(stage: Stage, gives_keys: bool) -> Self {
        let (gathered, output, server_name, secured, failed, burst) = Default::default();
        let derived = Derived::default();
        let (has_greeted, is_half_open, has_closed) = Default::default();
        Session {
            stage,
            gives_keys,
            derived,
            gathered,
            output,
            server_name,
            secured,
            has_greeted,
            is_half_open,
            has_closed,
            failed,
            burst,
        }
    }

    /// What rustls says of the hand-shake, while it is there.
    fn agreed(&self) -> Option<&CommonState> {
        match &self.stage {
            Stage::Server(server) => Some(server),
            Stage::Client(client) => Some(client),
            Stage::Traffic(_) | Stage::Failed => None,
        }
    }

    /// What was agreed on, as far as it was.
    pub(crate) fn secured(&self) -> Rc<Secured> {
        let of = |agreed| Rc::new(Secured::of(agreed, self.server_name.as_deref(), self.is_handshaking()));
        let secured = self.secured.clone().or_else(|| self.agreed().map(of));
        secured.expect("it is kept before rustls goes")
    }

    /// Whether the hand-shake goes on. Data that comes before its end is early, and anybody may have sent it before.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.agreed().is_some_and(CommonState::is_handshaking)
    }

    /// Whether HTTP/2 has been agreed on, while the hand-shake goes on.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.agreed().is_some_and(|agreed| agreed.alpn_protocol() == Some(b"h2"))
    }

    /// Whether data can be sealed.
    pub(crate) fn may_send(&self) -> bool {
        self.failed.is_none() && (self.is_half_open || !self.is_handshaking())
    }

    /// Takes the keys from rustls, if the hand-shake is over, it has nothing more to say, and it holds no beginning of a message
    /// in what it was shown.
    fn take_keys(&mut self) -> Result<(), Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let is_over = self.agreed().is_some_and(|agreed| {
            agreed.protocol_version() == Some(ProtocolVersion::TLSv1_3)
                && !agreed.is_handshaking()
                && !agreed.wants_write()
        });
        if !is_over || !self.gives_keys || self.gathered.whole > 0 {
            return Ok(());
        }
        self.secured = Some(self.secured());
        let stage = mem::replace(&mut self.stage, Stage::Failed);
        let mut derived = mem::take(&mut self.derived);
        let given = derived.during(|| match stage {
            Stage::Server(server) => {
                server.dangerous_into_kernel_connection().map(|(secrets, keys)| (secrets, Keys::Server(keys)))
            }
            Stage::Client(client) => {
                client.dangerous_into_kernel_connection().map(|(secrets, keys)| (secrets, Keys::Client(keys)))
            }
            Stage::Traffic(_) | Stage::Failed => unreachable!("rustls has just said something"),
        });
        match given.and_then(|(secrets, keys)| Traffic::new(secrets, keys)) {
            Ok(traffic) => self.stage = Stage::Traffic(traffic),
            Err(error) => self.failed = Some(error.clone().into()),
        }
        self.failed.clone().map_or(Ok(()), Err)
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
            self.complain(failure, pool);
            self.derived = Derived::default();
        }
        received
    }

    /// An alert, if there is anything to tell the peer. Nothing of what has come is looked at any more.
    fn complain(&mut self, failure: &Failure, pool: &Pool) {
        match &mut self.stage {
            // If it cannot be said, the connection ends without.
            Stage::Traffic(traffic) => drop(traffic.complain(failure, &mut self.output, pool)),
            _ => {
                while self.agreed().is_some_and(CommonState::wants_write)
                    && matches!(self.digest(&mut [], None, pool), (_, Ok(Told::Again)))
                {}
            }
        }
    }

    /// Whether something may come of what was received before, with nothing added: as long as the handshake goes on, and where
    /// rustls has gathered records.
    pub(crate) fn has_more(&self) -> bool {
        match &self.stage {
            Stage::Traffic(_) => false,
            _ => self.is_handshaking() || !self.gathered.is_empty(),
        }
    }

    fn try_receive(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Event, Failure> {
        while !self.has_closed {
            self.take_keys()?;
            let told = if let Stage::Traffic(traffic) = &mut self.stage {
                receive_traffic(traffic, &mut self.gathered, input, pool)?
            } else if self.agreed().is_some_and(CommonState::wants_write) {
                // What rustls has to say comes first: only then are its keys to be had.
                self.digest(&mut [], None, pool).1?
            } else if self.gathered.is_empty() {
                self.receive_in_place(input, pool)?
            } else {
                self.receive_gathered(input, pool)?
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

    /// Shows rustls one record: of what follows the last of its hand-shake it is to know nothing when it gives the keys away.
    fn receive_in_place(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Told, Failure> {
        let whole = whole_record(input).unwrap_or(0);
        let shown = if whole > 0 { whole } else { input.len() };
        let (discard, told) = self.digest(&mut input.make_mut().ok_or(Failure::Exhausted)?[..shown], None, pool);
        input.advance(discard);
        let told = told?;
        if discard < whole {
            self.gathered.keep(input, whole - discard, pool)?;
        } else if whole == 0 && !input.is_empty() {
            self.gathered.add(input, pool)?;
        }
        Ok(told)
    }

    fn receive_gathered(&mut self, input: &mut Chunk, pool: &Pool) -> Result<Told, Failure> {
        self.gathered.add(input, pool)?;
        let mut gathered = mem::take(&mut self.gathered);
        let (discard, told) = self.digest(gathered.as_mut(), None, pool);
        gathered.discard(discard, pool)?;
        self.gathered = gathered;
        told
    }

    // ---- what goes out -----------------------------------------------------------------------------------------------

    /// Seals the front of `plain`, as much as one send is to take. There is to be none while it [may not be
    /// sent](Session::may_send).
    pub(crate) fn seal(&mut self, plain: &mut Outgoing, now: Instant, pool: &Pool) -> Result<(), Failure> {
        self.take_keys()?;
        self.burst.goes_on(now);
        let mut left = plain.bytes();
        let records = left.div_ceil(self.burst.record_bytes());
        self.output.reserve(left + records * TLS_OVERHEAD_BYTES_MAX, pool)?;
        while left > 0 {
            let bytes = self.burst.record_bytes().min(left);
            if self.output.len() + bytes + TLS_OVERHEAD_BYTES_MAX > CHUNK_BYTES_MAX {
                break;
            }
            match &mut self.stage {
                Stage::Traffic(traffic) => traffic.seal(plain, bytes, &mut self.output, pool)?,
                _ if plain.front().len() >= bytes => self.write(Write::Data(&plain.front()[..bytes]), pool)?,
                _ => {
                    let mut gathered = pool.lease(bytes).ok_or(Failure::Exhausted)?;
                    plain.copy_to(&mut gathered.spare()[..bytes]);
                    gathered.commit(bytes);
                    self.write(Write::Data(&gathered), pool)?;
                }
            }
            plain.advance(bytes);
            self.burst.bytes += bytes;
            left -= bytes;
        }
        Ok(())
    }

    /// Says that nothing more is sent. Before anything can be sealed there is nothing to end.
    pub(crate) fn close(&mut self, pool: &Pool) -> Result<(), Failure> {
        if !self.may_send() {
            return Ok(());
        }
        self.take_keys()?;
        match &mut self.stage {
            Stage::Traffic(traffic) => traffic.close(&mut self.output, pool),
            _ => self.write(Write::CloseNotify, pool),
        }
    }

    /// Takes the records that are to be sent.
    pub(crate) fn take_output(&mut self) -> Option<Chunk> {
        self.output.take()
    }

    fn write(&mut self, what: Write<'_>, pool: &Pool) -> Result<(), Failure> {
        // What rustls still needs of what has come, it wants to see each time; there is nothing new in it.
        let mut gathered = mem::take(&mut self.gathered);
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
        if !self.has_greeted && whole_record(incoming).is_some() {
            self.has_greeted = true;
            self.server_name = hello::server_name(incoming).map(Into::into);
        }
        let Session { stage, gives_keys, derived, output, is_half_open, .. } = self;
        let mut call = || match stage {
            Stage::Server(server) => match server.process_tls_records(incoming) {
                UnbufferedStatus { discard, state: Ok(ConnectionState::ReadEarlyData(mut early)) } => {
                    let bytes = early.peek_len().map_or(0, usize::from);
                    take_record(discard, bytes, || early.next_record(), pool)
                }
                status => tell(status, what, output, is_half_open, pool),
            },
            Stage::Client(client) => tell(client.process_tls_records(incoming), what, output, is_half_open, pool),
            Stage::Traffic(_) | Stage::Failed => unreachable!("rustls is not there any more"),
        };
        if *gives_keys { derived.during(call) } else { call() }
    }
}

/// Opens the next record, when all of it has come.
fn receive_traffic(
    traffic: &mut Traffic,
    gathered: &mut Gathered,
    input: &mut Chunk,
    pool: &Pool,
) -> Result<Told, Failure> {
    let opened = if gathered.is_empty()
        && let Some(header) = input.first_chunk()
        && let bytes = length_of(header)?
        && let Some(record) = input.get(..bytes)
    {
        let opened = traffic.open(record, pool);
        input.advance(bytes);
        opened?
    } else if input.is_empty() {
        return Ok(Told::NeedMore);
    } else {
        gathered.add(input, pool)?;
        if let Some(header) = gathered.as_mut().first_chunk() {
            length_of(header)?;
        }
        if gathered.whole == 0 {
            return Ok(Told::NeedMore);
        }
        traffic.open(mem::take(gathered).as_mut(), pool)?
    };
    Ok(match opened {
        Opened::Data(chunk) => Told::Data(chunk),
        Opened::Nothing => Told::Again,
        Opened::Closed => Told::Closed,
    })
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
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, output, pool).map(|()| Told::Again),
        ConnectionState::TransmitTlsData(data) => {
            // It is in the output, which is sent in order.
            data.done();
            Ok(Told::Again)
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            *is_half_open = true;
            match what {
                Some(what) => write(&mut traffic, what, output, pool).map(|()| Told::Written),
                None => Ok(Told::NeedMore),
            }
        }
        ConnectionState::BlockedHandshake => Ok(Told::NeedMore),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Told::Closed),
        other => Err(rustls::Error::General(format!("an unknown state: {other:?}")).into()),
    };
    (discard, told)
}

/// Has rustls write what it has to say.
fn encode<Side>(data: &mut EncodeTlsData<'_, Side>, output: &mut Output, pool: &Pool) -> Result<(), Failure> {
    let mut bytes = TLS_OVERHEAD_BYTES_MAX;
    loop {
        let chunk = output.room(bytes, pool)?;
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

/// Has rustls make a record.
fn write<Side>(
    traffic: &mut WriteTraffic<'_, Side>,
    what: Write<'_>,
    output: &mut Output,
    pool: &Pool,
) -> Result<(), Failure> {
    let mut bytes = match what {
        Write::Data(data) => data.len() + TLS_OVERHEAD_BYTES_MAX,
        Write::CloseNotify => TLS_OVERHEAD_BYTES_MAX,
    };
    loop {
        let chunk = output.room(bytes, pool)?;
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

    /// Keeps the front of `input`, so many bytes of whole records.
    fn keep(&mut self, input: &mut Chunk, whole: usize, pool: &Pool) -> Result<(), Failure> {
        self.room(whole, pool)?.put(&input[..whole]);
        self.whole = whole;
        input.advance(whole);
        Ok(())
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

/// Bytes of a record with this header (RFC 8446 section 5.1).
fn record_bytes([.., high, low]: [u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))
}

/// Bytes of the record that it begins with, if all of that is there.
fn whole_record(bytes: &[u8]) -> Option<usize> {
    let count = record_bytes(*bytes.first_chunk()?);
    (count <= bytes.len()).then_some(count)
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::tls_records;

#[cfg(test)]
mod tests;
