//! Streams carry every byte in order, end half by half, and say when something is lost.

use super::*;

/// How one side of a transfer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    Plain,
    ZeroCopy,
    Lists,
}

/// One side of a connection that sends all of its data, then ends, and receives until the other ends.
pub(super) struct Side {
    pub(super) shard: usize,
    pub(super) socket: Handle,
    data: Vec<u8>,
    sent: usize,
    pub(super) sending: Option<Token>,
    pub(super) receiving: Option<Token>,
    received: Vec<u8>,
    chunk: usize,
    style: Sending,
}

impl Side {
    /// Takes what has completed and starts what comes next. False when both directions have ended.
    pub(super) fn go(&mut self, fixture: &mut Fixture) -> bool {
        let shard = &mut fixture.shards[self.shard];
        if let Some(token) = &self.sending
            && let Some(completion) = shard.take(token, 1)
        {
            match completion.result.unwrap() {
                Outcome::Sent { bytes, .. } | Outcome::SentList { bytes, .. } => self.sent += bytes,
                other => panic!("{other:?}"),
            }
            self.sending = None;
            if self.sent == self.data.len() {
                shard.shutdown(self.socket, Shutdown::Write).unwrap();
            }
        }
        if self.sending.is_none() && self.sent < self.data.len() {
            let data = self.data[self.sent..(self.sent + self.chunk).min(self.data.len())].to_vec();
            let op = match self.style {
                Sending::Plain => Op::Send { socket: self.socket, data: data.into(), zero_copy: false },
                Sending::ZeroCopy => Op::Send { socket: self.socket, data: data.into(), zero_copy: true },
                Sending::Lists => {
                    let mut list = Box::new(BufList::new());
                    for part in data.chunks(self.chunk / 3 + 1) {
                        list.push(part.to_vec().into()).unwrap();
                    }
                    Op::SendList { socket: self.socket, list }
                }
            };
            self.sending = Some(shard.start(op, 1).unwrap());
        }
        while let Some(token) = &self.receiving
            && let Some(completion) = shard.take(token, 1)
        {
            match completion.result.unwrap() {
                Outcome::Received(chunk) => {
                    assert!(!chunk.is_empty());
                    self.received.extend_from_slice(&chunk);
                }
                Outcome::EndOfInput => self.receiving = None,
                other => panic!("{other:?}"),
            }
        }
        self.sending.is_some() || self.receiving.is_some()
    }
}

/// Opens a connection over which both sides are about to send.
pub(super) fn begin_transfer(fixture: &mut Fixture, seed: u64, style: Sending, len: usize, chunk: usize) -> [Side; 2] {
    let (client, server) = fixture.pair();
    for (shard, socket) in [(CLIENT, client), (SERVER, server)] {
        for option in [SocketOption::SendBuffer(4096), SocketOption::ReceiveBuffer(8192)] {
            fixture.shards[shard].set_option(socket, option).unwrap();
        }
    }
    let mut side = |shard, socket, group| Side {
        shard,
        socket,
        data: pattern(seed + shard as u64, len),
        sent: 0,
        sending: None,
        receiving: Some(fixture.start(shard, Op::Receive { socket, group })),
        received: Vec::new(),
        chunk,
        style,
    };
    [side(CLIENT, client, Group::Heads), side(SERVER, server, Group::Bulk)]
}

#[track_caller]
fn check_transfer(seed: u64, plan: Plan, style: Sending, len: usize, chunk: usize) -> u64 {
    let mut fixture = Fixture::new(seed, plan);
    let [mut a, mut b] = begin_transfer(&mut fixture, seed, style, len, chunk);
    loop {
        let going = [a.go(&mut fixture), b.go(&mut fixture)];
        if going == [false, false] {
            break;
        }
        assert!(fixture.step(), "seed {seed}: stuck\n{}", fixture.machine.log());
    }
    assert!(a.received == b.data && b.received == a.data, "seed {seed}: bytes differ");
    fixture.finish(&[(CLIENT, a.socket), (SERVER, b.socket)])
}

#[test]
fn streams_carry_every_byte_in_order() {
    for seed in 0..300 {
        let style = [Sending::Plain, Sending::ZeroCopy, Sending::Lists][seed as usize % 3];
        let chunk = [100_000, 5000, 900][seed as usize % 7 % 3];
        check_transfer(seed, PLANS[seed as usize % PLANS.len()], style, 1 + 97 * seed as usize, chunk);
    }
}

#[test]
fn the_same_seed_does_the_same_and_another_does_not() {
    for plan in PLANS {
        let run = |seed| check_transfer(seed, plan, Sending::Plain, 30_000, 5000);
        let hashes: Vec<u64> = (0..20).map(run).collect();
        assert_eq!(hashes, (0..20).map(run).collect::<Vec<_>>());
        let mut different = hashes.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), hashes.len(), "{plan:?}");
    }
}

#[test]
fn half_a_connection_goes_on_after_the_other_half_has_ended() {
    for plan in PLANS {
        let mut fixture = Fixture::new(3, plan);
        let (client, server) = fixture.pair();
        let (question, answer) = (pattern(1, 3000), pattern(2, 90_000));
        assert_eq!(fixture.send(CLIENT, client, &question), Ok(question.len()));
        fixture.shards[CLIENT].shutdown(client, Shutdown::Write).unwrap();
        assert_eq!(fixture.send(CLIENT, client, b"more"), Err(Error::BrokenPipe));
        assert_eq!(fixture.drain(SERVER, server), (question, None));

        let data = answer.clone().into();
        let sending = fixture.start(SERVER, Op::Send { socket: server, data, zero_copy: false });
        fixture.step();
        let token = fixture.start(CLIENT, Op::Receive { socket: client, group: Group::Heads });
        let mut received = Vec::new();
        while received.len() < answer.len() {
            let Ok(Outcome::Received(chunk)) = fixture.result(CLIENT, &token) else { panic!() };
            received.extend_from_slice(&chunk);
        }
        assert!(received == answer);
        let sent = fixture.result(SERVER, &sending);
        assert!(matches!(sent, Ok(Outcome::Sent { bytes, .. }) if bytes == answer.len()));
        fixture.shards[SERVER].close(server);
        assert!(matches!(fixture.result(CLIENT, &token), Ok(Outcome::EndOfInput)));
        fixture.finish(&[(CLIENT, client)]);
    }
}

#[test]
fn what_was_sent_before_close_still_arrives() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(seed, Plan::CHOPPY);
        let (client, server) = fixture.pair();
        let data = pattern(seed, 50_000);
        assert_eq!(fixture.send(CLIENT, client, &data), Ok(data.len()));
        fixture.shards[CLIENT].close(client);
        assert_eq!(fixture.drain(SERVER, server), (data, None), "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
}

/// What the server does to its end of a connection over which the client has sent something.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Unread,
    Read,
    AtOnce,
}

#[test]
fn a_connection_is_reset_when_something_is_lost() {
    // How the server leaves; what the client's receive ends with, then its first send, then a later one.
    let table = [
        (Leaving::Unread, Some(Error::Reset), Err(Error::BrokenPipe), Err(Error::BrokenPipe)),
        (Leaving::AtOnce, Some(Error::Reset), Err(Error::BrokenPipe), Err(Error::BrokenPipe)),
        // The end arrives first, so only what is sent after it meets a reset.
        (Leaving::Read, None, Ok(4), Err(Error::BrokenPipe)),
    ];
    for (leaving, receives, sends, then) in table {
        for plan in PLANS {
            let mut fixture = Fixture::new(4, plan);
            let (client, server) = fixture.pair();
            assert_eq!(fixture.send(CLIENT, client, b"question"), Ok(8));
            while fixture.step() {}
            if matches!(leaving, Leaving::AtOnce) {
                let at_once = SocketOption::Linger(Some(Duration::ZERO));
                fixture.shards[SERVER].set_option(server, at_once).unwrap();
            }
            if !matches!(leaving, Leaving::Unread) {
                let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
                let mut received = 0;
                while received < 8 {
                    let Ok(Outcome::Received(chunk)) = fixture.result(SERVER, &token) else { panic!() };
                    received += chunk.len();
                }
                fixture.shards[SERVER].abandon(token);
            }
            fixture.shards[SERVER].close(server);
            assert_eq!(fixture.drain(CLIENT, client), (vec![], receives), "{leaving:?}");
            assert_eq!(fixture.send(CLIENT, client, b"more"), sends, "{leaving:?}");
            while fixture.step() {}
            assert_eq!(fixture.send(CLIENT, client, b"more"), then, "{leaving:?}");
            fixture.finish(&[(CLIENT, client)]);
        }
    }
}

#[test]
fn a_send_that_fails_half_way_tells_what_has_left_and_fails_next_time() {
    let mut fixture = Fixture::new(5, Plan::CALM);
    let (client, server) = fixture.pair();
    let data = pattern(5, 500_000);
    let sending = fixture.start(CLIENT, Op::Send { socket: client, data: data.into(), zero_copy: false });
    while fixture.step() {}
    fixture.shards[SERVER].close(server);
    let Ok(Outcome::Sent { bytes, data }) = fixture.result(CLIENT, &sending) else { panic!() };
    assert_eq!((bytes, data.len()), (limits::SEND_BUFFER_BYTES + limits::RECEIVE_BUFFER_BYTES, 500_000));
    assert_eq!(fixture.send(CLIENT, client, b"more"), Err(Error::Reset));
    assert_eq!(fixture.send(CLIENT, client, b"more"), Err(Error::BrokenPipe));
    fixture.finish(&[(CLIENT, client)]);
}

#[test]
fn bytes_for_a_socket_that_is_closed_meet_a_reset() {
    // Whether the server sends to a client that has closed with bytes on their way, or closes without reading them.
    for server_sends in [true, false] {
        let mut fixture = Fixture::new(26, Plan::CALM);
        let (client, server) = fixture.pair();
        let len = limits::RECEIVE_BUFFER_BYTES + 1000;
        assert_eq!(fixture.send(CLIENT, client, &pattern(1, len)), Ok(len));
        fixture.shards[CLIENT].close(client);
        while fixture.step() {}
        if server_sends {
            assert_eq!(fixture.send(SERVER, server, b"is anybody there?"), Ok(17));
            while fixture.step() {}
            let (received, error) = fixture.drain(SERVER, server);
            assert_eq!((received.len(), error), (limits::RECEIVE_BUFFER_BYTES, Some(Error::Reset)));
        }
        fixture.finish(&[(SERVER, server)]);
    }
}

#[test]
fn sends_take_turns_and_need_no_reader_while_there_is_room() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(seed, Plan { partial_sends: 1.0, ..Plan::CALM });
        let (client, server) = fixture.pair();
        fixture.shards[SERVER].set_option(server, SocketOption::ReceiveBuffer(1)).unwrap();
        let parts = [pattern(1, 30_000), pattern(2, 10), pattern(3, 20_000)];
        let sends = parts.clone().map(|data| Op::Send { socket: client, data: data.into(), zero_copy: false });
        let tokens = sends.map(|op| fixture.start(CLIENT, op));
        for token in tokens {
            assert!(matches!(fixture.result(CLIENT, &token), Ok(Outcome::Sent { .. })), "seed {seed}");
        }
        fixture.shards[CLIENT].close(client);
        assert!(fixture.drain(SERVER, server) == (parts.concat(), None), "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
}
