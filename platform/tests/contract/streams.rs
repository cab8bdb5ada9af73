//! Stream sockets: what goes in comes out, in order and whole, and what goes wrong has its name.

use std::io::IoSlice;
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use shardwise_platform::limits::SEND_BUFFERS_MAX;
use shardwise_platform::{Buf, BufList, Error, Group, Handle, NOBODY, Op, Outcome, PoolSize, SocketOption, Wait};

use crate::bed::{BLOCKING_BYTES, Bed, WAIT_MAX, hash, pattern};
use crate::host;

pub(crate) fn connects_and_accepts(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    let accept = bed.start(Op::Accept { listener });
    let client = bed.stream_socket(address).unwrap();
    let connected = bed.run(Op::Connect { socket: client, peer: address });
    assert!(matches!(connected, Ok(Outcome::Connected)), "{connected:?}");
    let Outcome::Accepted(server) = bed.part(&accept) else { panic!("an accept gives connections") };

    assert_eq!(bed.local_address(server), Ok(address));
    assert_eq!(bed.peer_address(client), Ok(address));
    assert_eq!(bed.peer_address(server), bed.local_address(client));
    assert_eq!(bed.set_option(client, SocketOption::NoDelay(true)), Ok(()));

    bed.cancel(&accept);
    assert_eq!(bed.end(accept).unwrap_err(), Error::Cancelled);
    bed.close_all([listener, client, server]);
}

/// More at once than a stream queues, so it is paused and goes on.
pub(crate) fn a_listener_gives_every_connection(bed: &mut Bed) {
    const CLIENT_COUNT: usize = 40;
    let (listener, address) = bed.listener();
    let accept = bed.start(Op::Accept { listener });
    let clients: Vec<_> = (0..CLIENT_COUNT).map(|_| bed.stream_socket(address).unwrap()).collect();
    let connects: Vec<_> = clients.iter().map(|&socket| bed.start(Op::Connect { socket, peer: address })).collect();
    for connect in connects {
        assert!(matches!(bed.end(connect), Ok(Outcome::Connected)));
    }
    bed.enter_for(Duration::from_millis(2));

    let mut expected: Vec<_> = clients.iter().map(|&client| bed.local_address(client).unwrap()).collect();
    let mut accepted = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..CLIENT_COUNT {
        let Outcome::Accepted(server) = bed.part(&accept) else { panic!("an accept gives connections") };
        accepted.push(bed.peer_address(server).unwrap());
        servers.push(server);
    }
    expected.sort();
    accepted.sort();
    assert_eq!(accepted, expected, "each connection once");

    bed.abandon(accept);
    bed.close_all(clients.into_iter().chain(servers).chain([listener]));
}

pub(crate) fn sends_and_receives_both_ways(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (at_client, at_server) = (bed.receive(client), bed.receive(server));
    for bytes in [1, 10, 4095, 4096, 4097, 20_000, 3] {
        let data = pattern(bytes);
        bed.send(client, &data);
        assert_eq!(hash(&bed.read(&at_server, bytes)), hash(&data), "{bytes} bytes to the server");
        bed.send(server, &data);
        assert_eq!(hash(&bed.read(&at_client, bytes)), hash(&data), "{bytes} bytes to the client");
    }
    bed.abandon(at_client);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

/// Calls for what has come until it is all there.
fn read_now(bed: &mut Bed, socket: Handle, bytes: usize) -> Vec<u8> {
    let (deadline, mut received) = (bed.now() + WAIT_MAX, Vec::new());
    while received.len() < bytes {
        match bed.receive_now(socket, Group::Heads).expect("the connection is well") {
            Some(chunk) => received.extend_from_slice(&chunk),
            None => bed.enter_for(Duration::from_millis(1)),
        }
        assert!(bed.now() < deadline, "{}: {} of {bytes} bytes came in time", bed.rung.name, received.len());
    }
    received
}

/// What has come is had at once, and a receive goes on behind it; what is nothing, an end or no buffer is left to that.
pub(crate) fn what_has_come_is_received_at_once(bed: &mut Bed) {
    let (client, server) = bed.pair();
    assert!(matches!(bed.receive_now(server, Group::Heads), Ok(None)), "nothing has come");
    bed.send(client, b"ask");
    assert_eq!(read_now(bed, server, 3), b"ask");
    let at_server = bed.receive(server);
    bed.send(client, b"and more");
    assert_eq!(bed.read(&at_server, 8), b"and more");
    bed.abandon(at_server);
    bed.close_all([client, server]);

    let (client, server) = bed.pair();
    bed.send(client, b"all");
    bed.close(client);
    assert_eq!(read_now(bed, server, 3), b"all");
    bed.enter_for(Duration::from_millis(1));
    assert!(matches!(bed.receive_now(server, Group::Heads), Ok(None)), "an end is no bytes");
    assert!(matches!(bed.run(Op::Receive { socket: server, group: Group::Heads }), Ok(Outcome::EndOfInput)));
    bed.close(server);

    let (client, server) = bed.pair();
    bed.set_option(client, SocketOption::Linger(Some(Duration::ZERO))).unwrap();
    bed.close(client);
    let deadline = bed.now() + WAIT_MAX;
    let failure = loop {
        match bed.receive_now(server, Group::Heads) {
            Ok(received) => assert!(received.is_none() && bed.now() < deadline, "a reset comes in time"),
            Err(error) => break error,
        }
        bed.enter_for(Duration::from_millis(1));
    };
    assert_eq!(failure, Error::Reset);
    bed.close(server);
    assert_eq!(bed.receive_now(server, Group::Heads).unwrap_err(), Error::Closed);
}

/// Without a buffer nothing is received at once, and nothing lost.
pub(crate) fn without_a_buffer_nothing_is_received_at_once(bed: &mut Bed) {
    let mut bed = bed.with_pool(PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: 1 << 20 });
    let (client, server) = bed.pair();
    let (other_client, other_server) = bed.pair();
    // Who receives has the buffer, or the kernel has it for them.
    let at_other = bed.receive(other_server);
    bed.send(other_client, b"first");
    let held = bed.part(&at_other);
    bed.send(client, b"second");
    bed.enter_for(Duration::from_millis(1));
    let now = bed.receive_now(server, Group::Heads).expect("the connection is well");
    drop(held);
    bed.abandon(at_other);
    let mut received = now.map_or_else(Vec::new, |chunk| chunk.to_vec());
    let at_server = bed.receive(server);
    let left = 6 - received.len();
    received.extend(bed.read(&at_server, left));
    assert_eq!(received, b"second");
    bed.abandon(at_server);
    bed.close_all([client, server, other_client, other_server]);
    bed.finish();
}

/// What leaves at once leaves with the end of its direction; the other goes on.
pub(crate) fn the_last_send_ends_its_direction(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (at_client, at_server) = (bed.receive(client), bed.receive(server));
    let sent = bed.send_last(server, &[IoSlice::new(b"good"), IoSlice::new(b"bye")]).unwrap();
    if sent < 7 {
        // A network that cuts: the rest, and the end, are left to the caller.
        bed.send(server, &b"goodbye"[sent..]);
        bed.shutdown(server, Shutdown::Write).unwrap();
    }
    assert_eq!(bed.read(&at_client, 7), b"goodbye");
    assert!(matches!(bed.end(at_client), Ok(Outcome::EndOfInput)));
    let late = bed.run(Op::Send { socket: server, data: "late".into(), zero_copy: false });
    assert_eq!(late.unwrap_err(), Error::BrokenPipe);
    bed.send(client, b"I heard");
    assert_eq!(bed.read(&at_server, 7), b"I heard");
    bed.abandon(at_server);
    bed.close_all([client, server]);
    assert_eq!(bed.send_last(server, &[]).unwrap_err(), Error::Closed);
}

/// What does not fit is not sent, and the direction goes on.
pub(crate) fn a_last_send_that_does_not_fit_ends_nothing(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let data = pattern(BLOCKING_BYTES);
    let sent = bed.send_last(server, &[IoSlice::new(&data)]).unwrap();
    assert!(sent < data.len(), "{}: nobody reads", bed.rung.name);
    let at_client = bed.receive(client);
    assert_eq!(hash(&bed.read(&at_client, sent)), hash(&data[..sent]));
    bed.send(server, b"the rest");
    assert_eq!(bed.read(&at_client, 8), b"the rest");
    bed.abandon(at_client);
    bed.close_all([client, server]);
}

pub(crate) fn half_close_ends_one_direction_only(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (at_client, at_server) = (bed.receive(client), bed.receive(server));
    bed.send(client, b"question");
    bed.shutdown(client, Shutdown::Write).unwrap();
    assert_eq!(bed.read(&at_server, 8), b"question");
    assert!(matches!(bed.end(at_server), Ok(Outcome::EndOfInput)));

    bed.send(server, b"answer");
    assert_eq!(bed.read(&at_client, 6), b"answer");
    let sent = bed.run(Op::Send { socket: client, data: "more".into(), zero_copy: false });
    assert_eq!(sent.unwrap_err(), Error::BrokenPipe, "this side has said that it sends no more");

    // The end stays the end, for whoever asks again.
    let again = bed.receive(server);
    assert!(matches!(bed.end(again), Ok(Outcome::EndOfInput)));
    bed.close(server);
    assert!(matches!(bed.end(at_client), Ok(Outcome::EndOfInput)));
    bed.close(client);
}

pub(crate) fn a_reset_is_an_error(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    bed.enter(Wait::No);
    bed.set_option(client, SocketOption::Linger(Some(Duration::ZERO))).unwrap();
    bed.close(client);
    assert_eq!(bed.end(at_server).unwrap_err(), Error::Reset);
    let sent = bed.run(Op::Send { socket: server, data: "late".into(), zero_copy: false });
    assert_eq!(sent.unwrap_err(), host::reset_before(bed.rung.kind));
    bed.close(server);
}

pub(crate) fn nobody_listens_and_the_connection_is_refused(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    bed.close(listener);
    bed.settle(0);
    let client = bed.stream_socket(address).unwrap();
    let connected = bed.run(Op::Connect { socket: client, peer: address });
    assert_eq!(connected.unwrap_err(), Error::Refused);
    bed.close(client);
}

pub(crate) fn misuse_of_sockets_is_an_error(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    let loose = bed.stream_socket(address).unwrap();
    let received = bed.run(Op::Receive { socket: loose, group: Group::Heads });
    assert_eq!(received.unwrap_err(), Error::NotConnected);
    let sent = bed.run(Op::Send { socket: loose, data: "x".into(), zero_copy: false });
    assert!(matches!(sent, Err(Error::BrokenPipe | Error::NotConnected)), "{sent:?}");
    assert_eq!(bed.run(Op::Accept { listener: loose }).unwrap_err(), Error::Invalid);
    assert_eq!(bed.shutdown(loose, Shutdown::Both), Err(Error::NotConnected));
    assert_eq!(bed.peer_address(loose), Err(Error::NotConnected));
    bed.close(loose);
    bed.close(listener);
}

/// Short or unordered sends corrupt the stream: 64 KiB lists of all kinds of buffers through a send buffer that takes a
/// few of their bytes at a time.
pub(crate) fn short_sends_keep_the_stream_whole(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.set_option(client, SocketOption::SendBuffer(4096)).unwrap();
    bed.set_option(client, SocketOption::NoDelay(true)).unwrap();
    let at_server = bed.receive(server);
    static STATIC: [u8; 1024] = [0x5a; 1024];
    for round in 0..4usize {
        let mut list = Box::new(BufList::new());
        let mut expected = Vec::new();
        for index in 0..SEND_BUFFERS_MAX {
            let data = pattern(1000 + round * 7 + index);
            let buf = match index % 4 {
                0 => Buf::Static(&STATIC),
                1 => Buf::Bytes(Bytes::from(data)),
                2 => Buf::Vec(data),
                _ => {
                    let mut chunk = bed.pool().lease(data.len()).expect("the pool has room");
                    chunk.put(&data);
                    Buf::Chunk(chunk.freeze())
                }
            };
            expected.extend_from_slice(&buf);
            list.push(buf).expect("as many as fit");
        }
        let send = bed.start(Op::SendList { socket: client, list });
        assert_eq!(hash(&bed.read(&at_server, expected.len())), hash(&expected), "round {round}");
        let Ok(Outcome::SentList { bytes, list }) = bed.end(send) else { panic!("all has been read, so all was sent") };
        assert_eq!((bytes, list.len(), list.bytes()), (expected.len(), SEND_BUFFERS_MAX, expected.len()));
        let back: Vec<u8> = list.iter().flat_map(|buf| buf.iter().copied()).collect();
        assert_eq!(hash(&back), hash(&expected), "the list comes back whole");
    }
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn one_large_send_leaves_whole(bed: &mut Bed) {
    const BYTES: usize = 3 << 20;
    let (client, server) = bed.pair();
    let data = Bytes::from(pattern(BYTES));
    let send = bed.start(Op::Send { socket: client, data: data.clone().into(), zero_copy: false });
    let at_server = bed.start(Op::Receive { socket: server, group: Group::Bulk });
    assert_eq!(hash(&bed.read(&at_server, BYTES)), hash(&data));
    let Ok(Outcome::Sent { bytes, .. }) = bed.end(send) else { panic!("all has been read, so all was sent") };
    assert_eq!(bytes, BYTES);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn zero_copy_gives_its_buffer_back_once(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    for _ in 0..4 {
        let data = pattern(16 * 1024);
        let mut chunk = bed.pool().lease(data.len()).expect("the pool has room");
        chunk.put(&data);
        let send = bed.start(Op::Send { socket: client, data: chunk.freeze().into(), zero_copy: true });
        assert_eq!(hash(&bed.read(&at_server, data.len())), hash(&data));
        let Ok(Outcome::Sent { bytes, data: back }) = bed.end(send) else {
            panic!("all has been read, so all was sent")
        };
        assert_eq!(bytes, data.len());
        assert!(back.is_empty() || back.as_slice() == data, "with the kernel, or back whole");
    }
    // The operation is in flight until the kernel has given the memory back; `settle` waits for that, and the bed then
    // finds no chunk leased.
    bed.abandon(at_server);
    bed.settle(2);
    assert_eq!(bed.pool().stats().pooled_bytes, 0);

    let late = bed.start(Op::Send { socket: client, data: pattern(100).into(), zero_copy: true });
    bed.enter(Wait::No);
    bed.abandon(late);
    bed.close(client);
    bed.close(server);
}

/// As long as there is room for all of them; of two that have to wait the bytes may mix, see `Op::Send`.
pub(crate) fn sends_started_together_leave_in_order(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let parts: Vec<Vec<u8>> = (1..=20u8).map(|byte| vec![byte; 50 * usize::from(byte)]).collect();
    let start = |part: &Vec<u8>| bed.start(Op::Send { socket: client, data: part.clone().into(), zero_copy: false });
    let sends: Vec<_> = parts.iter().map(start).collect();
    for (send, part) in sends.into_iter().zip(&parts) {
        let Ok(Outcome::Sent { bytes, data }) = bed.end(send) else { panic!("there is room for all") };
        assert_eq!((bytes, data.as_slice()), (part.len(), part.as_slice()));
    }
    let all = parts.concat();
    let at_server = bed.receive(server);
    assert!(bed.read(&at_server, all.len()) == all);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn an_empty_send_is_a_send(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.send(client, b"");
    let sent = bed.run(Op::SendList { socket: client, list: Box::default() });
    assert!(matches!(sent, Ok(Outcome::SentList { bytes: 0, .. })), "{sent:?}");
    bed.close(client);
    bed.close(server);
}

/// The last bytes and the end may be one piece of news: no second one comes for the end.
pub(crate) fn input_that_came_with_its_end_is_read_to_the_end(bed: &mut Bed) {
    for bytes in [1, 4096, 10_000, 40_000] {
        let (client, server) = bed.pair();
        let at_server = bed.receive(server);
        bed.enter(Wait::No);
        let data = pattern(bytes);
        bed.send(client, &data);
        bed.close(client);
        assert_eq!(hash(&bed.read(&at_server, bytes)), hash(&data));
        assert!(matches!(bed.end(at_server), Ok(Outcome::EndOfInput)));
        bed.close(server);
    }
}

/// A hushed send that leaves whole is over without a word, and its memory is home.
pub(crate) fn a_hushed_send_ends_without_a_word(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let receive = bed.receive(server);
    let mut chunk = bed.pool().lease(100).expect("the pool has room");
    chunk.put(b"quietly");
    let send = bed.start_for(Op::Send { socket: client, data: chunk.freeze().into(), zero_copy: false }, NOBODY);
    let landed = bed.hush(&send, 9);
    assert!(!landed);
    assert_eq!(bed.read(&receive, 7), b"quietly");
    bed.enter_for(Duration::from_millis(2));
    assert!(bed.is_spent(&send), "its slot is free");
    assert_eq!(bed.pool().stats().pooled_bytes, 0, "its memory is home");
    assert!(matches!(bed.take(&send, 9).map(|completion| completion.result), Some(Err(Error::Closed))));

    // So is a list, and the pool has its memory for the next.
    let mut list = bed.pool().list();
    list.push("in ".into()).unwrap();
    list.push("parts".into()).unwrap();
    let place = std::ptr::from_ref(&*list);
    let send = bed.start_for(Op::SendList { socket: client, list }, NOBODY);
    let landed = bed.hush(&send, 9);
    assert!(!landed);
    assert_eq!(bed.read(&receive, 8), b"in parts");
    bed.enter_for(Duration::from_millis(2));
    assert!(bed.is_spent(&send), "its slot is free");
    let list = bed.pool().list();
    assert!(list.is_empty() && std::ptr::eq(place, &*list));

    // The same in one call, which finds out that a handle is closed.
    let mut chunk = bed.pool().lease(100).expect("the pool has room");
    chunk.put(b"at once");
    let send = bed.send_quietly(client, chunk.freeze(), 9).expect("the handle is open");
    assert_eq!(bed.read(&receive, 7), b"at once");
    bed.enter_for(Duration::from_millis(2));
    assert!(bed.is_spent(&send), "its slot is free");
    assert_eq!(bed.pool().stats().pooled_bytes, 0, "its memory is home");
    let (stale, other) = bed.pair();
    bed.close_all([stale, other]);
    let chunk = bed.pool().lease(100).expect("the pool has room").freeze();
    assert_eq!(bed.send_quietly(stale, chunk, 9).map(drop), Err(Error::Closed));
    assert_eq!(bed.pool().stats().pooled_bytes, 0, "its memory is home");

    // Asking takes the wish back.
    let send = bed.start_for(Op::Send { socket: client, data: "aloud".into(), zero_copy: false }, NOBODY);
    if !bed.is_spent(&send) && !bed.hush(&send, 9) && bed.take(&send, 9).is_none() {
        assert!(matches!(bed.end(send), Ok(Outcome::Sent { bytes: 5, .. })));
    }
    bed.abandon(receive);
    bed.close(client);
    bed.close(server);
}

/// A hushed send that has to wait for its peer leaves whole all the same, whatever of it has left at once, and so does a list.
pub(crate) fn a_hushed_send_that_waits_leaves_whole(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.set_option(client, SocketOption::SendBuffer(4096)).unwrap();
    let receive = bed.receive(server);
    let data = pattern(300_000);
    let mut list = Box::new(BufList::new());
    for part in data.chunks(30_000) {
        list.push(Buf::Vec(part.to_vec())).unwrap();
    }
    let whole = Op::Send { socket: client, data: Buf::Vec(data.clone()), zero_copy: false };
    for op in [whole, Op::SendList { socket: client, list }] {
        let send = bed.start_for(op, NOBODY);
        assert!(!bed.hush(&send, 9));
        bed.enter_for(Duration::from_millis(3));
        assert_eq!(hash(&bed.read(&receive, data.len())), hash(&data));
        let deadline = bed.now() + WAIT_MAX;
        while !bed.is_spent(&send) {
            assert!(bed.now() < deadline, "{}: its slot is free in time", bed.rung.name);
            bed.enter_for(Duration::from_millis(1));
        }
        bed.abandon(send);
    }
    bed.abandon(receive);
    bed.close_all([client, server]);
}

/// What goes wrong with a hushed send is told.
pub(crate) fn a_hushed_send_that_fails_is_told(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.shutdown(client, Shutdown::Write).unwrap();
    let send = bed.start_for(Op::Send { socket: client, data: "too late".into(), zero_copy: false }, NOBODY);
    if !bed.hush(&send, 9) {
        let deadline = bed.now() + WAIT_MAX;
        assert_eq!(bed.enter(Wait::Until(deadline)), [9]);
    }
    assert!(!bed.is_spent(&send));
    assert_eq!(bed.end(send).unwrap_err(), Error::BrokenPipe);
    bed.close(client);
    bed.close(server);
}

/// A hushed send of which only a part has left is told, with how much that was.
pub(crate) fn a_hushed_send_that_is_cut_short_is_told(bed: &mut Bed) {
    let (client, server) = bed.pair();
    bed.set_option(client, SocketOption::SendBuffer(4096)).unwrap();
    let data = Buf::Vec(vec![7; BLOCKING_BYTES]);
    let send = bed.start_for(Op::Send { socket: client, data, zero_copy: false }, NOBODY);
    assert!(!bed.hush(&send, 9));
    bed.enter_for(Duration::from_millis(3));
    assert!(!bed.is_spent(&send));
    bed.cancel(&send);
    let deadline = bed.now() + WAIT_MAX;
    assert_eq!(bed.enter(Wait::Until(deadline)), [9]);
    let sent = bed.end(send);
    assert!(matches!(sent, Ok(Outcome::Sent { bytes, .. }) if bytes > 0 && bytes < BLOCKING_BYTES), "{sent:?}");
    bed.close_all([client, server]);
}
