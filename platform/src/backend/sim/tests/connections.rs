//! Who listens where, who reaches whom, and what becomes of a connection nobody wants.

use super::*;

#[test]
fn nobody_listening_refuses() {
    let mut fixture = Fixture::new(6, Plan::CALM);
    let (listener, address) = fixture.listen("127.0.0.1:0", 4);
    let peers = ["127.0.0.1:1".parse().unwrap(), SocketAddr::new("127.0.0.2".parse().unwrap(), address.port())];
    let mut handles = vec![(SERVER, listener)];
    for peer in peers {
        let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
        for _ in 0..2 {
            let result = fixture.run(CLIENT, Op::Connect { socket, peer });
            assert!(matches!(result, Err(Error::Refused)), "{peer}: {result:?}");
        }
        // The socket may be connected elsewhere.
        assert!(matches!(fixture.run(CLIENT, Op::Connect { socket, peer: address }), Ok(Outcome::Connected)));
        assert!(fixture.run(CLIENT, Op::Connect { socket, peer: address }).is_err());
        handles.push((CLIENT, socket));
    }
    fixture.finish(&handles);
}

#[test]
fn a_client_that_left_while_connecting_resets_what_was_accepted() {
    let mut fixture = Fixture::new(27, Plan::CALM);
    let (listener, peer) = fixture.listen("127.0.0.1:0", 4);
    let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
    let connect = fixture.start(CLIENT, Op::Connect { socket, peer });
    let accept = fixture.start(SERVER, Op::Accept { listener });
    let server = accepted(fixture.result(SERVER, &accept));
    fixture.shards[CLIENT].close(socket);
    assert!(matches!(fixture.result(CLIENT, &connect), Err(Error::Cancelled)));
    assert_eq!(fixture.drain(SERVER, server), (vec![], Some(Error::Reset)));
    fixture.shards[SERVER].abandon(accept);
    fixture.finish(&[(SERVER, server), (SERVER, listener)]);
}

#[test]
fn a_full_accept_queue_makes_clients_wait_and_at_last_give_up() {
    let mut fixture = Fixture::new(7, Plan::CALM);
    let (listener, peer) = fixture.listen("127.0.0.1:0", 2);
    let connect = |fixture: &mut Fixture| {
        let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
        (socket, fixture.start(CLIENT, Op::Connect { socket, peer }))
    };
    let clients: Vec<_> = (0..4).map(|_| connect(&mut fixture)).collect();
    let start = fixture.machine.elapsed();
    for (_, token) in &clients[..2] {
        assert!(matches!(fixture.result(CLIENT, token), Ok(Outcome::Connected)));
    }
    assert!(fixture.machine.elapsed() - start < Duration::from_millis(1));

    let accept = fixture.start(SERVER, Op::Accept { listener });
    for _ in 0..2 {
        let accepted = accepted(fixture.result(SERVER, &accept));
        fixture.shards[SERVER].close(accepted);
    }
    fixture.shards[SERVER].cancel(&accept);
    assert!(matches!(fixture.result(SERVER, &accept), Err(Error::Cancelled)));
    assert!(matches!(fixture.result(CLIENT, &clients[2].1), Ok(Outcome::Connected)));
    assert!(matches!(fixture.result(CLIENT, &clients[3].1), Ok(Outcome::Connected)));
    assert_eq!((fixture.machine.elapsed() - start).as_secs(), 1);

    let (late, token) = connect(&mut fixture);
    assert!(matches!(fixture.result(CLIENT, &token), Err(Error::TimedOut)));
    assert_eq!((fixture.machine.elapsed() - start).as_secs(), 1 + 63);

    // Nobody will accept those who wait: they are reset with their listener.
    fixture.shards[SERVER].close(listener);
    fixture.turn();
    assert_eq!(fixture.drain(CLIENT, clients[2].0), (vec![], Some(Error::Reset)));
    let sockets: Vec<_> = clients.iter().map(|(socket, _)| (CLIENT, *socket)).chain([(CLIENT, late)]).collect();
    fixture.finish(&sockets);
}

#[test]
fn addresses_in_use_are_refused_and_port_zero_is_chosen() {
    let machine = Machine::new(8);
    let listen = |address: &str, count| machine.listen(address.parse().unwrap(), count, &ListenOptions::default());
    let group = listen("10.0.0.1:80", 3).unwrap();
    for socket in &group {
        assert_eq!(socket.local_address(), Ok("10.0.0.1:80".parse().unwrap()));
    }
    // Somebody's address; whether it is free.
    let table = [
        ("10.0.0.1:80", false),
        ("0.0.0.0:80", false),
        ("[::]:80", false),
        ("10.0.0.2:80", true),
        ("10.0.0.1:81", true),
        ("[::1]:80", true),
    ];
    for (address, free) in table {
        let listened = listen(address, 1);
        assert_eq!(listened.is_ok(), free, "{address}");
        if let Err(refused) = listened {
            assert_eq!((refused.error, refused.address), (Error::AddressInUse, address.parse().unwrap()));
        }
    }
    let chosen = listen("10.0.0.1:0", 2).unwrap();
    let port = chosen[0].local_address().unwrap().port();
    assert!(limits::PORTS_CHOSEN.contains(&port));
    assert_eq!(chosen[1].local_address().unwrap().port(), port);
    drop((group, chosen));
    assert!(listen("0.0.0.0:80", 1).is_ok(), "dropped before a shard adopted them, they are closed");
    assert_nothing_left(&machine);
}

#[test]
fn connections_spread_over_the_sockets_of_an_address() {
    let spread = |seed| {
        let mut fixture = Fixture::new(seed, Plan::CALM);
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let sockets = fixture.machine.listen(address, 3, &ListenOptions::default()).unwrap();
        let listeners: Vec<_> =
            sockets.into_iter().map(|socket| fixture.shards[SERVER].adopt(socket).unwrap()).collect();
        let accepts: Vec<_> =
            listeners.iter().map(|&listener| fixture.start(SERVER, Op::Accept { listener })).collect();
        let mut handles: Vec<_> = listeners.iter().map(|&listener| (SERVER, listener)).collect();
        handles.extend((0..60).map(|_| (CLIENT, fixture.connect(address))));
        let counts = accepts.into_iter().map(|accept| {
            let mut count = 0;
            loop {
                while let Some(completion) = fixture.shards[SERVER].take(&accept, 1) {
                    handles.push((SERVER, accepted(completion.result)));
                    count += 1;
                }
                if !fixture.step() {
                    break;
                }
            }
            fixture.shards[SERVER].abandon(accept);
            count
        });
        let counts: Vec<u32> = counts.collect();
        fixture.finish(&handles);
        counts
    };
    let counts = spread(9);
    assert!(counts.iter().sum::<u32>() == 60 && counts.iter().all(|&count| count > 5), "{counts:?}");
    assert_eq!(counts, spread(9));
    assert_ne!(counts, spread(10));
}

#[test]
fn both_ends_know_their_addresses() {
    // Where the server listens, where the client connects to, and how the server sees that.
    let table = [
        ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.9:80", "127.0.0.9:80"),
        ("0.0.0.0:80", "0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80", "[::1]:80"),
        ("[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"),
    ];
    for (listens, connects, sees) in table {
        let mut fixture = Fixture::new(11, Plan::CALM);
        let (listener, _) = fixture.listen(listens, 4);
        let peer = connects.parse().unwrap();
        let client = fixture.connect(peer);
        let accept = fixture.start(SERVER, Op::Accept { listener });
        let server = accepted(fixture.result(SERVER, &accept));
        let [c, s] = &fixture.shards[..] else { panic!() };
        assert_eq!(s.local_address(server), Ok(sees.parse().unwrap()), "{listens} {connects}");
        assert_eq!(c.peer_address(client), Ok(peer));
        let (seen, own) = (s.peer_address(server).unwrap(), c.local_address(client).unwrap());
        assert_eq!((seen.ip().to_canonical(), seen.port()), (own.ip(), own.port()));
        assert_eq!(s.peer_address(listener), Err(Error::NotConnected));
        fixture.shards[SERVER].abandon(accept);
        fixture.finish(&[(CLIENT, client), (SERVER, server), (SERVER, listener)]);
    }
}

#[test]
fn a_socket_crosses_threads_and_belongs_to_its_machine() {
    fn is_send<T: Send>(_: &T) {}
    let (here, there) = (Machine::new(1), Machine::new(1));
    let socket = here.listen("10.0.0.1:80".parse().unwrap(), 1, &ListenOptions::default()).unwrap().remove(0);
    is_send(&socket);
    let mut stranger = Reactor::simulated(&there, &Config::default());
    assert_eq!(stranger.adopt(socket), Err(Error::Unsupported));
    assert_nothing_left(&here);
}
