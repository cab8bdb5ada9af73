//! Records once the keys are ours, between two sessions of which one says what no session would.

use rustls::{ContentType, HandshakeType, SupportedCipherSuite};

use super::*;
use crate::limits::{TLS_MESSAGE_BYTES_MAX, TLS_VAIN_MESSAGES_MAX};
use crate::tls::record::OVERHEAD_BYTES;

/// A session, and another that is its peer.
struct Two {
    session: Session,
    peer: Session,
    pool: Pool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Server,
    Client,
}

const SIDES: [Side; 2] = [Side::Server, Side::Client];

/// What has come of bytes that a session was given.
#[derive(Debug, Default, PartialEq)]
struct Came {
    content: Vec<u8>,
    has_ended: bool,
}

impl Two {
    fn new(side: Side) -> Self {
        let (server, client) = configs(&[&TLS13]);
        Two::of(side, server, client)
    }

    fn of(side: Side, server: ServerConfig, client: ClientConfig) -> Self {
        let pool = Pool::new(PoolSize::default());
        let server = Session::server(Arc::new(server)).unwrap();
        let client = Session::client(Arc::new(client), name(), &pool).unwrap();
        let (session, peer) = if side == Side::Server { (server, client) } else { (client, server) };
        let mut two = Two { session, peer, pool };
        for _ in 0..4 {
            let bytes = Two::output(&mut two.peer);
            two.give(&bytes, usize::MAX).unwrap();
            let bytes = Two::output(&mut two.session);
            give(&mut two.peer, &bytes, usize::MAX, &two.pool).unwrap();
        }
        assert!(matches!((&two.session.stage, &two.peer.stage), (Stage::Traffic(_), Stage::Traffic(_))));
        two
    }

    fn output(session: &mut Session) -> Vec<u8> {
        session.take_output().map(|chunk| chunk.to_vec()).unwrap_or_default()
    }

    /// The peer seals whatever it is told to.
    fn says(&mut self, kind: impl Into<ContentType>, content: &[u8]) -> Vec<u8> {
        let Stage::Traffic(traffic) = &mut self.peer.stage else { unreachable!("it has the keys") };
        traffic.say(kind.into(), content, &mut self.peer.output, &self.pool).unwrap();
        Two::output(&mut self.peer)
    }

    fn updates(&mut self) -> Vec<u8> {
        let Stage::Traffic(traffic) = &mut self.peer.stage else { unreachable!("it has the keys") };
        traffic.update(&mut self.peer.output, &self.pool).unwrap();
        Two::output(&mut self.peer)
    }

    fn give(&mut self, bytes: &[u8], piece: usize) -> Result<Came, Failure> {
        give(&mut self.session, bytes, piece, &self.pool)
    }

    #[track_caller]
    fn send(&mut self, content: &'static [u8]) {
        let (mut plain, now) = (one(content), moment());
        self.session.seal(&mut plain, now, &self.pool).unwrap();
        let bytes = Two::output(&mut self.session);
        assert_eq!(give(&mut self.peer, &bytes, usize::MAX, &self.pool).unwrap().content, content);
    }
}

#[allow(clippy::disallowed_methods, reason = "any moment will do")]
fn moment() -> Instant {
    Instant::now()
}

/// Gives a session bytes in pieces of so many.
fn give(session: &mut Session, bytes: &[u8], piece: usize, pool: &Pool) -> Result<Came, Failure> {
    let mut came = Came::default();
    for piece in bytes.chunks(piece.min(CHUNK_BYTES_MAX)) {
        let mut input = pool.lease(piece.len()).expect("room");
        input.put(piece);
        let mut input = input.freeze();
        while !came.has_ended {
            match session.receive(&mut input, pool)? {
                Event::Data(chunk) => came.content.extend_from_slice(&chunk),
                Event::NeedMore => break,
                Event::Closed => came.has_ended = true,
            }
        }
    }
    Ok(came)
}

const DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
/// What a record is padded with stands where its kind would; see `padded`.
const PADDING: u8 = 0;

fn message(kind: HandshakeType, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    [&[kind.into()][..], &length, body].concat()
}

fn update(request: u8) -> Vec<u8> {
    message(HandshakeType::KeyUpdate, &[request])
}

fn padded(content: &[u8], kind: u8, zeros: usize) -> Vec<u8> {
    [content, &[kind], &vec![0; zeros]].concat()
}

/// A ticket as a server would send it, of a body of so many bytes.
fn ticket(bytes: usize) -> Vec<u8> {
    let head = [&3600_u32.to_be_bytes()[..], &[1, 2, 3, 4], &[1, 7]].concat();
    let length = ((bytes - head.len() - 4) as u16).to_be_bytes();
    let ticket = vec![b't'; bytes - head.len() - 4];
    message(HandshakeType::NewSessionTicket, &[&head[..], &length, &ticket, &[0, 0]].concat())
}

/// What is refused, whoever it comes to, and how.
#[track_caller]
fn check_refused(sides: &[Side], alert: AlertDescription, what: impl Fn(&mut Two) -> Vec<u8>) {
    for &side in sides {
        for piece in [1, 7, usize::MAX] {
            let mut two = Two::new(side);
            let bytes = what(&mut two);
            let failure = two.give(&bytes, piece).expect_err("it is refused");
            assert_eq!(
                format!("{failure:?}"),
                format!("{:?}", two.give(&bytes, piece).unwrap_err()),
                "and that for good"
            );
            assert!(two.session.seal(&mut one(b"more"), moment(), &two.pool).is_err());
            assert!(!two.session.may_send());
            let told = Two::output(&mut two.session);
            let heard = give(&mut two.peer, &told, usize::MAX, &two.pool).expect_err("an alert");
            assert_eq!(of_tls(heard), rustls::Error::AlertReceived(alert), "{side:?}, pieces of {piece}, {failure}");
            assert!(Two::output(&mut two.peer).is_empty(), "nobody answers an alert");
            let Two { session, peer, pool } = two;
            drop((session, peer));
            assert_eq!(pool.stats().pooled_bytes, 0);
        }
    }
}

#[test]
fn records_that_no_key_has_made_are_refused() {
    use AlertDescription::{BadRecordMac, RecordOverflow, UnexpectedMessage};
    for kind in [0, 20, 21, 22, 24, 255] {
        check_refused(&SIDES, UnexpectedMessage, |_| vec![kind, 3, 3, 0, 20]);
    }
    for (bytes, alert) in
        [(0, BadRecordMac), (16, BadRecordMac), (16 * 1024 + 257, RecordOverflow), (65_535, RecordOverflow)]
    {
        let [high, low] = (bytes as u16).to_be_bytes();
        check_refused(&SIDES, alert, |_| vec![DATA, 3, 3, high, low]);
    }
    check_refused(&SIDES, BadRecordMac, |_| [&[DATA, 3, 3, 0, 17][..], &[0; 17]].concat());
    // Any bit of it that was changed, but for those that say which it is and how long.
    for place in [1, 2].into_iter().chain(5..OVERHEAD_BYTES + 5) {
        check_refused(&SIDES, BadRecordMac, |two| {
            let mut bytes = two.says(DATA, b"hello");
            bytes[place] ^= 1 << (place % 8);
            bytes
        });
    }
    check_refused(&SIDES, BadRecordMac, |two| two.says(DATA, b"hello").repeat(2));
    check_refused(&SIDES, BadRecordMac, |two| {
        two.says(DATA, b"that is lost");
        two.says(DATA, b"hello")
    });
    // A record of the direction itself, sent back.
    check_refused(&SIDES, BadRecordMac, |two| {
        two.session.seal(&mut one(b"hello"), moment(), &two.pool).unwrap();
        let bytes = Two::output(&mut two.session);
        give(&mut two.peer, &bytes, usize::MAX, &two.pool).unwrap();
        bytes
    });
    // By keys that are not taken any more.
    check_refused(&SIDES, BadRecordMac, |two| {
        let old = two.says(DATA, b"hello");
        let (update, new) = (two.updates(), two.says(DATA, b"new"));
        [old.clone(), update, new, old].concat()
    });
}

#[test]
fn what_records_may_not_hold_is_refused() {
    use AlertDescription::{RecordOverflow, UnexpectedMessage};
    for kind in [1, 20, 24, 26, 255] {
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(kind, b"hello"));
    }
    for zeros in [0, 1, 100, 16 * 1024] {
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(PADDING, &vec![0; zeros]));
    }
    for kind in [ALERT, HANDSHAKE] {
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(kind, b""));
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(PADDING, &padded(b"", kind, 100)));
    }
    check_refused(&SIDES, RecordOverflow, |two| two.says(DATA, &vec![b'x'; 16 * 1024 + 1]));
    check_refused(&SIDES, RecordOverflow, |two| two.says(PADDING, &padded(b"hello", DATA, 16 * 1024)));
}

#[test]
fn messages_that_may_not_come_are_refused() {
    use AlertDescription::{DecodeError, IllegalParameter, UnexpectedMessage};
    for kind in [0, 1, 2, 5, 8, 11, 13, 15, 20, 254, 255] {
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(HANDSHAKE, &message(kind.into(), b"")));
        // As soon as it is seen which it is.
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(HANDSHAKE, &[kind, 0, 255, 255]));
    }
    check_refused(&[Side::Server], UnexpectedMessage, |two| two.says(HANDSHAKE, &ticket(100)));
    check_refused(&SIDES, IllegalParameter, |two| two.says(HANDSHAKE, &update(2)));
    check_refused(&SIDES, DecodeError, |two| two.says(HANDSHAKE, &message(HandshakeType::KeyUpdate, b"")));
    check_refused(&SIDES, DecodeError, |two| two.says(HANDSHAKE, &message(HandshakeType::KeyUpdate, &[0, 0])));
    check_refused(&[Side::Client], DecodeError, |two| {
        two.says(HANDSHAKE, &message(HandshakeType::NewSessionTicket, b"nonsense"))
    });
    check_refused(&[Side::Client], DecodeError, |two| two.says(HANDSHAKE, &ticket(TLS_MESSAGE_BYTES_MAX + 1)[..100]));
    // Nothing comes between a message's records, and nothing behind an update of keys.
    for kind in [DATA, ALERT] {
        check_refused(&SIDES, UnexpectedMessage, |two| [two.says(HANDSHAKE, &[24]), two.says(kind, &[1, 0])].concat());
    }
    check_refused(&SIDES, UnexpectedMessage, |two| [two.says(HANDSHAKE, &[24]), two.says(DATA, b"")].concat());
    for behind in [&update(0)[..], &[24]] {
        check_refused(&SIDES, UnexpectedMessage, |two| two.says(HANDSHAKE, &[&update(0)[..], behind].concat()));
    }
}

#[test]
fn messages_without_content_are_borne_so_often() {
    use AlertDescription::UnexpectedMessage;
    type Vain = fn(&mut Two) -> Vec<u8>;
    let kinds: [(&[Side], Vain); 4] = [
        (&SIDES, |two| two.says(DATA, b"")),
        (&SIDES, Two::updates),
        (&SIDES, |two| two.says(ALERT, &[1, 90])),
        (&[Side::Client], |two| two.says(HANDSHAKE, &ticket(100))),
    ];
    for (sides, vain) in kinds {
        let many = |two: &mut Two| (0..TLS_VAIN_MESSAGES_MAX).flat_map(|_| vain(two)).collect::<Vec<_>>();
        for &side in sides {
            let mut two = Two::new(side);
            // Tickets came with the hand-shake.
            let bytes = two.says(DATA, b"content");
            two.give(&bytes, 1000).unwrap();
            for _ in 0..3 {
                let bytes = [many(&mut two), two.says(DATA, b"content")].concat();
                assert_eq!(two.give(&bytes, 1000).unwrap().content, b"content");
            }
        }
        check_refused(sides, UnexpectedMessage, |two| [many(two), vain(two)].concat());
    }
}

#[test]
fn alerts_are_told_and_not_answered() {
    for side in SIDES {
        for level in [1, 2, 77] {
            for description in (1..=255).filter(|&description| description != 90) {
                let mut two = Two::new(side);
                let bytes = two.says(ALERT, &[level, description]);
                let failure = of_tls(two.give(&bytes, usize::MAX).unwrap_err());
                assert_eq!(failure, rustls::Error::AlertReceived(description.into()));
                assert!(Two::output(&mut two.session).is_empty());
                if description > 20 {
                    break;
                }
            }
        }
        for content in [&[2][..], &[1, 0, 1], &[1, 0, 1, 0]] {
            check_refused(&[side], AlertDescription::DecodeError, |two| two.says(ALERT, content));
        }
    }
}

#[test]
fn a_last_word_ends_one_direction() {
    for side in SIDES {
        let mut two = Two::new(side);
        let bytes =
            [two.says(DATA, b"content"), two.says(ALERT, &[1, 90]), two.says(ALERT, &[1, 0]), b"nobody's".to_vec()];
        assert_eq!(two.give(&bytes.concat(), 9).unwrap(), Came { content: b"content".to_vec(), has_ended: true });
        two.send(b"the other direction is open");
        two.session.close(&two.pool.clone()).unwrap();
        let bytes = Two::output(&mut two.session);
        assert!(give(&mut two.peer, &bytes, usize::MAX, &two.pool).unwrap().has_ended);
    }
}

fn suites() -> Vec<SupportedCipherSuite> {
    let suites = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter().copied();
    suites.filter(|suite| suite.tls13().is_some()).collect()
}

/// All that may come, cut in every way, by every suite.
#[test]
fn what_may_come_is_taken_however_it_is_cut() {
    assert_eq!(suites().len(), 3);
    for suite in suites() {
        for side in SIDES {
            for piece in (1..=64).chain([100, 333, 1000, 4096, 16_384, 50_000]) {
                let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
                let (server, client) = configs_of(&[&TLS13], provider);
                let mut two = Two::of(side, server, client);
                assert_eq!(two.session.secured().suite(), suite.suite());
                let large = pattern(16 * 1024);
                let mut bytes = [
                    two.says(DATA, b"one "),
                    two.says(DATA, b""),
                    two.says(PADDING, &padded(b"two ", DATA, 300)),
                    two.says(PADDING, &padded(b"", DATA, 3)),
                    two.updates(),
                    two.says(DATA, &large),
                    two.says(PADDING, &padded(&large[1..], DATA, 0)),
                ]
                .concat();
                if side == Side::Client {
                    let tickets = [ticket(100), ticket(1000)].concat();
                    bytes.extend(two.says(HANDSHAKE, &tickets[..99]));
                    bytes.extend(two.says(PADDING, &padded(&tickets[99..200], HANDSHAKE, 50)));
                    bytes.extend(two.says(HANDSHAKE, &tickets[200..]));
                }
                bytes.extend(two.says(DATA, b"three"));
                // The update is asked for in four records.
                for byte in [24, 0, 0] {
                    bytes.extend(two.says(HANDSHAKE, &[byte]));
                }
                bytes.extend(two.says(HANDSHAKE, &[1, 1]));
                let came = two.give(&bytes, piece).unwrap();
                assert!(came.content == [b"one two ", &large[..], &large[1..], b"three"].concat(), "{side:?}, {piece}");
                // The answer is there before anything else is said.
                two.send(b"well");
                two.send(b"and well again");
            }
        }
    }
}

#[test]
fn keys_are_renewed_before_they_are_used_up() {
    let (server, client) = configs(&[&TLS13]);
    for is_client in [false, true] {
        let mut pair = match is_client {
            false => Pair::served(server.clone(), client.clone()),
            true => Pair::asking(server.clone(), client.clone()),
        };
        pair.run(1000);
        assert_eq!(pair.send(one(b"begun")), b"begun");
        let Stage::Traffic(traffic) = &mut pair.session.stage else { panic!("it has the keys") };
        traffic.records_per_key_max = 4;
        pair.records.clear();
        for _ in 0..60 {
            assert_eq!(pair.send(one(b"content")), b"content");
            pair.say(b"and back");
            pair.run(1000);
        }
        let updates = pair.records.iter().filter(|&&bytes| bytes == OVERHEAD_BYTES + update(0).len()).count();
        assert_eq!(pair.records.len(), 60 + updates);
        assert!((19..=21).contains(&updates), "of four records the last is an update: {updates}");
        assert_eq!(pair.received, b"and back".repeat(60));
    }
}

/// What follows the hand-shake's last record in the same breath is not rustls's any more.
#[test]
fn an_update_may_come_with_the_end_of_the_handshake() {
    let (mut server, client) = configs(&[&TLS13]);
    for tickets in [0, 2] {
        server.send_tls13_tickets = tickets;
        for piece in [1, 1000, 50_000] {
            let mut pair = Pair::served(server.clone(), client.clone());
            let hello = pair.of_peer();
            pair.feed(&hello).unwrap();
            pair.tell().unwrap();
            pair.peer.refresh_traffic_keys().unwrap();
            pair.say(b"by new keys");
            let bytes = pair.of_peer();
            bytes.chunks(piece).for_each(|piece| pair.feed(piece).unwrap());
            assert_eq!(pair.received, b"by new keys");
            assert_eq!(pair.send(one(b"mine too")), b"mine too");
        }
    }
}

#[test]
fn tickets_that_come_late_are_kept() {
    let (server, client) = configs(&[&TLS13]);
    let (server, client) = (Arc::new(server), Arc::new(client));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let peer = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut pair = Pair::new(|pool| Session::client(Arc::clone(&client), name(), pool).unwrap(), peer.into());
        pair.run(1);
        assert_eq!(pair.peer.handshake_kind(), Some(kind));
        assert_eq!(pair.session.secured().is_resumed(), kind == HandshakeKind::Resumed);
    }
}

#[test]
fn keys_that_are_not_given_away_stay_where_they_are() {
    let (mut server, mut client) = configs(&[&TLS13]);
    (server.enable_secret_extraction, client.enable_secret_extraction) = (false, false);
    for is_client in [false, true] {
        let mut pair = match is_client {
            false => Pair::served(server.clone(), client.clone()),
            true => Pair::asking(server.clone(), client.clone()),
        };
        pair.run(100);
        pair.say(b"how are you?");
        pair.run(10);
        assert_eq!(pair.received, b"how are you?");
        assert_eq!(pair.send(one(b"well")), b"well");
        assert!(matches!(pair.session.stage, Stage::Server(_) | Stage::Client(_)));
        pair.check_home();
    }
}

/// Bytes that were changed by a seed's choice are refused, and nothing else comes of them.
#[test]
fn nothing_that_was_changed_is_content() {
    for seed in 0..500_u64 {
        let side = SIDES[seed as usize % 2];
        let mut two = Two::new(side);
        let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: usize| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (chance % below as u64) as usize
        };
        let contents: Vec<Vec<u8>> = (0..1 + random(4)).map(|_| pattern(1 + random(300))).collect();
        let records: Vec<Vec<u8>> = contents.iter().map(|content| two.says(DATA, content)).collect();
        let mut bytes = records.concat();
        let place = random(bytes.len());
        let is_same_length = random(2) == 0;
        match random(2) {
            _ if is_same_length => bytes[place] ^= 1 << random(8),
            0 => drop(bytes.remove(place)),
            _ => bytes.insert(place, random(256) as u8),
        }
        let mut came = Vec::new();
        for piece in bytes.chunks(1 + random(400)) {
            let mut input = two.pool.lease(piece.len()).expect("room");
            input.put(piece);
            let mut input = input.freeze();
            while let Ok(Event::Data(chunk)) = two.session.receive(&mut input, &two.pool) {
                came.extend_from_slice(&chunk);
            }
        }
        let ends = records.iter().scan(0, |end, record| {
            *end += record.len();
            Some(*end)
        });
        let before = contents[..ends.take_while(|&end| end <= place).count()].concat();
        assert!(contents.concat().starts_with(&came), "seed {seed}");
        // A byte that comes before its like may lie behind a whole record.
        let is_exact = !is_same_length || came.len() == before.len();
        assert!(came.len() >= before.len() && is_exact, "seed {seed}: {} of {}", came.len(), before.len());
    }
}
