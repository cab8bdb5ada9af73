//! The canonical session: one reactor goes once through all that it can do, briefly, so that a fault can be put at every
//! single entry into the kernel. `.ci/inject` counts those and does so.

use std::net::Shutdown;
use std::time::Duration;

use shardwise_platform::{Buf, BufList, Datagram, Error, Group, NOBODY, Op, OpenFile, Outcome, Wait};

use crate::bed::{Bed, hash, loopback, pattern};

pub(crate) fn a_whole_session(bed: &mut Bed) {
    streams(bed);
    datagrams(bed);
    files(bed);
    what_is_given_up(bed);
    left_behind(bed);
}

/// Accept, connect, receive, send in each way, the end of input.
fn streams(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    let at_client = bed.start(Op::Receive { socket: client, group: Group::Bulk });
    bed.send(client, b"question");
    assert_eq!(bed.read(&at_server, 8), b"question");

    let parts = [pattern(6000), pattern(100), pattern(9000)];
    let mut list = Box::new(BufList::new());
    for part in &parts {
        list.push(Buf::Vec(part.clone())).expect("there is room");
    }
    let answer = bed.start(Op::SendList { socket: server, list });
    let all = parts.concat();
    assert_eq!(hash(&bed.read(&at_client, all.len())), hash(&all));
    assert!(matches!(bed.end(answer), Ok(Outcome::SentList { bytes, .. }) if bytes == all.len()));

    let zero_copy = bed.start(Op::Send { socket: client, data: pattern(3000).into(), zero_copy: true });
    assert_eq!(hash(&bed.read(&at_server, 3000)), hash(&pattern(3000)));
    assert!(matches!(bed.end(zero_copy), Ok(Outcome::Sent { bytes: 3000, .. })));

    let hushed = bed.start_for(Op::Send { socket: server, data: "quietly".into(), zero_copy: false }, NOBODY);
    bed.hush(&hushed, 9);
    assert_eq!(bed.read(&at_client, 7), b"quietly");

    bed.shutdown(server, Shutdown::Write).expect("it is connected");
    assert!(matches!(bed.end(at_client), Ok(Outcome::EndOfInput)));
    bed.close(client);
    assert!(matches!(bed.end(at_server), Ok(Outcome::EndOfInput)));
    bed.close(server);
    bed.abandon(hushed);
    bed.settle(0);
}

fn datagrams(bed: &mut Bed) {
    let (left, right) = (bed.datagram_socket(loopback()).unwrap(), bed.datagram_socket(loopback()).unwrap());
    let peer = bed.local_address(right).ok();
    let at_right = bed.start(Op::ReceiveMessage { socket: right, group: Group::Heads });
    let message = Box::new(Datagram { peer, data: pattern(900), segment: Some(300), ecn: 0, source: None });
    let sent = bed.run(Op::SendMessage { socket: left, message });
    assert!(matches!(sent, Ok(Outcome::SentMessage { bytes: 900, .. })), "{sent:?}");
    for part in pattern(900).chunks(300) {
        let Outcome::Message(message) = bed.part(&at_right) else { panic!("a datagram was sent") };
        assert!(message.data[..] == *part);
    }
    // And two that leave together.
    let two: Vec<_> = (0..2u8)
        .map(|number| {
            let message = Box::new(Datagram { peer, data: vec![number; 10], segment: None, ecn: 0, source: None });
            bed.start(Op::SendMessage { socket: left, message })
        })
        .collect();
    for send in two {
        assert!(matches!(bed.end(send), Ok(Outcome::SentMessage { bytes: 10, .. })));
    }
    for number in 0..2u8 {
        let Outcome::Message(message) = bed.part(&at_right) else { panic!("a datagram was sent") };
        assert!(message.data[..] == [number; 10]);
    }
    bed.cancel(&at_right);
    assert_eq!(bed.end(at_right).unwrap_err(), Error::Cancelled);
    bed.close_all([left, right]);
}

fn files(bed: &mut Bed) {
    let (_folder, path) = bed.scratch();
    let file = OpenFile { path, beneath: None, read: true, write: true, create: true, truncate: false };
    let Ok(Outcome::Opened(file)) = bed.run(Op::Open { file: Box::new(file) }) else { panic!("a file can be made") };
    let written = bed.run(Op::Write { file, offset: 0, data: pattern(500).into() });
    assert!(matches!(written, Ok(Outcome::Sent { bytes: 500, .. })), "{written:?}");
    assert!(matches!(bed.run(Op::Sync { file }), Ok(Outcome::Synced)));
    assert!(matches!(bed.run(Op::Stat { file }), Ok(Outcome::Stat(stat)) if stat.bytes == 500));
    let into = bed.pool().lease(1000).expect("the pool has room");
    let Ok(Outcome::Read { bytes: 500, chunk }) = bed.run(Op::Read { file, offset: 0, into }) else {
        panic!("500 bytes")
    };
    assert!(chunk[..] == pattern(500));
    bed.close(file);
}

/// Cancelled and abandoned in each stage, and what only time ends.
fn what_is_given_up(bed: &mut Bed) {
    let soon = bed.now() + Duration::from_millis(2);
    let sleep = bed.start(Op::Sleep { until: soon });
    assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
    assert!(bed.now() >= soon);

    let (client, server) = bed.pair();
    let (listener, _) = bed.listener();
    let far = bed.now() + Duration::from_secs(60);
    for cancelled in [true, false] {
        let blocked = bed.blocked_send(client);
        let waiting = [bed.start(Op::Accept { listener }), bed.receive(client), bed.start(Op::Sleep { until: far })];
        bed.enter(Wait::No);
        if cancelled {
            bed.cancel(&blocked);
            waiting.iter().for_each(|token| bed.cancel(token));
            let sent = bed.end(blocked);
            assert!(matches!(sent, Ok(Outcome::Sent { .. }) | Err(Error::Cancelled)), "{sent:?}");
            for token in waiting {
                assert_eq!(bed.end(token).unwrap_err(), Error::Cancelled);
            }
        } else {
            bed.abandon(blocked);
            bed.abandon_all(waiting);
        }
    }
    bed.close_all([client, server, listener]);
    bed.settle(0);
    assert_eq!(bed.pool().stats().pooled_bytes, 0);
}

/// The reactor is dropped with something of each kind in flight.
fn left_behind(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (listener, _) = bed.listener();
    let datagrams = bed.datagram_socket(loopback()).unwrap();
    let far = bed.now() + Duration::from_secs(60);
    let _tokens = [
        bed.blocked_send(client),
        bed.receive(server),
        bed.start(Op::Accept { listener }),
        bed.start(Op::ReceiveMessage { socket: datagrams, group: Group::Heads }),
        bed.start(Op::Sleep { until: far }),
    ];
    bed.enter(Wait::No);
    let time = bed.tear_down();
    assert!(time < Duration::from_secs(1), "{}: the teardown took {time:?}", bed.rung.name);
}
