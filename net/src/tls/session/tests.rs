//! A session against rustls's own buffered connection as the peer, with what passes between them cut in every way.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, BufList, Pool, PoolSize};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

use shards::Simulation;

use super::{Event, Session, Stage};
use crate::limits::{TLS_RECORD_BYTES_MAX, TLS_RECORD_BYTES_MIN};
use crate::tcp::Outgoing;
use crate::tls::Failure;
use crate::tls::suites::suites;

mod records;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn configs(versions: &[&'static SupportedProtocolVersion]) -> (ServerConfig, ClientConfig) {
    configs_of(versions, default_provider())
}

fn configs_of(
    versions: &[&'static SupportedProtocolVersion],
    provider: CryptoProvider,
) -> (ServerConfig, ClientConfig) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(key.cert.der().to_vec());
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(provider);
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], private).unwrap();
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.enable_secret_extraction = true;
    (server, client)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A session, and a peer of rustls's.
struct Pair {
    session: Session,
    peer: Connection,
    pool: Pool,
    now: Instant,
    /// What the session has received, and whether that was its end.
    received: Vec<u8>,
    has_ended: bool,
    /// Lengths of the records that the session has sent.
    records: Vec<usize>,
    /// What the peer has received.
    heard: Vec<u8>,
}

impl Pair {
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn new(session: impl FnOnce(&Pool) -> Session, peer: Connection) -> Self {
        let pool = Pool::new(PoolSize::default());
        let session = session(&pool);
        let (received, has_ended, records, heard) = Default::default();
        Pair { session, peer, pool, now: Instant::now(), received, has_ended, records, heard }
    }

    fn served(server: ServerConfig, client: ClientConfig) -> Self {
        let peer = ClientConnection::new(Arc::new(client), name()).unwrap();
        Pair::new(|_| Session::server(Arc::new(server)).unwrap(), peer.into())
    }

    fn asking(server: ServerConfig, client: ClientConfig) -> Self {
        let peer = ServerConnection::new(Arc::new(server)).unwrap();
        Pair::new(|pool| Session::client(Arc::new(client), name(), pool).unwrap(), peer.into())
    }

    /// What the peer has to send.
    fn of_peer(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.peer.wants_write() {
            self.peer.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Gives bytes to the session.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut input = self.pool.lease(bytes.len()).expect("room");
        input.put(bytes);
        let mut input = input.freeze();
        loop {
            match self.session.receive(&mut input, &self.pool)? {
                Event::Data(chunk) => {
                    assert!(!chunk.is_empty());
                    self.received.extend_from_slice(&chunk);
                }
                Event::NeedMore => break,
                Event::Closed => {
                    self.has_ended = true;
                    break;
                }
            }
        }
        assert!(input.is_empty());
        Ok(())
    }

    /// Gives the peer what the session has to send. The error is the peer's.
    fn tell(&mut self) -> Result<bool, rustls::Error> {
        let Some(output) = self.session.take_output() else { return Ok(false) };
        assert!(output.len() <= CHUNK_BYTES_MAX);
        let mut rest = &output[..];
        while !rest.is_empty() {
            let bytes = super::record_bytes(*rest.first_chunk().unwrap());
            if rest[0] == 23 {
                self.records.push(bytes);
            }
            let mut record = &rest[..bytes];
            while !record.is_empty() {
                self.peer.read_tls(&mut record).unwrap();
            }
            let count = self.peer.process_new_packets()?.plaintext_bytes_to_read();
            let end = self.heard.len();
            self.heard.resize(end + count, 0);
            self.peer.reader().read_exact(&mut self.heard[end..]).unwrap();
            rest = &rest[bytes..];
        }
        Ok(true)
    }

    /// Both ways in pieces of so many bytes, until nobody has anything to say.
    fn run(&mut self, piece: usize) {
        loop {
            let told = self.tell().unwrap();
            let bytes = self.of_peer();
            for piece in bytes.chunks(piece) {
                self.feed(piece).unwrap();
            }
            if bytes.is_empty() && !told {
                return;
            }
        }
    }

    /// The peer says something in as many records as it likes.
    fn say(&mut self, bytes: &[u8]) {
        self.peer.writer().write_all(bytes).unwrap();
    }

    /// The session sends that, and the peer gets it.
    fn send(&mut self, mut outgoing: Outgoing) -> Vec<u8> {
        self.heard.clear();
        while !outgoing.is_empty() {
            self.session.seal(&mut outgoing, self.now, &self.pool).unwrap();
            assert!(self.tell().unwrap());
        }
        std::mem::take(&mut self.heard)
    }

    fn check_home(self) {
        let Pair { session, pool, .. } = self;
        drop(session);
        assert_eq!(pool.stats().pooled_bytes, 0);
    }
}

fn one(bytes: &'static [u8]) -> Outgoing {
    Outgoing::One(Buf::Static(bytes))
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn a_handshake_and_what_follows_survive_every_piece_size() {
    for &version in BOTH {
        let (server, client) = configs(&[version]);
        for piece in (1..40).chain([100, 333, 1000, 5000, 60_000]) {
            for is_client in [false, true] {
                let mut pair = match is_client {
                    false => Pair::served(server.clone(), client.clone()),
                    true => Pair::asking(server.clone(), client.clone()),
                };
                assert!(pair.session.is_handshaking() && !pair.session.may_send());
                pair.run(piece);
                assert!(!pair.session.is_handshaking() && pair.session.may_send());
                assert_eq!(pair.session.secured().version(), version.version);
                assert_eq!(matches!(pair.session.stage, Stage::Traffic(_)), version == &TLS13);
                pair.say(b"how are you?");
                pair.run(piece);
                assert_eq!(pair.received, b"how are you?", "{version:?}, pieces of {piece}");
                assert_eq!(pair.send(one(b"well")), b"well");
                pair.check_home();
            }
        }
    }
}

#[test]
fn of_what_a_hand_shake_has_derived_nothing_is_left() {
    Simulation::new(1).run(async |_| {
        for suite in suites().iter().filter(|suite| suite.tls13().is_some()) {
            let provider = CryptoProvider { cipher_suites: vec![*suite], ..default_provider() };
            let (server, client) = configs_of(&[&TLS13], provider);
            for is_client in [false, true] {
                let mut pair = match is_client {
                    false => Pair::served(server.clone(), client.clone()),
                    true => Pair::asking(server.clone(), client.clone()),
                };
                let bytes = pair.of_peer();
                pair.feed(&bytes).unwrap();
                assert_eq!(pair.session.derived.count() > 0, !is_client, "it is in the middle of it");
                pair.run(1000);
                pair.say(b"how are you?");
                pair.run(1000);
                assert!(matches!(pair.session.stage, Stage::Traffic(_)));
                assert_eq!((pair.session.derived.count(), &pair.received[..]), (0, &b"how are you?"[..]), "{suite:?}");
                pair.peer.refresh_traffic_keys().unwrap();
                pair.say(b" again");
                pair.run(1000);
                assert_eq!(pair.received, b"how are you? again");
                assert_eq!(pair.send(one(b"well")), b"well");
                pair.check_home();
            }
        }
    });
}

/// What a client says first cannot be said twice, so each cut has a connection of its own.
#[test]
fn the_first_flight_may_be_cut_anywhere_and_its_answer_too() {
    let (server, client) = configs(&[&TLS13]);
    let (server, client) = (Arc::new(server), Arc::new(client));
    for cut in 1..2000 {
        let peer = ClientConnection::new(Arc::clone(&client), name()).unwrap();
        let mut pair = Pair::new(|_| Session::server(Arc::clone(&server)).unwrap(), peer.into());
        let first = pair.of_peer();
        if cut >= first.len() {
            break;
        }
        pair.feed(&first[..cut]).unwrap();
        assert!(pair.session.take_output().is_none(), "nothing is said to half a hello");
        pair.feed(&first[cut..]).unwrap();
        assert!(pair.tell().unwrap());
        pair.say(b"request");
        let second = pair.of_peer();
        let cut = cut % second.len();
        if cut > 0 {
            pair.feed(&second[..cut]).unwrap();
        }
        pair.feed(&second[cut..]).unwrap();
        assert_eq!(pair.received, b"request");
    }
}

#[test]
fn messages_in_many_small_records_are_put_together() {
    for &version in BOTH {
        let (mut server, mut client) = configs(&[version]);
        server.max_fragment_size = Some(40);
        client.max_fragment_size = Some(32);
        for piece in [1, 7, 37, 100, 60_000] {
            let mut pair = Pair::served(server.clone(), client.clone());
            pair.run(piece);
            pair.say(&pattern(1000));
            pair.run(piece);
            assert_eq!(pair.received, pattern(1000));
            let mut pair = Pair::asking(server.clone(), client.clone());
            pair.run(piece);
            assert_eq!(pair.send(one(b"question")), b"question");
            pair.say(&pattern(1000));
            pair.run(piece);
            assert_eq!(pair.received, pattern(1000));
            pair.check_home();
        }
    }
}

#[test]
fn much_goes_through_both_ways() {
    for &version in BOTH {
        let (server, client) = configs(&[version]);
        for piece in [1000, 4096, 65_536] {
            let mut pair = Pair::served(server.clone(), client.clone());
            pair.run(piece);
            let upload = pattern(1_000_000);
            for part in upload.chunks(50_000) {
                pair.say(part);
                pair.run(piece);
            }
            assert!(pair.received == upload);
            let download = pattern(3_000_000);
            assert!(pair.send(Outgoing::One(Buf::Bytes(Bytes::from(download.clone())))) == download);
            assert!(pair.send(Outgoing::One(Buf::Vec(download.clone()))) == download);
            pair.check_home();
        }
    }
}

#[test]
fn records_grow_with_a_transfer_and_are_small_again_after_a_pause() {
    let (server, client) = configs(&[&TLS13]);
    let mut pair = Pair::served(server, client);
    pair.run(60_000);
    pair.records.clear();
    let content = |records: &[usize]| records.iter().map(|bytes| bytes - 22).collect::<Vec<_>>();
    pair.send(Outgoing::One(Buf::Vec(pattern(200_000))));
    let lengths = content(&pair.records);
    let small = lengths.iter().take_while(|&&bytes| bytes == TLS_RECORD_BYTES_MIN).count();
    assert_eq!(small, 24, "32 KiB: {lengths:?}");
    assert!(lengths[small..lengths.len() - 1].iter().filter(|&&bytes| bytes == TLS_RECORD_BYTES_MAX).count() >= 9);
    assert_eq!(lengths.iter().sum::<usize>(), 200_000);
    for (pause, length) in [(0, 5000), (999, 5000), (1000, TLS_RECORD_BYTES_MIN)] {
        pair.now += Duration::from_millis(pause);
        pair.records.clear();
        pair.send(Outgoing::One(Buf::Vec(pattern(5000))));
        assert_eq!(content(&pair.records)[0], length, "after {pause} ms");
    }
}

#[test]
fn small_buffers_share_a_record_and_large_ones_stay_where_they_are() {
    let (server, client) = configs(&[&TLS13]);
    let mut pair = Pair::served(server, client);
    pair.run(60_000);
    // So that records are large.
    pair.send(Outgoing::One(Buf::Vec(pattern(40_000))));
    let mut expected = Vec::new();
    let mut list = Box::<BufList>::default();
    for bytes in [10, 0, 200, 3000, 1, 9000, 40_000, 5, 5] {
        expected.extend(pattern(bytes));
        list.push(Buf::Vec(pattern(bytes))).unwrap();
    }
    pair.records.clear();
    assert!(pair.send(Outgoing::Many(list)) == expected);
    assert!(pair.records.len() <= 6, "{:?}", pair.records);
    pair.check_home();
}

#[test]
fn a_hundred_megabytes_are_sealed_a_send_at_a_time() {
    let (server, client) = configs(&[&TLS13]);
    let mut pair = Pair::served(server, client);
    pair.run(60_000);
    let mut outgoing = Outgoing::One(Buf::Bytes(Bytes::from(vec![7; 100_000_000])));
    for _ in 0..20 {
        let before = outgoing.bytes();
        pair.session.seal(&mut outgoing, pair.now, &pair.pool).unwrap();
        let output = pair.session.take_output().unwrap();
        let bytes = before - outgoing.bytes();
        assert!(bytes >= CHUNK_BYTES_MAX * 3 / 4, "a send is worth its while: {bytes}");
        assert!(output.len() > bytes && output.len() <= CHUNK_BYTES_MAX);
        drop(output);
        assert_eq!(pair.pool.stats().pooled_bytes, 0);
    }
}

#[test]
fn keys_are_updated_from_either_side() {
    let (server, client) = configs(&[&TLS13]);
    for is_client in [false, true] {
        let mut pair = match is_client {
            false => Pair::served(server.clone(), client.clone()),
            true => Pair::asking(server.clone(), client.clone()),
        };
        pair.run(100);
        for round in 0..5 {
            // It asks for an update of ours, which comes with what is sent next.
            pair.peer.refresh_traffic_keys().unwrap();
            pair.say(b"new keys");
            pair.run(13);
            assert!(pair.session.output.len() == 0);
            assert_eq!(pair.received, b"new keys".repeat(round + 1));
            assert_eq!(pair.send(one(b"mine too")), b"mine too");
        }
        // Updates without end, and nothing said.
        for _ in 0..40 {
            pair.peer.refresh_traffic_keys().unwrap();
        }
        let bytes = pair.of_peer();
        let failure = pair.feed(&bytes).unwrap_err();
        assert!(matches!(of_tls(failure), rustls::Error::PeerMisbehaved(_)));
        pair.check_home();
    }
}

#[test]
fn each_side_ends_its_own_direction() {
    for &version in BOTH {
        let (server, client) = configs(&[version]);
        let mut pair = Pair::served(server, client);
        pair.session.close(&pair.pool.clone()).unwrap();
        assert!(pair.session.output.len() == 0, "nothing has begun");
        pair.run(100);
        pair.say(b"that was all");
        pair.peer.send_close_notify();
        let mut bytes = pair.of_peer();
        bytes.extend(b"and nobody reads this");
        for piece in bytes.chunks(3) {
            pair.feed(piece).unwrap();
        }
        assert!(pair.has_ended);
        assert_eq!(pair.received, b"that was all");
        assert_eq!(pair.send(one(b"here is more")), b"here is more", "the other direction is open");
        pair.session.close(&pair.pool.clone()).unwrap();
        pair.tell().unwrap();
        assert_eq!(pair.peer.reader().read(&mut [0; 10]).unwrap(), 0, "an end in order");
        pair.check_home();
    }
}

fn of_tls(failure: Failure) -> rustls::Error {
    match failure {
        Failure::Tls(error) => *error,
        other => panic!("{other}"),
    }
}

/// What the peer makes of the session's last words.
fn alert_of(pair: &mut Pair) -> Option<AlertDescription> {
    match pair.tell() {
        Err(rustls::Error::AlertReceived(alert)) => Some(alert),
        _ => None,
    }
}

#[test]
fn what_is_no_tls_is_refused_by_an_alert() {
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..], "InvalidMessage(InvalidContentType)"),
        (b"\x16\x03\x01\xff\xff", "InvalidMessage(MessageTooLarge)"),
        (b"\x16\x03\x01\0\0", "InvalidMessage(InvalidEmptyPayload)"),
        (b"\x16\x09\x01\0\x05hello", "InvalidMessage(UnknownProtocolVersion)"),
        (b"\x17\x03\x03\0\x05hello", "InappropriateMessage"),
        (b"\x16\x03\x01\0\x04\x01\xff\xff\xff", "InvalidMessage(HandshakePayloadTooLarge)"),
    ] {
        for piece in [1, 4, 100] {
            let (server, client) = configs(BOTH);
            let mut pair = Pair::served(server, client);
            let failure = bytes.chunks(piece).find_map(|piece| pair.feed(piece).err()).expect("it is refused");
            let failure = format!("{:?}", of_tls(failure));
            assert!(failure.starts_with(error), "{failure} for {bytes:?}");
            // Nothing more comes of it, and nothing breaks.
            assert!(pair.feed(b"\x16\x03\x01\0\x05hello").is_err());
            pair.check_home();
        }
    }
}

#[test]
fn a_record_that_was_changed_is_refused_by_an_alert() {
    for &version in BOTH {
        let (server, client) = configs(&[version]);
        for place in [5, 10, 30] {
            let mut pair = Pair::served(server.clone(), client.clone());
            pair.run(1000);
            pair.say(b"a request that is long enough");
            let mut bytes = pair.of_peer();
            bytes[place] ^= 1;
            let failure = pair.feed(&bytes).unwrap_err();
            assert!(matches!(of_tls(failure), rustls::Error::DecryptError));
            assert_eq!(alert_of(&mut pair), Some(AlertDescription::BadRecordMac));
            assert_eq!(pair.received, b"");
            pair.check_home();
        }
    }
}

#[test]
fn a_protocol_that_nobody_speaks_is_refused_by_an_alert() {
    let (mut server, mut client) = configs(BOTH);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    client.alpn_protocols = vec![b"smtp".to_vec()];
    let mut pair = Pair::served(server, client);
    let bytes = pair.of_peer();
    let failure = pair.feed(&bytes).unwrap_err();
    assert!(matches!(of_tls(failure), rustls::Error::NoApplicationProtocol));
    assert_eq!(alert_of(&mut pair), Some(AlertDescription::NoApplicationProtocol));
}

#[test]
fn an_alert_of_the_peers_is_told_as_such() {
    let (server, client) = configs(BOTH);
    let (_, stranger) = configs(BOTH);
    let mut pair = Pair::served(server, ClientConfig::clone(&stranger));
    drop(client);
    let bytes = pair.of_peer();
    pair.feed(&bytes).unwrap();
    assert!(pair.tell().is_err(), "it knows nobody who has signed that");
    let bytes = pair.of_peer();
    let failure = pair.feed(&bytes).unwrap_err();
    assert!(matches!(of_tls(failure), rustls::Error::AlertReceived(_)));
    pair.check_home();
}

#[test]
fn a_session_is_resumed_and_its_early_data_told_before_the_handshake_ends() {
    let (mut server, mut client) = configs(&[&TLS13]);
    server.max_early_data_size = 1000;
    client.enable_early_data = true;
    let (server, client) = (Arc::new(server), Arc::new(client));
    for (is_first, piece) in [(true, 100), (false, 1), (false, 30), (false, 60_000)] {
        let mut peer = ClientConnection::new(Arc::clone(&client), name()).unwrap();
        if let Some(mut early) = peer.early_data() {
            early.write_all(b"early ").unwrap();
        }
        let mut pair = Pair::new(|_| Session::server(Arc::clone(&server)).unwrap(), peer.into());
        let bytes = pair.of_peer();
        for piece in bytes.chunks(piece) {
            pair.feed(piece).unwrap();
        }
        assert!(pair.session.is_handshaking());
        assert_eq!(pair.received, if is_first { &b""[..] } else { b"early " });
        pair.run(piece);
        let kind = if is_first { HandshakeKind::Full } else { HandshakeKind::Resumed };
        assert_eq!(pair.peer.handshake_kind(), Some(kind));
        assert_eq!(pair.session.secured().is_resumed(), !is_first);
        pair.say(b"late");
        pair.run(piece);
        assert!(pair.received.ends_with(b"late"));
        pair.send(one(b"answer"));
        pair.check_home();
    }
}

#[test]
fn a_pool_without_chunks_is_a_failure_and_no_panic() {
    let (server, client) = configs(&[&TLS13]);
    let mut pair = Pair::served(server, client);
    pair.run(1000);
    pair.say(b"question");
    let bytes = pair.of_peer();
    let mut input = pair.pool.lease(bytes.len()).unwrap();
    input.put(&bytes);
    let mut input = input.freeze();
    let small = Pool::new(PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: CHUNK_BYTES_MAX });
    let held = small.lease(CHUNK_BYTES_MAX);
    assert!(matches!(pair.session.receive(&mut input, &small), Err(Failure::Exhausted)));
    assert!(matches!(pair.session.seal(&mut one(b"answer"), pair.now, &small), Err(Failure::Exhausted)));
    drop((held, input));
    pair.check_home();
}
