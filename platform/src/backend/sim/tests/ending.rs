//! Cancelling, abandoning and dropping, at whatever moment: all of it comes home.

use super::streams::{Sending, begin_transfer};
use super::*;

#[test]
fn what_is_cancelled_ends_at_once() {
    let mut fixture = Fixture::new(13, Plan::CALM);
    let (client, server) = fixture.pair();
    let (listener, _) = fixture.listen("127.0.0.1:0", 4);
    let datagrams = fixture.shards[SERVER].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap();
    let later = fixture.machine.now() + Duration::from_secs(3600);
    let file = Box::new(OpenFile {
        path: "/a".into(),
        beneath: None,
        read: true,
        write: false,
        create: false,
        truncate: false,
    });
    let ops = [
        Op::Accept { listener },
        Op::Receive { socket: server, group: Group::Heads },
        Op::ReceiveMessage { socket: datagrams, group: Group::Heads },
        Op::Sleep { until: later },
        Op::Open { file },
    ];
    for op in ops {
        let name = op.name();
        let token = fixture.start(SERVER, op);
        fixture.turn();
        fixture.shards[SERVER].cancel(&token);
        fixture.turn();
        let completion = fixture.shards[SERVER].take(&token, 1).unwrap_or_else(|| panic!("{name} goes on"));
        assert!(matches!(completion, Completion { result: Err(Error::Cancelled), more: false }), "{name}");
    }
    // A send that has got rid of something says so.
    let data = pattern(1, 1 << 20).into();
    let sending = fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: false });
    let behind = fixture.start(CLIENT, Op::Send { socket: client, data: "behind".into(), zero_copy: false });
    fixture.turn();
    fixture.shards[CLIENT].cancel(&sending);
    fixture.shards[CLIENT].cancel(&behind);
    let Ok(Outcome::Sent { bytes, .. }) = fixture.result(CLIENT, &sending) else { panic!() };
    assert_eq!(bytes, limits::SEND_BUFFER_BYTES);
    assert!(matches!(fixture.result(CLIENT, &behind), Err(Error::Cancelled)));
    while fixture.step() {}
    assert!(fixture.machine.elapsed() < Duration::from_secs(1), "what was cancelled is no event any more");
    fixture.finish(&[(CLIENT, client), (SERVER, server), (SERVER, listener), (SERVER, datagrams)]);
}

#[test]
fn an_operation_that_is_due_and_cancelled_ends_once() {
    let mut fixture = Fixture::new(28, Plan::CALM);
    let until = fixture.machine.now() + Duration::from_secs(1);
    let token = fixture.start(CLIENT, Op::Sleep { until });
    fixture.turn();
    fixture.machine.advance(until);
    fixture.shards[CLIENT].cancel(&token);
    assert!(matches!(fixture.next(CLIENT, &token), Completion { result: Err(Error::Cancelled), more: false }));
    assert_eq!(fixture.shards[CLIENT].stats().completions, 1);
    fixture.finish(&[]);
}

/// Runs a transfer and everything else that takes time, and stops after so many events. False if it was over before.
fn abandon_after(seed: u64, events: u32, drop_reactors: bool) -> bool {
    let mut fixture = Fixture::new(seed, PLANS[seed as usize % PLANS.len()]);
    fixture.machine.write_file("/f", pattern(1, 100));
    let style = [Sending::Plain, Sending::ZeroCopy, Sending::Lists][seed as usize % 3];
    let (listener, peer) = fixture.listen("127.0.0.1:0", 4);
    let mut handles = vec![(SERVER, listener)];
    let mut tokens = Vec::new();
    let [mut a, mut b] = begin_transfer(&mut fixture, seed, style, 20_000, 7000);
    handles.extend([(CLIENT, a.socket), (SERVER, b.socket)]);
    let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
    handles.push((CLIENT, socket));
    tokens.push((CLIENT, fixture.start(CLIENT, Op::Connect { socket, peer })));
    tokens.push((SERVER, fixture.start(SERVER, Op::Accept { listener })));
    let file = Box::new(OpenFile {
        path: "/f".into(),
        beneath: None,
        read: true,
        write: false,
        create: false,
        truncate: false,
    });
    tokens.push((CLIENT, fixture.start(CLIENT, Op::Open { file })));
    let until = fixture.machine.now() + Duration::from_millis(1);
    tokens.push((CLIENT, fixture.start(CLIENT, Op::Sleep { until })));
    let mut over = false;
    for _ in 0..events {
        let going = [a.go(&mut fixture), b.go(&mut fixture)];
        if !fixture.step() && going == [false, false] {
            over = true;
            break;
        }
    }
    tokens.extend([a, b].into_iter().flat_map(|side| {
        let shard = side.shard;
        side.sending.into_iter().chain(side.receiving).map(move |token| (shard, token))
    }));
    let machine = fixture.machine.clone();
    if drop_reactors {
        drop(fixture);
        assert_nothing_left(&machine);
    } else {
        for (shard, token) in tokens {
            fixture.shards[shard].abandon(token);
        }
        fixture.finish(&handles);
    }
    over
}

#[test]
fn whatever_is_abandoned_at_whatever_moment_comes_home() {
    for seed in 0..12 {
        let moments = (0..).take_while(|&events| !abandon_after(seed, events, false)).count();
        assert!(moments > 10, "seed {seed}: only {moments}");
    }
}

#[test]
fn a_dropped_reactor_leaves_nothing_at_whatever_moment() {
    for seed in 0..12 {
        let moments = (0..).take_while(|&events| !abandon_after(seed, events, true)).count();
        assert!(moments > 10, "seed {seed}: only {moments}");
    }
}

#[test]
fn a_zero_copy_send_keeps_its_memory_and_handle_until_notified() {
    let mut fixture = Fixture::new(14, Plan::CALM);
    let (client, server) = fixture.pair();
    let mut data = fixture.shards[CLIENT].pool().lease(1000).unwrap();
    data.put(&[7; 1000]);
    let op = Op::Send { socket: client, data: data.freeze().into(), zero_copy: true };
    let token = fixture.start(CLIENT, op);
    let Ok(Outcome::Sent { bytes: 1000, data }) = fixture.result(CLIENT, &token) else { panic!() };
    assert!(data.is_empty());
    fixture.shards[CLIENT].close(client);
    fixture.turn();
    let shard = &fixture.shards[CLIENT];
    assert_eq!((shard.holdings().operations, shard.holdings().handles), (1, 1));
    assert_eq!(shard.pool().stats().pooled_bytes, 1024);
    assert_eq!(fixture.drain(SERVER, server).0.len(), 1000);
    while fixture.step() {}
    let shard = &fixture.shards[CLIENT];
    assert_eq!((shard.holdings().operations, shard.holdings().handles), (0, 0));
    assert_eq!(shard.pool().stats().pooled_bytes, 0);
    fixture.finish(&[(SERVER, server)]);
}
