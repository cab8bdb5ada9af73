//! Receive buffers: few of them, many streams. A stream that finds none waits and loses nothing; one that is not read is
//! paused.

#![allow(clippy::disallowed_methods, reason = "threads that hold what a pool shares are what is tested")]

use std::cell::RefCell;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use shardwise_platform::limits::{BULK_QUEUE_MAX, COMPACT_BYTES_MAX, HEAD_BUFFER_BYTES, STREAM_QUEUE_MAX};
use shardwise_platform::{
    BackendKind, Choice, Chunk, Completion, Config, Error, Features, Group, Handle, Op, Outcome, PoolSize, Token, Wait,
    select,
};

use crate::bed::{Bed, WAIT_MAX, hash, pattern};

/// Too large to be copied away when buffers are scarce, so its lease pins its buffer.
const PINNING_BYTES: usize = COMPACT_BYTES_MAX + 1;

fn tiny(bed: &Bed, head_buffers: u16) -> Bed {
    bed.with_pool(PoolSize { head_buffers, bulk_buffers: 1, bytes: 1 << 20 })
}

fn chunk(bed: &mut Bed, token: &Token) -> Chunk {
    match bed.part(token) {
        Outcome::Received(chunk) => chunk,
        other => panic!("a receive gives chunks, not {other:?}"),
    }
}

/// A stream that has found no buffer, the lease that keeps it waiting, and the connection's two sides.
fn starved(bed: &mut Bed) -> (Token, Chunk, [Handle; 4]) {
    let (first_client, first) = bed.pair();
    let (second_client, second) = bed.pair();
    let at_first = bed.receive(first);
    bed.send(first_client, &pattern(PINNING_BYTES));
    let pinned = chunk(bed, &at_first);
    bed.abandon(at_first);
    bed.settle(4);
    let before = bed.stats().starved;
    let at_second = bed.receive(second);
    bed.send(second_client, &pattern(2 * PINNING_BYTES));
    let deadline = bed.now() + WAIT_MAX;
    while bed.stats().starved == before {
        assert!(bed.now() < deadline, "the stream finds no buffer");
        let soon = bed.now() + Duration::from_millis(1);
        bed.enter(Wait::Until(soon));
    }
    assert!(bed.take(&at_second, 1).is_none());
    (at_second, pinned, [first_client, first, second_client, second])
}

pub(crate) fn enobufs_with_a_pool_of_one_buffer(bed: &mut Bed) {
    for buffers in [1, 2] {
        let mut bed = tiny(bed, buffers);
        let pairs: Vec<_> = (0..4).map(|_| bed.pair()).collect();
        let tokens: Vec<_> = pairs.iter().map(|&(_, server)| bed.receive(server)).collect();
        for round in 0..3 {
            let data = pattern(6000 + round);
            for &(client, _) in &pairs {
                bed.send(client, &data);
            }
            for received in read_all(&mut bed, &tokens, data.len()) {
                assert_eq!(hash(&received), hash(&data), "{buffers} buffers, round {round}");
            }
        }
        assert!(bed.stats().starved > 0, "{} buffers for four streams are not enough", buffers);
        bed.abandon_all(tokens);
        pairs.into_iter().for_each(|(client, server)| {
            bed.close(client);
            bed.close(server);
        });
        bed.finish();
    }
}

/// Takes so many bytes from each of several streams, from whichever has some: one that is not read may hold the buffer
/// that another waits for.
fn read_all(bed: &mut Bed, tokens: &[Token], count: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(); tokens.len()];
    let deadline = bed.now() + WAIT_MAX;
    while all.iter().any(|received| received.len() < count) {
        assert!(bed.now() < deadline, "{}: buffers go round", bed.rung.name);
        let mut has_some = false;
        for (token, received) in tokens.iter().zip(&mut all) {
            while let Some(completion) = bed.take(token, 1) {
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!("a receive gives chunks") };
                received.extend_from_slice(&chunk);
                has_some = true;
            }
        }
        bed.enter(if has_some { Wait::No } else { Wait::Until(deadline) });
    }
    all
}

/// A ring is given few of the buffers that there are, and more when these do not suffice.
pub(crate) fn a_ring_that_is_short_is_given_more(bed: &mut Bed) {
    let mut bed = tiny(bed, 64);
    let pairs: Vec<_> = (0..64).map(|_| bed.pair()).collect();
    let tokens: Vec<_> = pairs.iter().map(|&(_, server)| bed.receive(server)).collect();
    let data = pattern(PINNING_BYTES);
    let mut starved = Vec::new();
    for _ in 0..8 {
        for &(client, _) in &pairs {
            bed.send(client, &data);
        }
        for received in read_all(&mut bed, &tokens, data.len()) {
            assert_eq!(hash(&received), hash(&data));
        }
        starved.push(bed.stats().starved);
    }
    if bed.rung.is_calm() {
        assert_eq!(starved[4], starved[7], "{}: there are enough for all", bed.rung.name);
    }
    bed.abandon_all(tokens);
    pairs.into_iter().for_each(|(client, server)| bed.close_all([client, server]));
    bed.finish();
}

/// Leases on the last buffers are copied, so that they keep nobody waiting however long they are held.
pub(crate) fn leases_never_pin_the_last_buffers(bed: &mut Bed) {
    let mut bed = tiny(bed, 8);
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    let mut held = Vec::new();
    for byte in 0..20u8 {
        bed.send(client, &[byte; 10]);
        held.push(chunk(&mut bed, &at_server));
    }
    assert_eq!(bed.pool().stats().heads_leased, 7);
    assert_eq!(bed.pool().stats().compactions, 13);
    assert!(held.iter().zip(0u8..).all(|(chunk, byte)| chunk[..] == [byte; 10]));
    drop(held);
    bed.abandon(at_server);
    bed.close(client);
    bed.close(server);
    bed.finish();
}

pub(crate) fn a_starved_stream_waits_as_long_as_it_must(bed: &mut Bed) {
    let mut bed = tiny(bed, 1);
    let (token, pinned, handles) = starved(&mut bed);
    let restarts = bed.stats().restarts;
    for _ in 0..100 {
        bed.enter(Wait::No);
    }
    bed.enter_for(Duration::from_millis(5));
    assert!(bed.take(&token, 1).is_none());
    assert!(bed.stats().restarts - restarts <= 1, "it is not tried over and over");
    drop(pinned);
    let data = bed.read(&token, 2 * PINNING_BYTES);
    assert_eq!(hash(&data), hash(&pattern(2 * PINNING_BYTES)));
    bed.abandon(token);
    bed.close_all(handles);
    bed.finish();
}

/// A cancelled receive that waited for a buffer stays ended when one comes home.
pub(crate) fn a_starved_stream_can_be_cancelled(bed: &mut Bed) {
    let mut bed = tiny(bed, 1);
    let (token, pinned, handles) = starved(&mut bed);
    bed.cancel(&token);
    drop(pinned);
    bed.enter_for(Duration::from_millis(2));
    let last = bed.next(&token);
    assert_eq!((last.result.unwrap_err(), last.more), (Error::Cancelled, false));
    assert_eq!(bed.take(&token, 1).expect("a spent token").result.unwrap_err(), Error::Closed);
    bed.close_all(handles);
    bed.finish();
}

/// Two streams wait and there is one buffer. Bytes arrive for both, and before the shard has looked it cancels the one that
/// finds none: whichever of the two it hears of first, that stream ends, and not only when a buffer comes home.
pub(crate) fn a_stream_that_is_cancelled_as_it_starves_ends(bed: &mut Bed) {
    let mut bed = tiny(bed, 1);
    let (listener, address) = bed.listener();
    let accept = bed.start(Op::Accept { listener });
    for round in 0..20 {
        // Peers that need no turn of this shard.
        let mut clients = [(); 2].map(|()| TcpStream::connect(address).expect("the listener lives"));
        let servers = [(); 2].map(|()| match bed.part(&accept) {
            Outcome::Accepted(server) => server,
            other => panic!("an accept gives connections, not {other:?}"),
        });
        let [first, second] = servers.map(|server| bed.receive(server));
        bed.enter(Wait::No);
        for client in &mut clients {
            client.write_all(&pattern(PINNING_BYTES)).expect("the kernel has room");
        }
        if round % 4 == 0 {
            bed.enter_for(Duration::from_millis(1));
        }
        // Connections are accepted in the order in which they were made, and the first takes the buffer.
        bed.cancel(&second);
        let pinned = chunk(&mut bed, &first);
        match bed.end(second) {
            Err(error) => assert_eq!(error, Error::Cancelled, "round {round}"),
            Ok(outcome) => panic!("{}: round {round}: {outcome:?}", bed.rung.name),
        }
        drop(pinned);
        bed.abandon(first);
        bed.close_all(servers);
    }
    bed.abandon(accept);
    bed.close(listener);
    bed.finish();
}

pub(crate) fn a_starved_stream_can_be_abandoned(bed: &mut Bed) {
    let mut bed = tiny(bed, 1);
    let (token, pinned, handles) = starved(&mut bed);
    bed.abandon(token);
    drop(pinned);
    bed.close_all(handles);
    bed.finish();
}

/// A stream with more unread results than it may have.
fn paused(bed: &mut Bed) -> (Token, [Handle; 2], Vec<u8>) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    // What comes first may be all; who asks for more is to have it.
    bed.send(client, b"first");
    assert_eq!(bed.read(&token, 5), b"first");
    assert!(bed.take(&token, 1).is_none());
    bed.enter(Wait::No);
    let mut sent = Vec::new();
    let deadline = bed.now() + WAIT_MAX;
    while bed.stats().pauses == 0 {
        assert!(bed.now() < deadline, "the stream is paused");
        let data = pattern(4 * PINNING_BYTES);
        bed.send(client, &data);
        sent.extend_from_slice(&data);
        bed.enter(Wait::No);
    }
    bed.enter_for(Duration::from_millis(2));
    assert_eq!(bed.stats().pauses, 1, "it is paused once");
    (token, [client, server], sent)
}

pub(crate) fn a_slow_reader_pauses_its_stream(bed: &mut Bed) {
    let (token, [client, server], mut sent) = paused(bed);
    // What comes now stays in the kernel.
    let leased = bed.pool().stats().heads_leased;
    assert!(leased >= STREAM_QUEUE_MAX);
    for _ in 0..20 {
        let data = pattern(1000);
        bed.send(client, &data);
        sent.extend_from_slice(&data);
    }
    bed.enter_for(Duration::from_millis(2));
    assert_eq!(bed.pool().stats().heads_leased, leased, "a paused stream takes no more buffers");

    assert_eq!(hash(&bed.read(&token, sent.len())), hash(&sent), "it goes on, and no byte is lost");
    bed.send(client, b"and on");
    assert_eq!(bed.read(&token, 6), b"and on");
    bed.abandon(token);
    bed.close(client);
    bed.close(server);
}

pub(crate) fn chunks_are_taken_by_a_way_of_their_own(bed: &mut Bed) {
    let (token, [client, server], sent) = paused(bed);
    let deadline = bed.now() + WAIT_MAX;
    let next = |bed: &mut Bed| loop {
        if let Some(taken) = bed.take_chunk(&token, 1) {
            return taken;
        }
        assert!(bed.now() < deadline, "{}: more comes in time", bed.rung.name);
        bed.enter(Wait::Until(deadline));
    };
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend_from_slice(&next(bed).expect("a stream that was paused goes on"));
    }
    assert_eq!(hash(&received), hash(&sent));
    bed.close(client);
    let ended = next(bed).expect_err("what is no chunk is a completion");
    assert!(matches!(ended, Completion { result: Ok(Outcome::EndOfInput), more: false }), "{ended:?}");
    let spent = next(bed).expect_err("nothing is left");
    assert_eq!(spent.result.expect_err("the token is spent"), Error::Closed);
    bed.close(server);
}

pub(crate) fn a_paused_stream_can_be_cancelled(bed: &mut Bed) {
    let (token, handles, sent) = paused(bed);
    bed.cancel(&token);
    let mut bytes = 0;
    let ended = loop {
        match bed.next(&token).result {
            Ok(Outcome::Received(chunk)) => bytes += chunk.len(),
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err(), Error::Cancelled);
    assert!(bytes > 0 && bytes <= sent.len());
    bed.close_all(handles);
}

pub(crate) fn a_paused_stream_can_be_abandoned(bed: &mut Bed) {
    let (token, handles, _) = paused(bed);
    bed.abandon(token);
    bed.settle(2);
    assert_eq!(bed.pool().stats().heads_leased, 0);
    bed.close_all(handles);
}

/// Bytes race the cancel of the receive that they came for, at every distance. Whichever wins, the buffer that they were
/// to lie in is not lost: at the end all of the pool can be filled at once.
pub(crate) fn a_cancelled_receive_loses_no_buffer(bed: &mut Bed) {
    const BUFFERS: u16 = 4;
    let mut bed = tiny(bed, BUFFERS);
    for round in 0..100u32 {
        let (client, server) = bed.pair();
        let token = bed.receive(server);
        if round % 4 != 0 {
            bed.enter(Wait::No);
        }
        let send = bed.start(Op::Send { socket: client, data: pattern(PINNING_BYTES).into(), zero_copy: false });
        if round % 3 == 0 {
            bed.enter(Wait::No);
        }
        bed.cancel(&token);
        bed.enter(Wait::No);
        bed.abandon_all([send, token]);
        bed.close_all([client, server]);
        if round % 5 == 0 {
            bed.settle(0);
        }
    }
    bed.settle(0);
    assert_eq!(bed.pool().stats().heads_leased, 0);
    if !bed.rung.is_calm() {
        // A machine that misses buffers or cuts what comes does not fill all of them at once.
        return bed.finish();
    }

    let starved = bed.stats().starved;
    let pairs: Vec<_> = (0..BUFFERS).map(|_| bed.pair()).collect();
    let tokens: Vec<_> = pairs.iter().map(|&(_, server)| bed.receive(server)).collect();
    for &(client, _) in &pairs {
        bed.send(client, &pattern(PINNING_BYTES));
    }
    let pinned: Vec<_> = tokens.iter().map(|token| chunk(&mut bed, token)).collect();
    assert_eq!((pinned.len(), bed.stats().starved), (usize::from(BUFFERS), starved), "every buffer is there");
    drop(pinned);
    bed.abandon_all(tokens);
    pairs.into_iter().for_each(|(client, server)| bed.close_all([client, server]));
    bed.finish();
}

pub(crate) fn a_lease_outlives_the_reactor(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    let data = pattern(3000);
    bed.send(client, &data);
    let kept = chunk(bed, &token);
    let mut pooled = bed.pool().lease(100).expect("the pool has room");
    bed.tear_down();
    assert_eq!(&kept[..], &data[..kept.len()]);
    let part = kept.slice(10..20);
    drop(kept);
    assert_eq!(part[..], data[10..20]);
    pooled.put(&part);
    assert_eq!(pooled.freeze()[..], data[10..20]);
}

/// Of the few buffers of a small pool, a quarter may be shared.
const SHARING_BUFFERS: u16 = 4;

/// A chunk of a receive buffer that is shared and not copied.
fn shared(bed: &mut Bed, client: Handle, at_server: &Token, byte: u8) -> Bytes {
    bed.send(client, &[byte; HEAD_BUFFER_BYTES as usize]);
    let chunk = chunk(bed, at_server);
    let start = chunk.as_ptr();
    let shared = chunk.share();
    assert_eq!(shared.as_ptr(), start, "{}: it is not copied", bed.rung.name);
    shared
}

/// A stream waits for a buffer, and the only one that can come home is shared. `give_back` drops it somewhere.
fn starve_by_sharing(bed: &mut Bed, give_back: fn(Bytes)) {
    let mut bed = tiny(bed, SHARING_BUFFERS);
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    let out = shared(&mut bed, client, &at_server, 1);
    let mut held = Vec::new();
    for byte in 2..=SHARING_BUFFERS as u8 {
        bed.send(client, &[byte; PINNING_BYTES]);
        held.push(chunk(&mut bed, &at_server));
    }
    let before = bed.stats().starved;
    bed.send(client, &pattern(PINNING_BYTES));
    let deadline = bed.now() + WAIT_MAX;
    while bed.stats().starved == before {
        assert!(bed.now() < deadline, "the stream finds no buffer");
        let soon = bed.now() + Duration::from_millis(1);
        bed.enter(Wait::Until(soon));
    }
    give_back(out);
    assert_eq!(hash(&bed.read(&at_server, PINNING_BYTES)), hash(&pattern(PINNING_BYTES)));
    let stats = bed.pool().stats();
    assert_eq!((stats.shared, stats.shared_returned), (0, 1));
    assert!(held.iter().zip(2..).all(|(chunk, byte)| chunk[..] == [byte; PINNING_BYTES]));
    drop(held);
    bed.abandon(at_server);
    bed.close_all([client, server]);
    bed.finish();
}

/// What came home before the shard looks is found by its look.
pub(crate) fn a_shared_buffer_comes_home_from_another_thread(bed: &mut Bed) {
    starve_by_sharing(bed, |out| {
        std::thread::spawn(move || assert!(out.iter().all(|&byte| byte == 1))).join().unwrap();
    });
    starve_by_sharing(bed, drop);
}

/// A shard that sleeps while a stream waits for a buffer is woken by whoever gives one back. Nobody would else: the sleep is as
/// long as the test may take.
pub(crate) fn a_sleeping_shard_is_woken_for_the_buffer_it_waits_for(bed: &mut Bed) {
    for _ in 0..3 {
        starve_by_sharing(bed, |out| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                drop(out);
            });
        });
    }
}

thread_local! {
    /// Its destructor runs late in a thread's life, when much is gone already.
    static KEPT: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
}

/// Drops it in the destructor of a thread-local.
fn drop_late(out: Bytes) {
    std::thread::spawn(move || KEPT.with_borrow_mut(|kept| kept.push(out))).join().unwrap();
}

/// Shared buffers live as long as whoever holds them, wherever that is.
pub(crate) fn what_is_shared_outlives_the_reactor(bed: &mut Bed) {
    let mut bed = tiny(bed, 4 * SHARING_BUFFERS);
    let (client, server) = bed.pair();
    let at_server = bed.receive(server);
    let mut share = |byte| shared(&mut bed, client, &at_server, byte);
    let (first, second, third, fourth) = (share(1), share(2), share(3), share(4));
    drop_late(first);
    assert_eq!((bed.pool().stats().shared, bed.pool().stats().shared_returned), (3, 1));
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1));
        assert!(second.iter().all(|&byte| byte == 2));
    });
    bed.tear_down();
    holder.join().unwrap();
    drop_late(third);
    assert!(fourth.iter().all(|&byte| byte == 4));
}

/// Uploads cannot starve heads: with every bulk buffer pinned, small messages go on.
pub(crate) fn bulk_and_heads_do_not_share(bed: &mut Bed) {
    let mut bed = tiny(bed, 2);
    let (uploader, upload) = bed.pair();
    let (client, server) = bed.pair();
    let at_upload = bed.start(Op::Receive { socket: upload, group: Group::Bulk });
    bed.send(uploader, &pattern(PINNING_BYTES));
    let pinned = chunk(&mut bed, &at_upload);
    assert_eq!(bed.pool().stats().bulk_leased, 1);
    bed.send(uploader, &pattern(PINNING_BYTES));

    let at_server = bed.receive(server);
    bed.send(client, b"head");
    assert_eq!(bed.read(&at_server, 4), b"head");
    drop(pinned);
    assert_eq!(bed.read(&at_upload, PINNING_BYTES).len(), PINNING_BYTES);
    bed.abandon(at_upload);
    bed.abandon(at_server);
    bed.close_all([uploader, upload, client, server]);
    bed.finish();
}

/// A receive that fills several buffers gives them in their order, however they have gone round before.
pub(crate) fn what_spans_buffers_keeps_its_order(bed: &mut Bed) {
    let mut bed = tiny(bed, 8);
    let pairs: Vec<_> = (0..3).map(|_| bed.pair()).collect();
    let tokens: Vec<_> = pairs.iter().map(|&(_, server)| bed.receive(server)).collect();
    let mut held = Vec::new();
    for round in 0..40 {
        let data = pattern(2 * HEAD_BUFFER_BYTES as usize + 100 * round);
        for &(client, _) in &pairs {
            bed.send(client, &data);
        }
        for received in read_all(&mut bed, &tokens, data.len()) {
            assert_eq!(hash(&received), hash(&data), "{}: round {round}", bed.rung.name);
        }
        // One buffer stays out for a while, so that they do not come home in the order in which they left.
        bed.send(pairs[0].0, &[round as u8; PINNING_BYTES]);
        let mut left = PINNING_BYTES;
        while left > 0 {
            let chunk = chunk(&mut bed, &tokens[0]);
            left -= chunk.len();
            held.push(chunk);
        }
        if round % 3 == 2 {
            held.clear();
        }
    }
    drop(held);
    bed.abandon_all(tokens);
    pairs.into_iter().for_each(|(client, server)| bed.close_all([client, server]));
    bed.finish();
}

/// A socket that has filled a buffer is given several from then on, for which its stream starts again: once, and not with
/// each message.
pub(crate) fn a_socket_with_much_to_receive_starts_again_once(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    let restarts = bed.stats().restarts;
    for round in 0..10 {
        let data = pattern(2 * HEAD_BUFFER_BYTES as usize + 100 * round);
        bed.send(client, &data);
        assert_eq!(hash(&bed.read(&token, data.len())), hash(&data), "{}: round {round}", bed.rung.name);
    }
    let restarts = bed.stats().restarts - restarts;
    // What lacks a feature may start again for each buffer, and choppy input makes many of them wait.
    let is_plain = bed.rung.is_calm() && bed.rung.features == Features::ALL;
    assert!(restarts <= 1 || !is_plain, "{}: {restarts} restarts", bed.rung.name);
    // Where a ring has all that it may have, it has started again for just this.
    let config = Config::default();
    let is_whole = || select(Choice::Force(BackendKind::Uring), &config).is_ok_and(|it| it.why.contains("all ring"));
    if is_plain && bed.rung.kind == BackendKind::Uring && is_whole() {
        assert_eq!(restarts, 1, "{}", bed.rung.name);
    }
    bed.abandon(token);
    bed.close_all([client, server]);
}

/// A stream changes over to large buffers and back at any distance from the bytes that arrive, and loses none.
pub(crate) fn a_stream_changes_its_buffers_and_loses_nothing(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    for round in 0..60u32 {
        let group = if round % 2 == 0 { Group::Bulk } else { Group::Heads };
        let data = pattern(1 + 700 * round as usize);
        if round % 3 == 0 {
            bed.enter(Wait::No);
        }
        if round % 5 < 3 {
            bed.draw_from(&token, group);
        }
        let send = bed.start(Op::Send { socket: client, data: data.clone().into(), zero_copy: false });
        if round % 4 == 0 {
            bed.enter(Wait::No);
        }
        bed.draw_from(&token, group);
        if round % 7 == 0 {
            // Taken back before the kernel has heard of it, and wished again.
            bed.draw_from(&token, Group::Heads);
            bed.draw_from(&token, group);
        }
        let received = bed.read(&token, data.len());
        assert_eq!(hash(&received), hash(&data), "{}: round {round}", bed.rung.name);
        bed.abandon(send);
    }
    // It draws from what it was told to.
    for (group, counts) in [(Group::Bulk, [0, 1]), (Group::Heads, [1, 0])] {
        bed.draw_from(&token, group);
        bed.enter_for(Duration::from_millis(2));
        bed.send(client, b"x");
        let chunk = chunk(bed, &token);
        let stats = bed.pool().stats();
        assert_eq!([stats.heads_leased, stats.bulk_leased], counts, "{}: {chunk:?}", bed.rung.name);
    }
    bed.draw_from(&token, Group::Bulk);
    bed.cancel(&token);
    assert_eq!(bed.end(token).unwrap_err(), Error::Cancelled);
    bed.close_all([client, server]);
}

/// A stream that waits for a buffer does not wait for it any more when it is to draw from others.
pub(crate) fn a_starved_stream_changes_its_buffers(bed: &mut Bed) {
    let mut bed = tiny(bed, 1);
    let (token, pinned, handles) = starved(&mut bed);
    bed.draw_from(&token, Group::Bulk);
    assert_eq!(hash(&bed.read(&token, 2 * PINNING_BYTES)), hash(&pattern(2 * PINNING_BYTES)));
    drop(pinned);
    bed.abandon(token);
    bed.close_all(handles);
    bed.finish();
}

/// An upload whose reader is slow takes its share of the large buffers, and leaves some for others.
pub(crate) fn a_slow_upload_leaves_buffers_for_others(bed: &mut Bed) {
    let mut bed = bed.with_pool(PoolSize { head_buffers: 4, bulk_buffers: 32, bytes: 4 << 20 });
    let (uploader, upload) = bed.pair();
    let at_upload = bed.start(Op::Receive { socket: upload, group: Group::Bulk });
    let sends: Vec<_> = (0..8)
        .map(|_| bed.start(Op::Send { socket: uploader, data: pattern(1 << 20).into(), zero_copy: false }))
        .collect();
    // A machine that is busy may take a while for the first of it.
    for _ in 0..50 {
        bed.enter_for(Duration::from_millis(20));
        if bed.pool().stats().bulk_leased > 0 {
            break;
        }
    }
    bed.enter_for(Duration::from_millis(20));
    let leased = bed.pool().stats().bulk_leased;
    assert!((1..=BULK_QUEUE_MAX).contains(&leased), "{}: {leased} buffers", bed.rung.name);
    bed.abandon_all(sends);
    bed.abandon(at_upload);
    bed.close_all([uploader, upload]);
    bed.finish();
}
