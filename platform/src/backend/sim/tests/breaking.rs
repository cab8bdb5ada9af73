//! Connections that break, go dead or stand still: their bytes are whole as far as they come, and somebody is told, sooner
//! or later.

use super::*;

/// Sends all of it and ends, and receives until the end, whatever comes of it: what has arrived, and how each side ended.
fn exchange(fixture: &mut Fixture, client: Handle, server: Handle, data: &[u8]) -> (Vec<u8>, Result<()>, Result<()>) {
    let receive = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Bulk });
    let (mut received, mut sent, mut sending) = (Vec::new(), 0, None);
    let (mut send_end, mut receive_end) = (None, None);
    while send_end.is_none() || receive_end.is_none() {
        if send_end.is_none() && sending.is_none() {
            let data = data[sent..(sent + 5000).min(data.len())].to_vec().into();
            sending = Some(fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: sent % 3 == 0 }));
        }
        if let Some(token) = sending.take() {
            match fixture.shards[CLIENT].take(&token, 1).map(|completion| completion.result) {
                Some(Ok(Outcome::Sent { bytes, .. })) => {
                    sent += bytes;
                    if sent == data.len() {
                        send_end = Some(Ok(()));
                        let _ = fixture.shards[CLIENT].shutdown(client, Shutdown::Write);
                    }
                }
                Some(Err(error)) => send_end = Some(Err(error)),
                Some(other) => panic!("{other:?}"),
                None => sending = Some(token),
            }
        }
        while receive_end.is_none()
            && let Some(completion) = fixture.shards[SERVER].take(&receive, 1)
        {
            match completion.result {
                Ok(Outcome::Received(chunk)) => received.extend_from_slice(&chunk),
                Ok(Outcome::EndOfInput) => receive_end = Some(Ok(())),
                Ok(other) => panic!("{other:?}"),
                Err(error) => receive_end = Some(Err(error)),
            }
        }
        assert!(fixture.step() || (send_end.is_some() && receive_end.is_some()), "stuck:\n{}", fixture.machine.log());
    }
    fixture.shards[SERVER].abandon(receive);
    (received, send_end.unwrap_or(Ok(())), receive_end.unwrap_or(Ok(())))
}

#[test]
fn a_reset_cuts_a_stream_and_both_ends_are_told() {
    let (mut whole, mut cut) = (0, 0);
    for seed in 0..100 {
        let mut fixture = Fixture::new(seed, Plan { resets: 0.05, ..Plan::CHOPPY });
        let (client, server) = fixture.pair();
        let data = pattern(seed, 60_000);
        let (received, sent, ended) = exchange(&mut fixture, client, server, &data);
        assert!(data.starts_with(&received), "seed {seed}");
        match fixture.count("sever") {
            0 => {
                whole += 1;
                assert_eq!((received.len(), sent, ended), (data.len(), Ok(()), Ok(())), "seed {seed}");
            }
            _ => {
                cut += 1;
                // Whoever has done its part may not notice; whoever has not is told.
                assert!(matches!(ended, Err(Error::Reset)), "seed {seed}: {ended:?}");
                assert!(matches!(sent, Ok(()) | Err(Error::Reset | Error::BrokenPipe)), "seed {seed}: {sent:?}");
            }
        }
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
    }
    assert!(whole > 10 && cut > 10, "{whole} whole, {cut} cut");
}

/// The line dies with the first segment. What each end learns, and when.
#[test]
fn a_dead_line_is_noticed_by_those_who_send_or_probe() {
    // Whether the server probes, and whether it says so before the line dies.
    for (keeps_alive, is_before) in [(false, false), (true, false), (true, true)] {
        let mut fixture = Fixture::new(1, Plan { dead_lines: 1.0, ..Plan::CALM });
        let (client, server) = fixture.pair();
        let probe = |fixture: &mut Fixture| {
            let option = SocketOption::KeepAlive(keeps_alive.then_some(Duration::from_secs(60)));
            fixture.shards[SERVER].set_option(server, option).unwrap();
        };
        if is_before {
            probe(&mut fixture);
        }
        let begin = fixture.machine.elapsed();
        assert_eq!(fixture.send(CLIENT, client, b"hello?"), Ok(6));
        if !is_before {
            probe(&mut fixture);
        }
        let receives = [(CLIENT, client), (SERVER, server)]
            .map(|(shard, socket)| (shard, fixture.start(shard, Op::Receive { socket, group: Group::Heads })));
        while fixture.step() {}
        let ends = receives.map(|(shard, token)| {
            let ended = fixture.shards[shard].take(&token, 1).map(|completion| completion.result.map(|_| ()));
            fixture.shards[shard].abandon(token);
            ended
        });
        // The sender gives up. The other, which only listens, does so if it probes.
        assert_eq!(ends, [Some(Err(Error::TimedOut)), keeps_alive.then_some(Err(Error::TimedOut))]);
        assert_eq!((fixture.machine.elapsed() - begin).as_secs(), limits::RETRANSMIT_TIME.as_secs());
        assert_eq!(fixture.send(CLIENT, client, b"more"), Err(Error::BrokenPipe));
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
    }
}

#[test]
fn a_dead_line_fills_the_buffer_of_its_sender() {
    let mut fixture = Fixture::new(2, Plan { dead_lines: 1.0, ..Plan::CALM });
    let (client, server) = fixture.pair();
    let data = pattern(2, 1 << 20).into();
    let sending = fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: false });
    let sent = fixture.result(CLIENT, &sending);
    assert!(matches!(sent, Ok(Outcome::Sent { bytes: limits::SEND_BUFFER_BYTES, .. })), "{sent:?}");
    assert_eq!(fixture.send(CLIENT, client, b"more"), Err(Error::TimedOut));
    assert_eq!(fixture.count("bytes"), 0);
    fixture.finish(&[(CLIENT, client), (SERVER, server)]);
}

/// An end that is closed with bytes that nobody acknowledges is forgotten after a while.
#[test]
fn what_is_closed_on_a_dead_line_is_forgotten() {
    let mut fixture = Fixture::new(3, Plan { dead_lines: 1.0, ..Plan::CALM });
    let (client, server) = fixture.pair();
    assert_eq!(fixture.send(CLIENT, client, b"hello?"), Ok(6));
    fixture.shards[CLIENT].close(client);
    fixture.shards[SERVER].close(server);
    let begin = fixture.machine.elapsed();
    while fixture.machine.world(|world| world.nodes.len()) > 0 {
        assert!(fixture.step());
    }
    assert_eq!((fixture.machine.elapsed() - begin).as_secs(), limits::ORPHAN_TIME.as_secs());
    fixture.finish(&[]);
}

#[test]
fn a_window_that_shuts_for_a_while_only_takes_time() {
    for seed in 0..30 {
        let mut fixture = Fixture::new(seed, Plan { shut_windows: 0.2, ..Plan::CHOPPY });
        let (client, server) = fixture.pair();
        for (shard, socket) in [(CLIENT, client), (SERVER, server)] {
            fixture.shards[shard].set_option(socket, SocketOption::SendBuffer(4096)).unwrap();
        }
        let begin = fixture.machine.elapsed();
        let data = pattern(seed, 60_000);
        let (received, sent, ended) = exchange(&mut fixture, client, server, &data);
        assert!(received == data && sent.is_ok() && ended.is_ok(), "seed {seed}: {sent:?} {ended:?}");
        let shut = fixture.count("shut");
        assert!(shut > 0 && fixture.machine.elapsed() - begin > Duration::from_millis(50), "seed {seed}: {shut}");
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
    }
}

/// The peer never reads again: the sender waits until it loses patience, and the peer then learns that it is gone.
#[test]
fn a_window_that_shuts_for_good_holds_a_send_up_until_it_is_cancelled() {
    let mut fixture = Fixture::new(4, Plan { shut_windows: 1.0, shut_for_good: 1.0, ..Plan::CALM });
    let (client, server) = fixture.pair();
    let data = pattern(4, 1 << 20).into();
    let sending = fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: false });
    while fixture.step() {}
    assert!(fixture.machine.elapsed() < Duration::from_secs(1), "nobody gives up by itself");
    fixture.shards[CLIENT].cancel(&sending);
    let sent = fixture.result(CLIENT, &sending);
    assert!(matches!(sent, Ok(Outcome::Sent { bytes, .. }) if bytes > 0 && bytes < 1 << 20), "{sent:?}");
    fixture.shards[CLIENT].close(client);
    let (received, error) = fixture.drain(SERVER, server);
    assert!(received.len() <= limits::RECEIVE_BUFFER_BYTES && error == Some(Error::Reset), "{error:?}");
    assert!(fixture.machine.elapsed() >= limits::ORPHAN_TIME);
    fixture.finish(&[(SERVER, server)]);
}

#[test]
fn attempts_to_connect_are_lost_or_refused() {
    // What goes wrong, what comes of it, and after how many seconds.
    let table = [
        (Plan { lost_connects: 1.0, ..Plan::CALM }, Error::TimedOut, 63),
        (Plan { refused_connects: 1.0, ..Plan::CALM }, Error::Refused, 0),
    ];
    for (plan, error, seconds) in table {
        let mut fixture = Fixture::new(5, plan);
        let (listener, peer) = fixture.listen("10.0.0.1:80", 4);
        let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
        let result = fixture.run(CLIENT, Op::Connect { socket, peer });
        assert!(matches!(result, Err(told) if told == error), "{result:?}");
        assert_eq!(fixture.machine.elapsed().as_secs(), seconds);
        fixture.finish(&[(CLIENT, socket), (SERVER, listener)]);
    }
}

#[test]
fn an_attempt_that_is_lost_is_tried_again() {
    let mut fixture = Fixture::new(6, Plan { lost_connects: 0.5, ..Plan::CALM });
    let (listener, peer) = fixture.listen("10.0.0.1:80", 100);
    let mut handles = vec![(SERVER, listener)];
    let mut seconds = Vec::new();
    for _ in 0..40 {
        let begin = fixture.machine.elapsed();
        handles.push((CLIENT, fixture.connect(peer)));
        seconds.push((fixture.machine.elapsed() - begin).as_secs());
    }
    assert!(seconds.contains(&0) && seconds.contains(&1) && seconds.contains(&3), "{seconds:?}");
    fixture.finish(&handles);
}

/// The client may lose the line, or the connection, while the answer to its attempt is on the way.
#[test]
fn a_connection_that_breaks_as_it_begins_leaves_nobody_waiting() {
    for plan in [Plan { dead_lines: 1.0, ..Plan::CALM }, Plan { resets: 1.0, ..Plan::CALM }] {
        let mut fixture = Fixture::new(7, plan);
        let (listener, peer) = fixture.listen("10.0.0.1:80", 4);
        let accept = fixture.start(SERVER, Op::Accept { listener });
        let socket = fixture.shards[CLIENT].stream_socket(peer).unwrap();
        let connect = fixture.start(CLIENT, Op::Connect { socket, peer });
        let server = accepted(fixture.result(SERVER, &accept));
        let sent = fixture.send(SERVER, server, b"welcome");
        assert_eq!(sent, Ok(7));
        let connected = fixture.result(CLIENT, &connect);
        assert!(matches!(connected, Ok(Outcome::Connected) | Err(Error::Reset)), "{connected:?}");
        fixture.shards[SERVER].abandon(accept);
        fixture.finish(&[(CLIENT, socket), (SERVER, server), (SERVER, listener)]);
    }
}
