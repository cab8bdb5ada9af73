//! Slots: tokens and handles name what they named, whoever gives an operation up at whatever moment, and nothing is lost.

use std::net::Shutdown;
use std::time::Duration;

use shardwise_platform::{Buf, BufList, Datagram, Error, Group, Handle, Op, Outcome, SocketOption, Token, Wait};

use crate::bed::{Bed, loopback, pattern};

pub(crate) fn a_spent_token_is_closed(bed: &mut Bed) {
    let until = bed.now();
    let sleep = bed.start(Op::Sleep { until });
    assert!(matches!(bed.next(&sleep).result, Ok(Outcome::Elapsed)));
    for _ in 0..2 {
        let again = bed.take(&sleep, 1).expect("an answer at once");
        assert_eq!((again.result.unwrap_err(), again.more), (Error::Closed, false));
    }
    // The slot's next operation is not reached through the old token.
    let next = bed.start(Op::Sleep { until });
    bed.cancel(&sleep);
    assert_eq!(bed.take(&sleep, 1).expect("an answer at once").result.unwrap_err(), Error::Closed);
    bed.abandon(sleep);
    assert!(matches!(bed.end(next), Ok(Outcome::Elapsed)));
}

pub(crate) fn a_stale_handle_is_closed_for_everything(bed: &mut Bed) {
    let (stale, other) = bed.pair();
    bed.close(stale);
    bed.settle(1);
    let address = bed.local_address(other).unwrap();
    // More than there are free places, so that the stale one's is taken again.
    let fresh = [(); 4].map(|()| bed.stream_socket(address).unwrap());
    assert!(!fresh.contains(&stale), "a handle is used once");

    let chunk = bed.pool().lease(100).unwrap();
    let ops = [
        Op::Accept { listener: stale },
        Op::Connect { socket: stale, peer: address },
        Op::Receive { socket: stale, group: Group::Heads },
        Op::Send { socket: stale, data: "back".into(), zero_copy: false },
        Op::SendList { socket: stale, list: Box::default() },
        Op::ReceiveMessage { socket: stale, group: Group::Bulk },
        Op::SendMessage {
            socket: stale,
            message: Box::new(Datagram { peer: None, data: vec![1], segment: None, ecn: 0, source: None }),
        },
        Op::Read { file: stale, offset: 0, into: chunk },
        Op::Write { file: stale, offset: 0, data: "back".into() },
        Op::Sync { file: stale },
        Op::Stat { file: stale },
    ];
    for op in ops {
        let name = op.name();
        let (back, error) = (**bed).start(op, 1).expect_err("a stale handle starts nothing");
        assert_eq!((back.name(), error), (name, Error::Closed), "the operation comes back");
    }
    assert_eq!(bed.shutdown(stale, Shutdown::Both), Err(Error::Closed));
    assert_eq!(bed.local_address(stale), Err(Error::Closed));
    assert_eq!(bed.peer_address(stale), Err(Error::Closed));
    assert_eq!(bed.set_option(stale, SocketOption::NoDelay(true)), Err(Error::Closed));
    bed.close(stale);
    bed.settle(5);
    bed.close_all(fresh);
    bed.close(other);
}

/// A descriptor is closed only when its last operation has ended, and each of them has its answer.
pub(crate) fn closing_cancels_what_is_in_flight_first(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.settle(2);
    let running = bed.receive(server);
    let second = bed.receive(server);
    bed.enter(Wait::No);
    let queued = bed.receive(server);
    bed.close(server);
    assert_eq!(bed.holdings().handles, 2, "the kernel still has operations on it");
    assert_eq!((**bed).start(Op::Sync { file: server }, 1).unwrap_err().1, Error::Closed, "nothing new starts");
    for token in [running, second, queued] {
        assert_eq!(bed.end(token).unwrap_err(), Error::Cancelled);
    }
    bed.settle(1);

    // The peer learns of it.
    let at_client = bed.receive(client);
    assert!(matches!(bed.end(at_client), Ok(Outcome::EndOfInput)));
    bed.close(client);
}

pub(crate) fn what_landed_before_a_cancel_is_kept(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    bed.enter(Wait::No);
    bed.send(client, b"landed");
    bed.enter_for(Duration::from_millis(3));
    bed.cancel(&at_server);
    bed.enter_for(Duration::from_millis(3));
    assert_eq!(bed.read(&at_server, 6), b"landed");
    assert_eq!(bed.end(at_server).unwrap_err(), Error::Cancelled);
    bed.close(client);
    bed.close(server);
}

fn bed_vec(bytes: usize) -> Buf {
    Buf::Vec(vec![7; bytes])
}

pub(crate) fn every_waiting_operation_can_be_cancelled(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (listener, address) = bed.listener();
    let datagrams = bed.datagram_socket(loopback()).unwrap();
    let far = bed.now() + Duration::from_secs(60);
    let _ = address;
    let waiting = [
        bed.start(Op::Accept { listener }),
        bed.receive(client),
        bed.start(Op::Receive { socket: server, group: Group::Bulk }),
        bed.start(Op::ReceiveMessage { socket: datagrams, group: Group::Heads }),
        bed.start(Op::Sleep { until: far }),
    ];
    bed.enter(Wait::No);
    bed.enter_for(Duration::from_millis(1));
    for token in &waiting {
        assert!(bed.take(token, 1).is_none(), "{}: nothing has happened", bed.rung.name);
        bed.cancel(token);
        bed.cancel(token);
    }
    for token in waiting {
        assert_eq!(bed.end(token).unwrap_err(), Error::Cancelled);
    }

    // A send of which some bytes have left says how many.
    let send = bed.blocked_send(client);
    bed.cancel(&send);
    let ended = bed.end(send);
    assert!(matches!(ended, Ok(Outcome::Sent { bytes, .. }) if bytes > 0 && bytes < 8 << 20), "{ended:?}");
    bed.close_all([client, server, listener, datagrams]);
}

/// What the kernel has done nothing of leaves nothing behind when it is cancelled, and says so.
pub(crate) fn what_waits_without_effect_is_cancelled(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.fill(client, server);
    let mut list = Box::new(BufList::new());
    list.push(Buf::Static(b"never")).expect("there is room");
    let (full, peer, first) = bed.full_listener();
    let second = bed.stream_socket(peer).unwrap();
    let waiting = [
        bed.start(Op::Send { socket: client, data: "never".into(), zero_copy: false }),
        bed.start(Op::Send { socket: client, data: "never".into(), zero_copy: true }),
        bed.start(Op::SendList { socket: client, list }),
        bed.start(Op::Connect { socket: second, peer }),
    ];
    bed.enter_for(Duration::from_millis(1));
    for token in &waiting {
        assert!(bed.take(token, 1).is_none(), "{}: nothing has happened", bed.rung.name);
        bed.cancel(token);
    }
    for token in waiting {
        assert_eq!(bed.end(token).unwrap_err(), Error::Cancelled);
    }
    bed.close_all([client, server, full, first, second]);
}

pub(crate) fn a_cancel_after_the_end_changes_nothing(bed: &mut Bed) {
    let until = bed.now();
    let sleep = bed.start(Op::Sleep { until });
    bed.enter_for(Duration::from_millis(2));
    bed.cancel(&sleep);
    bed.enter(Wait::No);
    assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
}

/// One operation of each kind that waits, and the handles they use.
fn one_of_each(bed: &mut Bed) -> (Vec<Token>, Vec<Handle>) {
    let (client, server) = bed.pair();
    let (listener, address) = bed.listener();
    let connecting = bed.stream_socket(address).unwrap();
    let datagrams = bed.datagram_socket(loopback()).unwrap();
    let to_itself = bed.local_address(datagrams).unwrap();
    let far = bed.now() + Duration::from_secs(60);
    let mut chunk = bed.pool().lease(1000).unwrap();
    chunk.put(&pattern(1000));
    let message = Datagram { peer: Some(to_itself), data: pattern(100), segment: None, ecn: 0, source: None };
    let tokens = vec![
        bed.start(Op::Accept { listener }),
        bed.start(Op::Connect { socket: connecting, peer: address }),
        bed.receive(client),
        bed.start(Op::Receive { socket: server, group: Group::Bulk }),
        bed.start(Op::Send { socket: client, data: chunk.freeze().into(), zero_copy: false }),
        bed.start(Op::Send { socket: client, data: pattern(1000).into(), zero_copy: true }),
        bed.start(Op::Send { socket: server, data: bed_vec(8 << 20), zero_copy: false }),
        bed.start(Op::ReceiveMessage { socket: datagrams, group: Group::Heads }),
        bed.start(Op::SendMessage { socket: datagrams, message: Box::new(message) }),
        bed.start(Op::Sleep { until: far }),
        bed.start(Op::Open {
            file: Box::new(shardwise_platform::OpenFile {
                path: "/dev/null".into(),
                beneath: None,
                read: true,
                write: false,
                create: false,
                truncate: false,
            }),
        }),
    ];
    (tokens, vec![client, server, listener, connecting, datagrams])
}

/// Gives everything up: first the operations, then the handles, or the other way round. The bed then finds everything home.
fn give_up(bed: &mut Bed, before: impl Fn(&mut Bed)) {
    for handles_first in [false, true] {
        let (tokens, handles) = one_of_each(bed);
        before(bed);
        if handles_first {
            handles.iter().for_each(|&handle| bed.close(handle));
        }
        bed.abandon_all(tokens);
        bed.close_all(handles);
        bed.settle(0);
    }
}

pub(crate) fn abandoned_while_queued(bed: &mut Bed) {
    give_up(bed, |_| {});
}

pub(crate) fn abandoned_while_running(bed: &mut Bed) {
    give_up(bed, |bed| drop(bed.enter(Wait::No)));
}

pub(crate) fn abandoned_with_results_unread(bed: &mut Bed) {
    give_up(bed, |bed| bed.enter_for(Duration::from_millis(3)));
}

/// Whether its accept was given up before or after it landed, a connection that nobody takes is closed.
pub(crate) fn an_abandoned_connection_is_closed(bed: &mut Bed) {
    for landed in [false, true] {
        let (listener, address) = bed.listener();
        let accept = bed.start(Op::Accept { listener });
        bed.enter(Wait::No);
        let client = bed.stream_socket(address).unwrap();
        let connect = bed.start(Op::Connect { socket: client, peer: address });
        if landed {
            assert!(matches!(bed.end(connect), Ok(Outcome::Connected)));
            bed.enter_for(Duration::from_millis(3));
            bed.abandon(accept);
            let at_client = bed.receive(client);
            let ended = bed.end(at_client);
            assert!(matches!(ended, Ok(Outcome::EndOfInput) | Err(Error::Reset)), "{ended:?}");
        } else {
            bed.abandon(accept);
            assert!(matches!(bed.end(connect), Ok(Outcome::Connected)));
        }
        bed.close(client);
        bed.close(listener);
        bed.settle(0);
    }
}

/// Descriptors closed with operations pending are reused at once by the next connection.
pub(crate) fn a_reused_descriptor_sees_nothing_of_its_past(bed: &mut Bed) {
    for round in 0..50u8 {
        let (client, server) = bed.pair();
        let (at_client, at_server) = (bed.receive(client), bed.receive(server));
        if round % 3 != 0 {
            bed.enter(Wait::No);
        }
        let data = vec![round; 100];
        bed.send(client, &data);
        if round % 2 == 0 {
            assert_eq!(bed.read(&at_server, 100), data, "round {round}");
        }
        bed.send(server, &data);
        bed.abandon(at_client);
        bed.abandon(at_server);
        bed.close(client);
        bed.close(server);
    }
}

/// More completions at once than any queue between kernel and shard holds.
pub(crate) fn ten_thousand_operations_overflow_no_queue(bed: &mut Bed) {
    const COUNT: u64 = 10_000;
    let until = bed.now();
    let sleeps: Vec<_> = (1..=COUNT).map(|waiter| bed.start_for(Op::Sleep { until }, waiter)).collect();
    let mut named = Vec::new();
    let deadline = bed.now() + crate::bed::WAIT_MAX;
    while named.len() < sleeps.len() {
        assert!(bed.now() < deadline, "{}: {} of {COUNT} have landed", bed.rung.name, named.len());
        bed.unparker.unpark();
        named.extend(bed.enter(Wait::Until(deadline)));
    }
    named.sort_unstable();
    assert!(named.into_iter().eq(1..=COUNT), "each waiter is named once");
    // Unparking has survived it too.
    bed.enter_for(Duration::from_millis(1));
    for _ in 0..3 {
        bed.unparker.unpark();
        assert!(bed.enter(Wait::Until(deadline)).is_empty());
    }
    assert!(bed.now() < deadline, "{}: the shard can still be unparked", bed.rung.name);
    for sleep in sleeps {
        assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
    }
}

/// The memory of a blocked send belongs to its slot until the kernel is done, though nobody waits for it.
pub(crate) fn a_buffer_stays_with_its_blocked_send(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let mut chunk = bed.pool().lease(60_000).unwrap();
    chunk.put(&pattern(60_000));
    let chunk = chunk.freeze();
    let blocked = bed.blocked_send(client);
    let send = bed.start(Op::Send { socket: client, data: chunk.into(), zero_copy: false });
    bed.enter(Wait::No);
    assert_ne!(bed.pool().stats().pooled_bytes, 0);
    bed.abandon(send);
    bed.abandon(blocked);
    bed.settle(2);
    assert_eq!(bed.pool().stats().pooled_bytes, 0);
    bed.close(client);
    bed.close(server);
}
