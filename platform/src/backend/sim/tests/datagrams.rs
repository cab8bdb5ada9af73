//! Datagrams: whole, cut, lost, and out of order if planned.

use super::*;

#[test]
fn datagrams_arrive_whole_with_their_sender() {
    // Bytes; size of each when they are a batch; the sizes that arrive, and whether they are cut.
    type Arrivals = &'static [(usize, bool)];
    let table: [(usize, Option<u16>, Arrivals); 7] = [
        (5, None, &[(5, false)]),
        (0, None, &[(0, false)]),
        (ROOM, None, &[(ROOM, false)]),
        (ROOM + 1, None, &[(ROOM, true)]),
        (2500, Some(1000), &[(1000, false), (1000, false), (500, false)]),
        (1000, Some(1000), &[(1000, false)]),
        (65_507, None, &[(ROOM, true)]),
    ];
    for (len, segment, arrives) in table {
        let mut fixture = Fixture::new(19, Plan::CALM);
        let bind = |fixture: &mut Fixture, shard: usize, address: &str| {
            fixture.shards[shard].datagram_socket(address.parse().unwrap()).unwrap()
        };
        let server = bind(&mut fixture, SERVER, "0.0.0.0:443");
        let client = bind(&mut fixture, CLIENT, "10.0.0.7:0");
        assert!(fixture.shards[CLIENT].datagram_socket("10.0.0.1:443".parse().unwrap()).is_err());
        let token = fixture.start(SERVER, Op::ReceiveMessage { socket: server, group: Group::Heads });
        let data = pattern(len as u64, len);
        let message =
            Datagram { peer: Some("10.0.0.1:443".parse().unwrap()), data: data.clone(), segment, ecn: 2, source: None };
        let sent = fixture.run(CLIENT, Op::SendMessage { socket: client, message: Box::new(message) });
        assert!(matches!(sent, Ok(Outcome::SentMessage { bytes, .. }) if bytes == len), "{len}: {sent:?}");
        let mut offset = 0;
        for &(size, cut) in arrives {
            let Ok(Outcome::Message(message)) = fixture.result(SERVER, &token) else { panic!("{len}") };
            assert_eq!((message.data.len(), message.truncated, message.ecn), (size, cut, 2), "{len}");
            assert!(*message.data == data[offset..offset + size]);
            assert_eq!(message.peer, fixture.shards[CLIENT].local_address(client).unwrap());
            offset += size;
        }
        fixture.shards[SERVER].abandon(token);
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
    }
}

#[test]
fn datagrams_that_cannot_go_are_refused() {
    let peer: SocketAddr = "10.0.0.1:443".parse().unwrap();
    let table = [
        (Some(peer), 65_508, None, Error::TooLarge),
        (Some(peer), 65_000, Some(100), Error::Invalid),
        (None, 10, None, error_of(code::EDESTADDRREQ)),
    ];
    for (peer, len, segment, error) in table {
        let mut fixture = Fixture::new(20, Plan::CALM);
        let socket = fixture.shards[CLIENT].datagram_socket("10.0.0.7:0".parse().unwrap()).unwrap();
        let message = Box::new(Datagram { peer, data: vec![0; len], segment, ecn: 0, source: None });
        let sent = fixture.run(CLIENT, Op::SendMessage { socket, message });
        assert!(matches!(sent, Err(told) if told == error), "{len}: {sent:?}");
        fixture.finish(&[(CLIENT, socket)]);
    }
}

#[test]
fn a_connected_datagram_socket_hears_its_peer_only_and_learns_of_a_closed_port() {
    let mut fixture = Fixture::new(21, Plan::CALM);
    let [a, b, stranger] = [CLIENT, SERVER, SERVER]
        .map(|shard| fixture.shards[shard].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap());
    let address = |fixture: &Fixture, shard: usize, handle| fixture.shards[shard].local_address(handle).unwrap();
    let (to_a, to_b) = (address(&fixture, CLIENT, a), address(&fixture, SERVER, b));
    // It may choose another.
    for peer in [address(&fixture, SERVER, stranger), to_b] {
        assert!(matches!(fixture.run(CLIENT, Op::Connect { socket: a, peer }), Ok(Outcome::Connected)));
        assert_eq!(fixture.shards[CLIENT].peer_address(a), Ok(peer));
    }
    let message =
        |peer, text: &str| Box::new(Datagram { peer, data: text.into(), segment: None, ecn: 0, source: None });
    for (socket, text) in [(stranger, "psst"), (b, "hello")] {
        let sent = fixture.run(SERVER, Op::SendMessage { socket, message: message(Some(to_a), text) });
        assert!(matches!(sent, Ok(Outcome::SentMessage { .. })));
    }
    let receive = fixture.start(CLIENT, Op::ReceiveMessage { socket: a, group: Group::Heads });
    let Ok(Outcome::Message(heard)) = fixture.result(CLIENT, &receive) else { panic!() };
    assert_eq!((&*heard.data, heard.peer), (&b"hello"[..], to_b));

    fixture.shards[SERVER].close(b);
    fixture.turn();
    let sent = fixture.run(CLIENT, Op::SendMessage { socket: a, message: message(None, "anyone?") });
    assert!(matches!(sent, Ok(Outcome::SentMessage { .. })));
    assert!(matches!(fixture.result(CLIENT, &receive), Err(Error::Refused)));
    let again = fixture.start(CLIENT, Op::ReceiveMessage { socket: a, group: Group::Heads });
    while fixture.step() {}
    assert!(fixture.shards[CLIENT].take(&again, 1).is_none(), "the socket goes on");
    fixture.shards[CLIENT].abandon(again);
    drop(heard);
    fixture.finish(&[(CLIENT, a), (SERVER, stranger)]);
}

#[test]
fn datagrams_beyond_the_queue_are_dropped() {
    let mut fixture = Fixture::new(29, Plan::CALM);
    let [a, b] =
        [CLIENT, SERVER].map(|shard| fixture.shards[shard].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap());
    let peer = Some(fixture.shards[SERVER].local_address(b).unwrap());
    for _ in 0..3 {
        for _ in 0..10 {
            let message = Box::new(Datagram { peer, data: vec![1; 60_000], segment: None, ecn: 0, source: None });
            assert!(fixture.run(CLIENT, Op::SendMessage { socket: a, message }).is_ok());
        }
        while fixture.step() {}
        let receive = fixture.start(SERVER, Op::ReceiveMessage { socket: b, group: Group::Bulk });
        for _ in 0..limits::DATAGRAM_QUEUE_BYTES_MAX / 60_000 {
            assert!(matches!(fixture.result(SERVER, &receive), Ok(Outcome::Message(_))));
        }
        while fixture.step() {}
        assert!(fixture.shards[SERVER].take(&receive, 1).is_none());
        fixture.shards[SERVER].abandon(receive);
    }
    fixture.finish(&[(CLIENT, a), (SERVER, b)]);
}

#[test]
fn datagrams_overtake_each_other_only_if_planned() {
    let order = |plan| {
        let mut fixture = Fixture::new(22, plan);
        let [a, b] = [CLIENT, SERVER]
            .map(|shard| fixture.shards[shard].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap());
        let peer = Some(fixture.shards[SERVER].local_address(b).unwrap());
        for number in 0..20 {
            let message = Box::new(Datagram { peer, data: vec![number], segment: None, ecn: 0, source: None });
            assert!(fixture.run(CLIENT, Op::SendMessage { socket: a, message }).is_ok());
        }
        let receive = fixture.start(SERVER, Op::ReceiveMessage { socket: b, group: Group::Heads });
        let order: Vec<u8> = (0..20)
            .map(|_| match fixture.result(SERVER, &receive) {
                Ok(Outcome::Message(message)) => message.data[0],
                other => panic!("{other:?}"),
            })
            .collect();
        fixture.shards[SERVER].abandon(receive);
        fixture.finish(&[(CLIENT, a), (SERVER, b)]);
        order
    };
    let (sorted, mixed): (Vec<u8>, _) = ((0..20).collect(), order(Plan::CHOPPY));
    assert_eq!(order(Plan::CALM), sorted);
    assert_ne!(mixed, sorted);
    assert!(sorted.iter().all(|number| mixed.contains(number)));
}

/// Sends numbered datagrams, and gives what arrives, in order.
fn numbered(seed: u64, plan: Plan, count: u8) -> Vec<Vec<u8>> {
    let pool = PoolSize { head_buffers: 16, bulk_buffers: 1, bytes: 1 << 20 };
    let mut fixture = Fixture::with_pool(seed, plan, pool);
    let [a, b] =
        [CLIENT, SERVER].map(|shard| fixture.shards[shard].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap());
    let peer = Some(fixture.shards[SERVER].local_address(b).unwrap());
    let receive = fixture.start(SERVER, Op::ReceiveMessage { socket: b, group: Group::Heads });
    let mut arrived = Vec::new();
    for number in 0..=count {
        // The last round only waits.
        if number < count {
            let message = Box::new(Datagram { peer, data: vec![number; 20], segment: None, ecn: 0, source: None });
            assert!(fixture.run(CLIENT, Op::SendMessage { socket: a, message }).is_ok());
        } else {
            while fixture.step() {}
        }
        loop {
            while let Some(completion) = fixture.shards[SERVER].take(&receive, 1) {
                let Ok(Outcome::Message(message)) = completion.result else { panic!() };
                arrived.push(message.data.to_vec());
            }
            if number < count || !fixture.step() {
                break;
            }
        }
    }
    fixture.shards[SERVER].abandon(receive);
    fixture.finish(&[(CLIENT, a), (SERVER, b)]);
    arrived
}

#[test]
fn datagrams_are_lost_doubled_and_spoilt_only_if_planned() {
    let whole: Vec<Vec<u8>> = (0..100).map(|number| vec![number; 20]).collect();
    assert_eq!(numbered(33, Plan::CALM, 100), whole);

    let some = numbered(33, Plan { lost_datagrams: 0.3, ..Plan::CALM }, 100);
    assert!((50..90).contains(&some.len()), "{} arrive", some.len());
    assert!(some.is_sorted() && some.iter().all(|data| whole.contains(data)));

    let doubled = numbered(33, Plan { doubled_datagrams: 0.3, ..Plan::CALM }, 100);
    assert!((110..150).contains(&doubled.len()), "{} arrive", doubled.len());
    assert!(whole.iter().all(|data| doubled.contains(data)));

    let late = numbered(33, Plan { late_datagrams: 0.3, ..Plan::CALM }, 100);
    assert!(late.len() == 100 && !late.is_sorted());

    let spoilt = numbered(33, Plan { corrupt_datagrams: 0.3, ..Plan::CALM }, 100);
    let wrong_bits = |(data, whole): (&Vec<u8>, &Vec<u8>)| -> u32 {
        data.iter().zip(whole).map(|(data, whole)| (data ^ whole).count_ones()).sum()
    };
    let wrong: Vec<u32> = spoilt.iter().zip(&whole).map(wrong_bits).collect();
    assert!(wrong.iter().all(|&bits| bits <= 1));
    assert!((15..50).contains(&wrong.iter().sum::<u32>()), "{wrong:?}");
}
