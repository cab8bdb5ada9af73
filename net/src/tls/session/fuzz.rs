//! What a peer may send that has the keys, whatever it is: records of ours beside rustls's own.
//!
//! The one idea: two ends shake hands with the same peer, and since nothing in that is left to chance, both have the same keys. One
//! is a session, whose records are ours; the other is rustls's buffered connection. A peer seals what the input says, spoils what it
//! says, and cuts it as it says. Whatever comes of it: no panic, the same content for both, the same end, and nothing left in
//! the pool. Where one of them bears more than the other, that stands in [`ours_alone`] and [`theirs_alone`].
//!
//! A hand-shake for each input is cheap here: keys are exchanged by a constant, and nobody is asked to prove anything.

use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, Pool, PoolSize};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, Connection, ContentType, DigitallySignedStruct, Error, HandshakeType, InvalidMessage, NamedGroup,
    PeerMisbehaved, ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme,
};

use super::{Event, Session, Stage};
use crate::tcp::Outgoing;
use crate::tls::Failure;

/// The target.
pub fn tls_records(input: &[u8]) {
    let mut script = Script(input);
    let suite = script.below(SUITES);
    let is_server = script.below(2) == 0;
    let mut trio = Trio::shake(&configs()[suite], is_server);
    let cut = script.below(4);
    let mut wire = Wire::default();
    while !script.is_over() && wire.bytes.len() < WIRE_BYTES_MAX {
        trio.say(&mut script, &mut wire);
    }
    let mut rest = &wire.bytes[..];
    while !rest.is_empty() {
        let bytes = match cut {
            0 => CHUNK_BYTES_MAX,
            1 => 1,
            2 => 7,
            // Other pieces each time, the same ones for the same input.
            _ => 1 + (rest.len() * 7919) % 1500,
        };
        let (piece, after) = rest.split_at(bytes.min(rest.len()));
        trio.give(piece);
        rest = after;
    }
    trio.end(&wire.bytes);
}

/// Ends that were given the same, and their peer.
struct Trio {
    session: Session,
    theirs: Connection,
    peer: Session,
    pool: Pool,
    now: Instant,
    ours_came: Came,
    theirs_came: Came,
}

/// What has come of what an end was given.
#[derive(Debug, Default)]
struct Came {
    content: Vec<u8>,
    has_ended: bool,
    failed: Option<Error>,
}

/// What the peer has sent.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    /// Where the last record begins.
    last: usize,
}

impl Trio {
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn shake(configs: &Configs, is_server: bool) -> Self {
        let pool = Pool::new(PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: 1 << 20 });
        let name = || ServerName::try_from("localhost").expect("a name");
        let server = || Session::server(Arc::clone(&configs.server)).expect("it can begin");
        let client = || Session::client(Arc::clone(&configs.client), name(), &pool).expect("it can begin");
        let theirs: Connection = match is_server {
            true => ServerConnection::new(Arc::clone(&configs.server)).expect("it can begin").into(),
            false => ClientConnection::new(Arc::clone(&configs.client), name()).expect("it can begin").into(),
        };
        let (session, peer) = if is_server { (server(), client()) } else { (client(), server()) };
        let (ours_came, theirs_came) = Default::default();
        let mut trio = Trio { session, theirs, peer, pool, now: Instant::now(), ours_came, theirs_came };
        for _ in 0..3 {
            let flight = output(&mut trio.peer);
            trio.give(&flight);
            let (ours, theirs) = (output(&mut trio.session), written(&mut trio.theirs));
            assert_eq!(ours, theirs, "nothing is left to chance");
            give(&mut trio.peer, &ours, &trio.pool, &mut Came::default());
        }
        assert!(matches!((&trio.session.stage, &trio.peer.stage), (Stage::Traffic(_), Stage::Traffic(_))));
        assert!(!trio.theirs.is_handshaking());
        trio
    }

    /// The peer says one thing more.
    fn say(&mut self, script: &mut Script<'_>, wire: &mut Wire) {
        let before = wire.bytes.len();
        let handshake = HANDSHAKE;
        match script.below(16) {
            0..=2 => {
                let count = script.below(64);
                self.seal(DATA, script.take(count), wire);
            }
            3 => {
                let count = script.below(LONG_BYTES_MAX);
                self.seal(DATA, &vec![b'x'; count], wire);
            }
            4 => {
                let (kind, count) = (script.below(256) as u8, script.below(64));
                self.seal(kind, script.take(count), wire);
            }
            5 => {
                let (kind, zeros, count) = (script.below(30) as u8, script.below(LONG_BYTES_MAX), script.below(64));
                let padded = [script.take(count), &[kind], &vec![0; zeros]].concat();
                self.seal(PADDING, &padded, wire);
            }
            6 => {
                let Stage::Traffic(traffic) = &mut self.peer.stage else { unreachable!("it has the keys") };
                traffic.update(&mut self.peer.output, &self.pool).expect("there is room");
                wire.bytes.extend(output(&mut self.peer));
            }
            // Asked for, and not done: what follows is by the old keys.
            7 => self.seal(handshake, &[HandshakeType::KeyUpdate.into(), 0, 0, 1, script.below(3) as u8], wire),
            8 => {
                let count = script.below(40);
                self.seal(handshake, script.take(count), wire);
            }
            9 => self.seal(ALERT, &[1 + script.below(2) as u8, script.below(256) as u8], wire),
            10 => {
                let count = script.below(40);
                wire.bytes.extend(script.take(count));
            }
            11 => {
                let (kind, length, count) = (script.below(256) as u8, script.below(1 << 16), script.below(64));
                let [high, low] = (length as u16).to_be_bytes();
                wire.bytes.extend([kind, 3, 3, high, low]);
                wire.bytes.extend(script.take(count));
            }
            12 if before > 0 => {
                let place = script.below(before);
                wire.bytes[place] ^= 1 << script.below(8);
            }
            13 => wire.bytes.truncate(before - script.below(40).min(before)),
            14 => wire.bytes.extend_from_within(wire.last.min(before)..),
            _ => {
                let ticket = script.below(64);
                let ticket =
                    [&[0, 0, 14, 16, 1, 2, 3, 4, 1, 7, 0, ticket as u8][..], script.take(ticket), &[0, 0]].concat();
                let [_, length @ ..] = (ticket.len() as u32).to_be_bytes();
                let kind = [HandshakeType::NewSessionTicket.into()];
                self.seal(handshake, &[&kind[..], &length, &ticket].concat(), wire);
            }
        }
        wire.last = before;
    }

    fn seal(&mut self, kind: u8, content: &[u8], wire: &mut Wire) {
        let Stage::Traffic(traffic) = &mut self.peer.stage else { unreachable!("it has the keys") };
        traffic.say(ContentType::from(kind), content, &mut self.peer.output, &self.pool).expect("there is room");
        wire.bytes.extend(output(&mut self.peer));
    }

    fn give(&mut self, piece: &[u8]) {
        give(&mut self.session, piece, &self.pool, &mut self.ours_came);
        show(&mut self.theirs, piece, &mut self.theirs_came);
    }

    /// Compares what has come, and lets the session answer.
    fn end(mut self, wire: &[u8]) {
        let (ours, theirs) = (&self.ours_came, &self.theirs_came);
        let alone = ours.failed.as_ref().is_some_and(ours_alone) || theirs.failed.as_ref().is_some_and(theirs_alone);
        if !alone && is_in_order(wire) {
            let of = |came: &Came| (came.failed.is_some(), came.has_ended);
            assert_eq!(of(ours), of(theirs), "{:?} and {:?}", ours.failed, theirs.failed);
            assert_eq!(ours.content, theirs.content);
        }
        let common = ours.content.len().min(theirs.content.len());
        assert_eq!(ours.content[..common], theirs.content[..common]);
        let has_failed = ours.failed.is_some();
        assert_eq!(self.session.may_send(), !has_failed);
        let told = output(&mut self.session);
        let mut heard = Came::default();
        give(&mut self.peer, &told, &self.pool, &mut heard);
        match has_failed {
            true => assert!(matches!(heard.failed, None | Some(Error::AlertReceived(_))), "{:?}", heard.failed),
            false => {
                let mut plain = Outgoing::One(Buf::Bytes(Bytes::from_static(b"well")));
                self.session.seal(&mut plain, self.now, &self.pool).expect("it may send");
                self.session.close(&self.pool).expect("it may send");
                let told = output(&mut self.session);
                give(&mut self.peer, &told, &self.pool, &mut heard);
                assert_eq!((&heard.content[..], heard.has_ended), (&b"well"[..], true), "{:?}", heard.failed);
            }
        }
        let Trio { session, peer, pool, .. } = self;
        drop((session, peer));
        assert_eq!(pool.stats().pooled_bytes, 0, "all comes home");
    }
}

/// What we refuse and rustls may take: a message by the first bytes of it; a record of messages or alerts with nothing in it
/// (RFC 8446 section 5.4).
fn ours_alone(error: &Error) -> bool {
    bears_less(error)
        || matches!(
            error,
            Error::InappropriateHandshakeMessage { .. }
                | Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::InvalidEmptyPayload)
        )
}

/// What rustls refuses and we may take: one of the two alerts that are no errors, of a level that it does not have (RFC 8446
/// section 6: the level can be ignored).
fn theirs_alone(error: &Error) -> bool {
    let is_closure = |alert| matches!(alert, AlertDescription::CloseNotify | AlertDescription::UserCanceled);
    bears_less(error) || matches!(error, Error::AlertReceived(alert) if is_closure(*alert))
}

/// How often a peer may say nothing they count differently.
fn bears_less(error: &Error) -> bool {
    matches!(
        error,
        Error::PeerMisbehaved(
            PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyWarningAlertsReceived
        )
    )
}

/// Whether it is whole records, with the header that all have. Of others rustls does not look at the first three bytes, and one
/// may refuse by its header what the other waits for.
fn is_in_order(mut wire: &[u8]) -> bool {
    while let Some((&[kind, major, minor, high, low], rest)) = wire.split_first_chunk() {
        if [kind, major, minor] != [DATA, 3, 3] {
            return false;
        }
        match rest.get(usize::from(u16::from_be_bytes([high, low]))..) {
            Some(after) => wire = after,
            None => return false,
        }
    }
    wire.is_empty()
}

fn output(session: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = session.take_output() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn give(session: &mut Session, piece: &[u8], pool: &Pool, came: &mut Came) {
    if came.failed.is_some() || came.has_ended {
        return;
    }
    let mut input = pool.lease(piece.len()).expect("room");
    input.put(piece);
    let mut input = input.freeze();
    while !came.has_ended {
        match session.receive(&mut input, pool) {
            Ok(Event::Data(chunk)) => {
                assert!(!chunk.is_empty());
                came.content.extend_from_slice(&chunk);
            }
            Ok(Event::NeedMore) => return assert!(input.is_empty()),
            Ok(Event::Closed) => came.has_ended = true,
            Err(Failure::Tls(error)) => return came.failed = Some((*error).clone()),
            Err(failure) => panic!("nothing else is wrong: {failure}"),
        }
    }
}

fn written(theirs: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while theirs.wants_write() {
        theirs.write_tls(&mut bytes).expect("a vector takes it");
    }
    bytes
}

fn show(theirs: &mut Connection, mut piece: &[u8], came: &mut Came) {
    while !piece.is_empty() && came.failed.is_none() && !came.has_ended {
        // It holds what it takes for the beginning of a message, up to a bound.
        if let Err(error) = theirs.read_tls(&mut piece) {
            return came.failed = Some(Error::General(error.to_string()));
        }
        match theirs.process_new_packets() {
            Ok(state) => came.has_ended = state.peer_has_closed(),
            Err(error) => came.failed = Some(error),
        }
        // What came before something that is wrong is content all the same.
        let mut content = Vec::new();
        let _ = theirs.reader().read_to_end(&mut content);
        came.content.extend(content);
    }
}

/// Decisions that are read from the input, so that whoever changes the input changes the course of things. When there is nothing
/// left, every decision is the first of its kind.
struct Script<'i>(&'i [u8]);

impl<'i> Script<'i> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn below(&mut self, bound: usize) -> usize {
        let bytes = self.take(if bound > 256 { 2 } else { 1 });
        bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)) % bound
    }

    fn take(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

// ---- hand-shakes that leave nothing to chance ------------------------------------------------------------------------

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn configs() -> &'static [Configs; SUITES] {
    static CONFIGS: OnceLock<[Configs; SUITES]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let mut suites = ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some());
        [(); SUITES].map(|()| {
            let provider = Arc::new(CryptoProvider {
                cipher_suites: vec![*suites.next().expect("there are so many")],
                kx_groups: vec![&Constant],
                secure_random: &Constant,
                ..default_provider()
            });
            let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
            let server = server.with_protocol_versions(&[&TLS13]).expect("it is known").with_no_client_auth();
            let key = CertifiedKey::new(vec![CertificateDer::from(vec![0; 300])], Arc::new(Constant));
            let mut server = server.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
            (server.enable_secret_extraction, server.send_tls13_tickets) = (true, 0);
            let client = ClientConfig::builder_with_provider(provider);
            let client = client.with_protocol_versions(&[&TLS13]).expect("it is known");
            let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Constant));
            let mut client = client.with_no_client_auth();
            (client.enable_secret_extraction, client.resumption) = (true, Resumption::disabled());
            Configs { server: Arc::new(server), client: Arc::new(client) }
        })
    })
}

/// Whatever is asked of it, it gives the same answer.
#[derive(Clone, Copy, Debug)]
struct Constant;

impl SecureRandom for Constant {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(7);
        Ok(())
    }
}

impl SupportedKxGroup for Constant {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Constant))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Constant {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[7; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[7; 32]
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl SigningKey for Constant {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Constant))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Constant {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![7; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl ServerCertVerifier for Constant {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

const PADDING: u8 = 0;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// All of TLS 1.3 that there are here.
const SUITES: usize = 3;

/// Bytes of a record's content, a few more than there may be.
const LONG_BYTES_MAX: usize = (1 << 14) + 300;

/// Bytes that a peer sends in all, but for its last record: several of the longest.
const WIRE_BYTES_MAX: usize = 100_000;

#[cfg(test)]
mod tests;
