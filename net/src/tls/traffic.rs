//! [`Traffic`]: a connection of TLS 1.3 once its hand-shake is over.
//!
//! The idea: rustls makes the hand-shake, and then gives the keys away. From there on it is asked for two things, the next
//! keys and what becomes of a ticket; records are ours, and so neither allocate nor are copied (`record.rs`).

use platform::{Chunk, ChunkMut, Pool};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, Error, ExtractedSecrets, HandshakeType, InvalidMessage, PeerMisbehaved};

use super::Failure;
use super::output::{Output, with_room};
use super::record::{HEADER_BYTES, Key, OVERHEAD_BYTES, room_for};
use crate::limits::{TLS_MESSAGE_BYTES_MAX, TLS_RECORDS_PER_KEY_MAX, TLS_VAIN_MESSAGES_MAX};
use crate::tcp::Outgoing;

/// Both directions of a connection.
pub(super) struct Traffic {
    received: Key,
    sent: Key,
    keys: Keys,
    /// The beginning of a message that comes in several records.
    begun: Option<ChunkMut>,
    /// Messages that came since the last content.
    vain: u32,
    /// The peer waits for new keys of this side, which come before what is sent next.
    is_asked: bool,
    /// As [`TLS_RECORDS_PER_KEY_MAX`].
    pub(super) records_per_key_max: u64,
}

/// Whose side it is, and where its next keys come from.
pub(super) enum Keys {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a record has brought.
pub(super) enum Opened {
    /// Content, never empty.
    Data(Chunk),
    Nothing,
    /// The peer's last word.
    Closed,
}

impl Traffic {
    pub(super) fn new(secrets: ExtractedSecrets, keys: Keys) -> Result<Self, Error> {
        let (received, sent) = (Key::new(secrets.rx)?, Key::new(secrets.tx)?);
        let (begun, vain, is_asked) = Default::default();
        Ok(Traffic { received, sent, keys, begun, vain, is_asked, records_per_key_max: TLS_RECORDS_PER_KEY_MAX })
    }

    // ---- what comes in -----------------------------------------------------------------------------------------------

    /// Opens a whole record that [was let in](super::record::length_of).
    pub(super) fn open(&mut self, record: &[u8], pool: &Pool) -> Result<Opened, Failure> {
        let room = room_for(record.len());
        let mut content = pool.lease(room).ok_or(Failure::Exhausted)?;
        let (kind, bytes) = self.received.open(record, &mut content.spare()[..room])?;
        content.commit(bytes);
        match kind {
            // Nothing may come between the records of a message (RFC 8446 section 5.1).
            kind if self.begun.is_some() && kind != ContentType::Handshake => {
                Err(Error::from(PeerMisbehaved::MessageInterleavedWithHandshakeMessage).into())
            }
            ContentType::ApplicationData if bytes > 0 => {
                self.vain = 0;
                Ok(Opened::Data(content.freeze()))
            }
            // It hides how much there is to say.
            ContentType::ApplicationData => self.count(PeerMisbehaved::TooManyEmptyFragments),
            ContentType::Alert | ContentType::Handshake if bytes == 0 => {
                Err(Error::from(InvalidMessage::InvalidEmptyPayload).into())
            }
            ContentType::Alert => self.heed(&content),
            ContentType::Handshake => self.hear(content, pool),
            got_type => {
                let expect_types = vec![ContentType::ApplicationData, ContentType::Handshake, ContentType::Alert];
                Err(Error::InappropriateMessage { expect_types, got_type }.into())
            }
        }
    }

    /// An alert, which has a record to itself (section 5.1). Whatever its level says, it ends the connection (section 6.2).
    fn heed(&mut self, alert: &[u8]) -> Result<Opened, Failure> {
        let &[_, description] = alert else {
            return Err(Error::from(InvalidMessage::TrailingData("an alert")).into());
        };
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(Opened::Closed),
            // The last word is to follow.
            AlertDescription::UserCanceled => self.count(PeerMisbehaved::TooManyWarningAlertsReceived),
            alert => Err(Error::AlertReceived(alert).into()),
        }
    }

    /// Messages of the hand-shake's kind: some in one record, or one in some.
    fn hear(&mut self, content: ChunkMut, pool: &Pool) -> Result<Opened, Failure> {
        let mut begun = self.begun.take();
        match &begun {
            None => begun = Some(content),
            Some(_) => with_room(&mut begun, content.len(), pool)?.put(&content),
        }
        let mut rest = begun.as_deref().unwrap_or_default();
        let bytes = rest.len();
        while let Some((&[kind, a, b, c], body)) = rest.split_first_chunk() {
            let (kind, bytes) = (HandshakeType::from(kind), u32::from_be_bytes([0, a, b, c]) as usize);
            self.admit(kind, bytes)?;
            let Some((body, after)) = body.split_at_checked(bytes) else { break };
            match &mut self.keys {
                Keys::Client(keys) if kind == HandshakeType::NewSessionTicket => {
                    keys.handle_new_session_ticket(body)?
                }
                _ if after.is_empty() => self.renew(body)?,
                // What follows is sealed by the new keys (section 5.1).
                _ => return Err(Error::from(PeerMisbehaved::KeyEpochWithPendingFragment).into()),
            }
            self.count(PeerMisbehaved::TooManyKeyUpdateRequests)?;
            rest = after;
        }
        if rest.len() == bytes {
            self.begun = begun;
        } else if !rest.is_empty() {
            with_room(&mut self.begun, rest.len(), pool)?.put(rest);
        }
        Ok(Opened::Nothing)
    }

    /// Whether such a message may come, before all of it has.
    fn admit(&self, got_type: HandshakeType, bytes: usize) -> Result<(), Error> {
        let bytes_max = match (got_type, &self.keys) {
            (HandshakeType::KeyUpdate, _) => 1,
            (HandshakeType::NewSessionTicket, Keys::Client(_)) => TLS_MESSAGE_BYTES_MAX,
            _ => {
                let expect_types = vec![HandshakeType::KeyUpdate];
                return Err(Error::InappropriateHandshakeMessage { expect_types, got_type });
            }
        };
        if bytes > bytes_max { Err(InvalidMessage::HandshakePayloadTooLarge.into()) } else { Ok(()) }
    }

    /// The peer seals by new keys from here on (section 4.6.3).
    fn renew(&mut self, update: &[u8]) -> Result<(), Error> {
        match update {
            [0] => {}
            [1] => self.is_asked = true,
            [_] => return Err(InvalidMessage::InvalidKeyUpdate.into()),
            _ => return Err(InvalidMessage::MissingData("KeyUpdate").into()),
        }
        self.received = Key::new(match &mut self.keys {
            Keys::Server(keys) => keys.update_rx_secret()?,
            Keys::Client(keys) => keys.update_rx_secret()?,
        })?;
        Ok(())
    }

    /// Counts a message that brings no content.
    fn count(&mut self, too_many: PeerMisbehaved) -> Result<Opened, Failure> {
        self.vain += 1;
        if self.vain > TLS_VAIN_MESSAGES_MAX { Err(Error::from(too_many).into()) } else { Ok(Opened::Nothing) }
    }

    // ---- what goes out -----------------------------------------------------------------------------------------------

    /// Seals so many bytes from the front, as one record.
    pub(super) fn seal(
        &mut self,
        plain: &Outgoing,
        bytes: usize,
        output: &mut Output,
        pool: &Pool,
    ) -> Result<(), Failure> {
        if self.is_asked || self.sent.sequence() + 1 >= self.records_per_key_max {
            self.update(output, pool)?;
        }
        let chunk = output.room(bytes + OVERHEAD_BYTES, pool)?;
        let place = &mut chunk.spare()[..bytes + OVERHEAD_BYTES];
        match plain.front() {
            front if front.len() >= bytes => self.sent.seal(ContentType::ApplicationData, &front[..bytes], place)?,
            // In several buffers, of which all but the last are mostly short: a head, what frames a chunk.
            _ => {
                plain.copy_to(&mut place[HEADER_BYTES..][..bytes]);
                self.sent.seal_in_place(ContentType::ApplicationData, place)?;
            }
        }
        chunk.commit(bytes + OVERHEAD_BYTES);
        Ok(())
    }

    /// Takes new keys for what this side sends.
    pub(super) fn update(&mut self, output: &mut Output, pool: &Pool) -> Result<(), Failure> {
        // The peer need not do the same: it knows how much it has sent.
        let message = [HandshakeType::KeyUpdate.into(), 0, 0, 1, 0];
        self.say(ContentType::Handshake, &message, output, pool)?;
        self.sent = Key::new(match &mut self.keys {
            Keys::Server(keys) => keys.update_tx_secret()?,
            Keys::Client(keys) => keys.update_tx_secret()?,
        })?;
        self.is_asked = false;
        Ok(())
    }

    /// Says that nothing more is sent.
    pub(super) fn close(&mut self, output: &mut Output, pool: &Pool) -> Result<(), Failure> {
        const WARNING: u8 = 1;
        self.say(ContentType::Alert, &[WARNING, AlertDescription::CloseNotify.into()], output, pool)
    }

    /// Tells the peer what was wrong, if it is to know.
    pub(super) fn complain(&mut self, failure: &Failure, output: &mut Output, pool: &Pool) -> Result<(), Failure> {
        const FATAL: u8 = 2;
        match alert_for(failure) {
            Some(alert) => self.say(ContentType::Alert, &[FATAL, alert.into()], output, pool),
            None => Ok(()),
        }
    }

    /// Seals a record of this kind and content, whatever these are.
    pub(super) fn say(
        &mut self,
        kind: ContentType,
        content: &[u8],
        output: &mut Output,
        pool: &Pool,
    ) -> Result<(), Failure> {
        let bytes = content.len() + OVERHEAD_BYTES;
        let chunk = output.room(bytes, pool)?;
        self.sent.seal(kind, content, &mut chunk.spare()[..bytes])?;
        chunk.commit(bytes);
        Ok(())
    }
}

/// What the peer is told of a failure.
fn alert_for(failure: &Failure) -> Option<AlertDescription> {
    let Failure::Tls(error) = failure else { return Some(AlertDescription::InternalError) };
    Some(match &**error {
        Error::AlertReceived(_) => return None,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => AlertDescription::IllegalParameter,
        // RFC 8446 section 5.4.
        Error::InvalidMessage(InvalidMessage::InvalidEmptyPayload) => AlertDescription::UnexpectedMessage,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            AlertDescription::UnexpectedMessage
        }
        _ => AlertDescription::InternalError,
    })
}
