//! Datagrams: whole or marked, with their sender, alone or as a batch.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use shardwise_platform::limits::HEAD_BUFFER_BYTES;
use shardwise_platform::{
    BackendKind, Datagram, DatagramOptions, Error, Group, Handle, Message, Op, Outcome, PoolSize, SocketOption, Token,
    Wait,
};

use crate::bed::{Bed, WAIT_MAX, loopback, pattern};

fn socket(bed: &mut Bed) -> (Handle, SocketAddr) {
    let handle = bed.datagram_socket(loopback()).expect("a datagram socket");
    let address = bed.local_address(handle).expect("a bound socket");
    (handle, address)
}

fn receive(bed: &mut Bed, socket: Handle) -> Token {
    bed.start(Op::ReceiveMessage { socket, group: Group::Heads })
}

#[track_caller]
fn send(bed: &mut Bed, socket: Handle, message: Datagram) -> Result<usize, Error> {
    let data = message.data.clone();
    match bed.run(Op::SendMessage { socket, message: Box::new(message) })? {
        Outcome::SentMessage { bytes, message } => {
            assert_eq!(message.data, data, "the datagram comes back");
            Ok(bytes)
        }
        other => panic!("a datagram was sent, not {other:?}"),
    }
}

fn to(peer: SocketAddr, data: Vec<u8>) -> Datagram {
    Datagram { peer: Some(peer), data, segment: None, ecn: 0, source: None }
}

#[track_caller]
fn message(bed: &mut Bed, token: &Token) -> Message {
    match bed.part(token) {
        Outcome::Message(message) => *message,
        other => panic!("a datagram was received, not {other:?}"),
    }
}

pub(crate) fn datagrams_go_both_ways(bed: &mut Bed) {
    let ((left, left_address), (right, right_address)) = (socket(bed), socket(bed));
    let (at_left, at_right) = (receive(bed, left), receive(bed, right));
    for bytes in [0, 1, 1200, 3000] {
        let data = pattern(bytes);
        assert_eq!(send(bed, left, to(right_address, data.clone())), Ok(bytes));
        let Message { data: got, peer, segment, truncated, .. } = message(bed, &at_right);
        assert!(got[..] == data[..], "{bytes} bytes");
        assert_eq!((peer, segment, truncated), (left_address, None, false));
        assert_eq!(send(bed, right, to(left_address, data.clone())), Ok(bytes));
        let back = message(bed, &at_left);
        assert_eq!((back.data.len(), back.peer), (bytes, right_address));
    }
    bed.abandon(at_left);
    bed.abandon(at_right);
    bed.close(left);
    bed.close(right);
}

pub(crate) fn a_connected_socket_needs_no_address(bed: &mut Bed) {
    let ((client, client_address), (server, server_address)) = (socket(bed), socket(bed));
    let connected = bed.run(Op::Connect { socket: client, peer: server_address });
    assert!(matches!(connected, Ok(Outcome::Connected)), "{connected:?}");
    let at_server = receive(bed, server);
    assert_eq!(
        send(bed, client, Datagram { peer: None, data: pattern(10), segment: None, ecn: 0, source: None }),
        Ok(10)
    );
    assert_eq!(message(bed, &at_server).peer, client_address);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn a_long_datagram_is_cut_and_marked(bed: &mut Bed) {
    let ((client, _), (server, address)) = (socket(bed), socket(bed));
    let at_server = receive(bed, server);
    let data = pattern(HEAD_BUFFER_BYTES as usize + 500);
    assert_eq!(send(bed, client, to(address, data.clone())), Ok(data.len()));
    let got = message(bed, &at_server);
    assert!(got.truncated);
    assert!(got.data.len() <= HEAD_BUFFER_BYTES as usize && got.data.len() > HEAD_BUFFER_BYTES as usize / 2);
    assert!(got.data[..] == data[..got.data.len()]);
    drop(got);
    assert_eq!(send(bed, client, to(address, pattern(5))), Ok(5));
    assert!(!message(bed, &at_server).truncated, "the next is whole again");
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

/// Generic segmentation offload: one send, several datagrams, the last one shorter.
pub(crate) fn a_batch_leaves_as_its_segments(bed: &mut Bed) {
    let ((client, _), (server, address)) = (socket(bed), socket(bed));
    let at_server = receive(bed, server);
    let data = pattern(5 * 1000 + 100);
    let batch = Datagram { segment: Some(1000), ..to(address, data.clone()) };
    assert_eq!(send(bed, client, batch), Ok(data.len()));
    for part in data.chunks(1000) {
        let got = message(bed, &at_server);
        assert!(got.data[..] == *part);
        assert_eq!(got.segment, None, "the socket has not asked for joined datagrams");
    }
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

/// Many datagrams that are started together, to two peers in turn, a batch and one that cannot leave among them: each has its
/// own answer, and each peer gets its own in order.
pub(crate) fn datagrams_started_together_have_an_answer_each(bed: &mut Bed) {
    const COUNT: usize = 20;
    let ((client, _), (left, left_address), (right, right_address)) = (socket(bed), socket(bed), socket(bed));
    let receiving = [receive(bed, left), receive(bed, right)];
    let addresses = [left_address, right_address];
    let message = |number: usize| match number {
        7 => Datagram { segment: Some(50), ..to(addresses[1], vec![7; 100]) },
        12 => to(addresses[0], vec![0; 70_000]),
        _ => to(addresses[number % 2], vec![number as u8; 10 + number]),
    };
    let start = |number| bed.start(Op::SendMessage { socket: client, message: Box::new(message(number)) });
    let sends: Vec<_> = (0..COUNT).map(start).collect();
    for (number, send) in sends.into_iter().enumerate() {
        let expected = message(number);
        match bed.end(send) {
            Ok(Outcome::SentMessage { bytes, message }) => {
                assert_ne!(number, 12, "too large to leave");
                assert_eq!((bytes, &message.data), (expected.data.len(), &expected.data), "{number}");
            }
            other => assert_eq!((number, other.unwrap_err()), (12, Error::TooLarge)),
        }
    }
    for number in (0..COUNT).filter(|&number| number != 12) {
        let expected = message(number);
        for part in expected.data.chunks(expected.segment.map_or(usize::MAX, usize::from)) {
            assert!(self::message(bed, &receiving[number % 2]).data[..] == *part, "{number}");
        }
    }
    bed.abandon_all(receiving);
    bed.close_all([client, left, right]);
}

/// The portable calls of pollers have no place for the marks: datagrams go without.
pub(crate) fn congestion_marks_arrive(bed: &mut Bed) {
    let carries = bed.rung.kind != BackendKind::Polling;
    let arrives = |ecn| if carries { ecn } else { 0 };
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let Ok(client) = bed.datagram_socket(address) else {
            println!("skipped: no {address} on this host");
            continue;
        };
        let server = bed.datagram_socket(address).unwrap();
        let asked = bed.set_option(server, SocketOption::TellEcn(true));
        assert_eq!(asked, if carries { Ok(()) } else { Err(Error::Unsupported) });
        let server_address = bed.local_address(server).unwrap();
        let at_server = receive(bed, server);
        for ecn in [0, 1, 2, 3] {
            assert_eq!(send(bed, client, Datagram { ecn, ..to(server_address, pattern(20)) }), Ok(20));
            let got = message(bed, &at_server);
            assert_eq!((got.ecn, got.data.len()), (arrives(ecn), 20), "{address}");
        }
        let batch = Datagram { segment: Some(10), ecn: 2, ..to(server_address, pattern(20)) };
        assert_eq!(send(bed, client, batch), Ok(20));
        for _ in 0..2 {
            let got = message(bed, &at_server);
            assert_eq!((got.ecn, got.data.len()), (arrives(2), 10), "{address}");
        }
        bed.abandon(at_server);
        bed.close(client);
        bed.close(server);
    }
}

/// A socket bound to no address in particular answers from the one that it was asked at. Over IPv6 and, in IPv6 form, over
/// IPv4, with all else that is told of a datagram.
pub(crate) fn an_answer_comes_from_where_its_question_went(bed: &mut Bed) {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    let mapped = |ip: Ipv4Addr| IpAddr::from(ip.to_ipv6_mapped());
    let [one, two] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    let table = [
        (v4, IpAddr::from(one), IpAddr::from(one)),
        (v4, two.into(), two.into()),
        (v6, two.into(), mapped(two)),
        (v6, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
    ];
    for (bound, asked, told) in table {
        let (Ok(server), Ok(client)) = (
            bed.datagram_socket(SocketAddr::new(bound, 0)),
            bed.datagram_socket(SocketAddr::new(if asked.is_ipv4() { one.into() } else { asked }, 0)),
        ) else {
            println!("skipped: no {asked} on this host");
            continue;
        };
        if bed.rung.kind == BackendKind::Polling {
            assert_eq!(bed.set_option(server, SocketOption::TellLocal(true)), Err(Error::Unsupported));
            bed.close_all([client, server]);
            continue;
        }
        let port = bed.local_address(server).unwrap().port();
        let (at_server, at_client) = (receive(bed, server), receive(bed, client));
        let question = |ecn| Datagram { ecn, ..to(SocketAddr::new(asked, port), pattern(20)) };
        assert_eq!(send(bed, client, question(0)), Ok(20));
        assert_eq!(message(bed, &at_server).local, None, "nobody has asked");
        for option in [SocketOption::TellLocal(true), SocketOption::TellEcn(true), SocketOption::JoinDatagrams(true)] {
            assert_eq!(bed.set_option(server, option), Ok(()));
        }
        assert_eq!(bed.set_option(client, SocketOption::TellEcn(true)), Ok(()));
        assert_eq!(send(bed, client, Datagram { segment: Some(10), ..question(2) }), Ok(20));
        for _ in 0..if bed.rung.kind == BackendKind::Sim { 2 } else { 1 } {
            let got = message(bed, &at_server);
            assert_eq!((got.local, got.ecn), (Some(told), 2), "{asked}");
            let source = got.local;
            let answer = Datagram { segment: Some(100), ecn: 1, source, ..to(got.peer, pattern(200)) };
            assert_eq!(send(bed, server, answer), Ok(200));
            for _ in 0..2 {
                let got = message(bed, &at_client);
                assert_eq!((got.peer, got.ecn), (SocketAddr::new(asked, port), 1), "{asked}");
            }
        }
        bed.abandon_all([at_server, at_client]);
        bed.close_all([client, server]);
    }
}

/// Sockets that share an address: what one sender sends comes to one of them, unless they are names of one; nobody else has the
/// port, until all are closed.
pub(crate) fn an_address_is_shared_by_those_opened_together(bed: &mut Bed) {
    let options = DatagramOptions::default();
    let opened = bed.datagram_sockets(loopback(), 3, &options).expect("a free port");
    let address = opened[0].local_address().unwrap();
    assert!(opened.iter().all(|socket| socket.local_address() == Ok(address)));
    let taken = bed.datagram_sockets(address, 2, &options).map(drop).unwrap_err();
    assert_eq!((taken.error, taken.address), (Error::AddressInUse, address));
    let servers: Vec<_> = opened.into_iter().map(|socket| bed.adopt(socket).unwrap()).collect();
    let receiving: Vec<_> = servers.iter().map(|&server| receive(bed, server)).collect();
    let mut reached = BTreeSet::new();
    for _ in 0..32 {
        let (client, from) = socket(bed);
        let mut places = BTreeSet::new();
        for bytes in [10, 20] {
            assert_eq!(send(bed, client, to(address, pattern(bytes))), Ok(bytes));
            let deadline = bed.now() + WAIT_MAX;
            let (place, got) = loop {
                let arrived = |place: usize| Some((place, bed.take(&receiving[place], 1)?));
                match (0..receiving.len()).find_map(arrived) {
                    Some(arrived) => break arrived,
                    None => assert!(bed.now() < deadline, "it arrives somewhere"),
                }
                bed.enter(Wait::Until(deadline));
            };
            let Ok(Outcome::Message(got)) = got.result else { panic!("{got:?}") };
            assert_eq!((got.peer, got.data.len()), (from, bytes));
            places.insert(place);
        }
        assert!(places.len() == 1 || cfg!(not(target_os = "linux")), "{}: {places:?}", bed.rung.name);
        reached.extend(places);
        bed.close(client);
    }
    assert!(reached.len() > 1 || cfg!(not(target_os = "linux")), "{}: all went to {reached:?}", bed.rung.name);
    bed.abandon_all(receiving);
    bed.close_all(servers);
    bed.settle(0);
    assert!(bed.datagram_sockets(address, 1, &options).is_ok(), "the port is free again");
}

/// Generic receive offload: what one sender sends at once arrives at once, if the socket asks for it. Eighty datagrams cost
/// as many completions as there were sends, and not eighty.
pub(crate) fn datagrams_are_joined_for_who_asks(bed: &mut Bed) {
    const SENDS: usize = 8;
    let ((client, client_address), (server, address)) = (socket(bed), socket(bed));
    if bed.rung.kind == BackendKind::Polling {
        assert_eq!(bed.set_option(server, SocketOption::JoinDatagrams(true)), Err(Error::Unsupported));
        return bed.close_all([client, server]);
    }
    assert_eq!(bed.set_option(server, SocketOption::JoinDatagrams(true)), Ok(()));
    let at_server = bed.start(Op::ReceiveMessage { socket: server, group: Group::Bulk });
    let data = pattern(10 * 1200 - 7);
    for _ in 0..SENDS {
        let batch = Datagram { segment: Some(1200), ecn: 1, ..to(address, data.clone()) };
        assert_eq!(send(bed, client, batch), Ok(data.len()));
    }
    for _ in 0..SENDS {
        let got = message(bed, &at_server);
        assert_eq!((got.segment, got.peer, got.truncated), (Some(1200), client_address, false));
        assert!(got.data[..] == data[..], "{} bytes", got.data.len());
    }
    // One that comes alone is one.
    assert_eq!(send(bed, client, to(address, pattern(100))), Ok(100));
    let got = message(bed, &at_server);
    assert_eq!((got.data.len(), got.segment.unwrap_or(100)), (100, 100));
    // Those who no longer ask get them one by one.
    assert_eq!(bed.set_option(server, SocketOption::JoinDatagrams(false)), Ok(()));
    assert_eq!(send(bed, client, Datagram { segment: Some(1200), ..to(address, data.clone()) }), Ok(data.len()));
    for part in data.chunks(1200) {
        let got = message(bed, &at_server);
        assert!(got.data[..] == *part && got.segment.is_none());
    }
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn errors_of_datagrams(bed: &mut Bed) {
    let ((client, _), (gone, gone_address)) = (socket(bed), socket(bed));
    assert_eq!(send(bed, client, to(gone_address, vec![0; 70_000])), Err(Error::TooLarge));
    let no_peer = Datagram { peer: None, data: pattern(1), segment: None, ecn: 0, source: None };
    assert!(send(bed, client, no_peer).is_err(), "nobody to send to");

    // A closed port answers, and the answer comes with the next call.
    bed.close(gone);
    bed.settle(1);
    assert!(matches!(bed.run(Op::Connect { socket: client, peer: gone_address }), Ok(Outcome::Connected)));
    let at_client = receive(bed, client);
    bed.enter(Wait::No);
    assert_eq!(
        send(bed, client, Datagram { peer: None, data: pattern(1), segment: None, ecn: 0, source: None }),
        Ok(1)
    );
    assert_eq!(bed.end(at_client).unwrap_err(), Error::Refused);
    bed.close(client);
}

/// The socket goes on after an error, and what had come before it is not lost, nor what comes after.
pub(crate) fn datagrams_behind_an_error_are_received(bed: &mut Bed) {
    let ((client, client_address), (server, server_address)) = (socket(bed), socket(bed));
    assert!(matches!(bed.run(Op::Connect { socket: client, peer: server_address }), Ok(Outcome::Connected)));
    for bytes in 1..=6 {
        assert_eq!(send(bed, server, to(client_address, pattern(bytes))), Ok(bytes));
    }
    bed.enter_for(Duration::from_millis(1));
    bed.close(server);
    bed.settle(1);
    assert_eq!(
        send(bed, client, Datagram { peer: None, data: pattern(1), segment: None, ecn: 0, source: None }),
        Ok(1)
    );
    bed.enter_for(Duration::from_millis(1));
    let at_client = receive(bed, client);
    assert_eq!(bed.end(at_client).unwrap_err(), Error::Refused);
    let at_client = receive(bed, client);
    for bytes in 1..=6 {
        assert!(message(bed, &at_client).data[..] == pattern(bytes));
    }
    assert_eq!(
        send(bed, client, Datagram { peer: None, data: pattern(1), segment: None, ecn: 0, source: None }),
        Ok(1)
    );
    assert_eq!(bed.end(at_client).unwrap_err(), Error::Refused, "each closed port is told once");
    bed.close(client);
}

pub(crate) fn a_starved_datagram_stream_recovers(bed: &mut Bed) {
    let mut bed = bed.with_pool(PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: 1 << 20 });
    let ((client, _), (server, address)) = (socket(&mut bed), socket(&mut bed));
    let at_server = receive(&mut bed, server);
    assert_eq!(send(&mut bed, client, to(address, pattern(2000))), Ok(2000));
    let pinned = message(&mut bed, &at_server);
    assert_eq!(send(&mut bed, client, to(address, pattern(2001))), Ok(2001));
    let deadline = bed.now() + WAIT_MAX;
    while bed.stats().starved == 0 {
        assert!(bed.now() < deadline, "the stream finds no buffer");
        bed.enter_for(Duration::from_millis(1));
    }
    drop(pinned);
    assert_eq!(message(&mut bed, &at_server).data.len(), 2001);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
    bed.finish();
}

pub(crate) fn a_datagram_stream_can_be_cancelled(bed: &mut Bed) {
    let ((client, _), (server, address)) = (socket(bed), socket(bed));
    let at_server = receive(bed, server);
    // More than a stream queues, so some stay with the kernel while it is paused.
    for _ in 0..30 {
        assert_eq!(send(bed, client, to(address, pattern(10))), Ok(10));
    }
    bed.enter_for(Duration::from_millis(2));
    for _ in 0..30 {
        assert_eq!(message(bed, &at_server).data.len(), 10);
    }
    bed.cancel(&at_server);
    assert_eq!(bed.end(at_server).unwrap_err(), Error::Cancelled);
    bed.close(client);
    bed.close(server);
}
