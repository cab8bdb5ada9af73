use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::plan::Random;
use super::*;
use crate::buffer::PoolSize;
use crate::limits::STREAM_QUEUE_MAX;
use crate::op::{Completion, Datagram, OpenFile, Stat};
use crate::{BufList, Config, Handle, ListenOptions, Reactor, Token};

// ---- a test's own little world ---------------------------------------------------------------------------------------

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Two shards on a machine, and everything that must be gone in the end.
struct Fixture {
    machine: Machine,
    shards: Vec<Reactor>,
}

impl Fixture {
    fn new(seed: u64, plan: Plan) -> Self {
        Fixture::with_pool(seed, plan, PoolSize { head_buffers: 4, bulk_buffers: 1, bytes: 1 << 20 })
    }

    fn with_pool(seed: u64, plan: Plan, pool: PoolSize) -> Self {
        let machine = Machine::with_plan(seed, plan);
        machine.keep_log();
        let config = Config { pool, ..Config::default() };
        let shards = (0..2).map(|_| Reactor::simulated(&machine, &config)).collect();
        Fixture { machine, shards }
    }

    /// Turns both shards until none has news, without letting time pass. True if anybody was woken.
    fn turn(&mut self) -> bool {
        let mut woken = Vec::new();
        loop {
            for shard in &mut self.shards {
                shard.enter(Wait::Forever, &mut woken);
            }
            let now = self.machine.now();
            if self.machine.next_event().is_none_or(|at| at > now) {
                return !woken.is_empty();
            }
        }
    }

    /// Lets the next thing happen. False if nothing more will.
    fn step(&mut self) -> bool {
        self.turn() || self.machine.advance_to_next()
    }

    fn start(&mut self, shard: usize, op: Op) -> Token {
        self.shards[shard].start(op, 1).unwrap_or_else(|(op, error)| panic!("{op:?}: {error}"))
    }

    /// Waits for the next completion of an operation.
    #[track_caller]
    fn next(&mut self, shard: usize, token: &Token) -> Completion {
        loop {
            if let Some(completion) = self.shards[shard].take(token, 1) {
                return completion;
            }
            assert!(self.step(), "stuck:\n{}", self.machine.log());
        }
    }

    #[track_caller]
    fn result(&mut self, shard: usize, token: &Token) -> Result<Outcome> {
        self.next(shard, token).result
    }

    #[track_caller]
    fn run(&mut self, shard: usize, op: Op) -> Result<Outcome> {
        let token = self.start(shard, op);
        self.result(shard, &token)
    }

    fn listen(&mut self, address: &str, backlog: i32) -> (Handle, SocketAddr) {
        let options = ListenOptions { backlog, ..ListenOptions::default() };
        let socket = self.machine.listen(address.parse().unwrap(), 1, &options).unwrap().remove(0);
        let address = socket.local_address().unwrap();
        (self.shards[SERVER].adopt(socket).unwrap(), address)
    }

    #[track_caller]
    fn connect(&mut self, to: SocketAddr) -> Handle {
        let socket = self.shards[CLIENT].stream_socket(to).unwrap();
        assert!(matches!(self.run(CLIENT, Op::Connect { socket, peer: to }), Ok(Outcome::Connected)));
        socket
    }

    /// A connection, as the client and the server hold it.
    #[track_caller]
    fn pair(&mut self) -> (Handle, Handle) {
        let (listener, address) = self.listen("10.0.0.1:0", 16);
        let client = self.connect(address);
        let accept = self.start(SERVER, Op::Accept { listener });
        let server = accepted(self.result(SERVER, &accept));
        self.shards[SERVER].abandon(accept);
        self.shards[SERVER].close(listener);
        (client, server)
    }

    #[track_caller]
    fn send(&mut self, shard: usize, socket: Handle, data: &[u8]) -> Result<usize> {
        match self.run(shard, Op::Send { socket, data: data.to_vec().into(), zero_copy: false })? {
            Outcome::Sent { bytes, .. } => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    /// Receives until the stream ends, one way or the other.
    #[track_caller]
    fn drain(&mut self, shard: usize, socket: Handle) -> (Vec<u8>, Option<Error>) {
        let token = self.start(shard, Op::Receive { socket, group: Group::Heads });
        let mut received = Vec::new();
        loop {
            match self.result(shard, &token) {
                Ok(Outcome::Received(chunk)) => received.extend_from_slice(&chunk),
                Ok(Outcome::EndOfInput) => return (received, None),
                Ok(other) => panic!("{other:?}"),
                Err(error) => return (received, Some(error)),
            }
        }
    }

    /// Ends all there is, and looks that nothing is left of it.
    #[track_caller]
    fn finish(mut self, handles: &[(usize, Handle)]) -> u64 {
        for &(shard, handle) in handles {
            self.shards[shard].close(handle);
        }
        while self.step() {}
        for shard in &self.shards {
            let (holdings, pool) = (shard.holdings(), shard.pool().stats());
            assert_eq!((holdings.operations, holdings.handles), (0, 0), "{}", self.machine.log());
            assert_eq!((pool.heads_leased, pool.bulk_leased, pool.pooled_bytes), (0, 0, 0));
        }
        drop(self.shards);
        assert_nothing_left(&self.machine);
        self.machine.trace_hash()
    }
}

#[track_caller]
fn assert_nothing_left(machine: &Machine) {
    // What is on its way still arrives.
    while machine.advance_to_next() {}
    let ports_taken = |world: &mut World| world.ports.listeners.len() + world.ports.datagrams.len();
    assert_eq!(machine.descriptors(), 0);
    assert_eq!(machine.world(|world| world.nodes.len()), 0, "{}", machine.log());
    assert_eq!(machine.world(ports_taken), 0);
}

#[track_caller]
fn accepted(result: Result<Outcome>) -> Handle {
    match result {
        Ok(Outcome::Accepted(handle)) => handle,
        other => panic!("{other:?}"),
    }
}

/// Bytes that show where they belong.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

const PLANS: [Plan; 2] = [Plan::CALM, Plan::CHOPPY];

// ---- streams ---------------------------------------------------------------------------------------------------------

/// How one side of a transfer behaves.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Plain,
    ZeroCopy,
    Lists,
}

/// One side of a connection that sends all of its data, then ends, and receives until the other ends.
struct Side {
    shard: usize,
    socket: Handle,
    data: Vec<u8>,
    sent: usize,
    sending: Option<Token>,
    receiving: Option<Token>,
    received: Vec<u8>,
    chunk: usize,
    style: Sending,
}

impl Side {
    /// Takes what has completed and starts what comes next. False when both directions have ended.
    fn go(&mut self, fixture: &mut Fixture) -> bool {
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
fn begin_transfer(fixture: &mut Fixture, seed: u64, style: Sending, len: usize, chunk: usize) -> [Side; 2] {
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
        check_transfer(seed, PLANS[seed as usize % 2], style, 1 + 97 * seed as usize, chunk);
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

// ---- connecting and listening ------------------------------------------------------------------------------------------

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

// ---- receiving --------------------------------------------------------------------------------------------------------

#[test]
fn a_slow_reader_pauses_its_stream_and_loses_nothing() {
    for seed in 0..20 {
        let mut fixture = Fixture::with_pool(
            seed,
            PLANS[seed as usize % 2],
            PoolSize { head_buffers: 32, bulk_buffers: 1, bytes: 1 << 20 },
        );
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        let mut sent = Vec::new();
        for round in 0..100 {
            let data = pattern(seed ^ round, 1 + 11 * round as usize);
            assert_eq!(fixture.send(CLIENT, client, &data), Ok(data.len()));
            sent.extend_from_slice(&data);
        }
        while fixture.step() {}
        assert_eq!(fixture.shards[SERVER].stats().pauses, 1, "seed {seed}");
        assert!(fixture.shards[SERVER].pool().stats().heads_leased <= STREAM_QUEUE_MAX);
        fixture.shards[CLIENT].close(client);
        let mut received = Vec::new();
        loop {
            match fixture.result(SERVER, &token) {
                Ok(Outcome::Received(chunk)) => received.extend_from_slice(&chunk),
                Ok(Outcome::EndOfInput) => break,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(received == sent, "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
}

#[test]
fn a_pool_of_one_buffer_starves_and_recovers() {
    let mut fixture = Fixture::with_pool(12, Plan::CALM, PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: 1 << 20 });
    let pairs = [fixture.pair(), fixture.pair()];
    let data = [pattern(1, 30_000), pattern(2, 30_000)];
    let tokens = pairs.map(|(_, server)| fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads }));
    for ((client, _), data) in pairs.iter().zip(&data) {
        assert_eq!(fixture.send(CLIENT, *client, data), Ok(data.len()));
    }
    while fixture.step() {}
    assert!(fixture.shards[SERVER].stats().starved >= 2);
    let mut received = [Vec::new(), Vec::new()];
    while received != data {
        let before = received.clone();
        for (token, received) in tokens.iter().zip(&mut received) {
            while let Some(completion) = fixture.shards[SERVER].take(token, 1) {
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!() };
                received.extend_from_slice(&chunk);
            }
        }
        assert!(fixture.step() || received != before, "stuck");
    }
    for token in tokens {
        fixture.shards[SERVER].abandon(token);
    }
    let sockets = pairs.iter().flat_map(|&(client, server)| [(CLIENT, client), (SERVER, server)]);
    let sockets: Vec<_> = sockets.collect();
    fixture.finish(&sockets);
}

// ---- cancelling and abandoning -------------------------------------------------------------------------------------------

#[test]
fn what_is_cancelled_ends_at_once() {
    let mut fixture = Fixture::new(13, Plan::CALM);
    let (client, server) = fixture.pair();
    let (listener, _) = fixture.listen("127.0.0.1:0", 4);
    let datagrams = fixture.shards[SERVER].datagram_socket("127.0.0.1:0".parse().unwrap()).unwrap();
    let later = fixture.machine.now() + Duration::from_secs(3600);
    let file = Box::new(OpenFile { path: "/a".into(), read: true, write: false, create: false, truncate: false });
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
    let mut fixture = Fixture::new(seed, PLANS[seed as usize % 2]);
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
    let file = Box::new(OpenFile { path: "/f".into(), read: true, write: false, create: false, truncate: false });
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

// ---- time ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_virtual_hour_costs_nothing_and_is_never_short() {
    let mut fixture = Fixture::new(15, Plan::CALM);
    let (start, date) = (fixture.machine.now(), fixture.machine.wall_clock());
    let hours = [3, 1, 2].map(|hours| {
        let until = start + Duration::from_secs(3600 * hours);
        (until, fixture.start(CLIENT, Op::Sleep { until }))
    });
    for (until, token) in [&hours[1], &hours[2], &hours[0]] {
        assert!(matches!(fixture.result(CLIENT, token), Ok(Outcome::Elapsed)));
        assert_eq!(fixture.machine.now(), *until);
    }
    assert_eq!(fixture.machine.wall_clock(), date + Duration::from_secs(3 * 3600));
    let past = fixture.run(CLIENT, Op::Sleep { until: start });
    assert!(matches!(past, Ok(Outcome::Elapsed)) && fixture.machine.elapsed().as_secs() == 3 * 3600);
    fixture.finish(&[]);
}

#[test]
fn a_shards_deadline_is_an_event() {
    let machine = Machine::new(16);
    let mut shards = [0, 1].map(|_| Reactor::simulated(&machine, &Config::default()));
    let start = machine.now();
    let deadlines = [Duration::from_secs(5), Duration::from_secs(2)];
    let mut woken = Vec::new();
    for (shard, deadline) in shards.iter_mut().zip(deadlines) {
        shard.enter(Wait::Until(start + deadline), &mut woken);
    }
    assert_eq!(machine.next_event(), Some(start + deadlines[1]));
    assert!(machine.advance_to_next());
    assert_eq!(machine.elapsed(), deadlines[1]);
    shards[1].enter(Wait::Forever, &mut woken);
    assert_eq!(machine.next_event(), Some(start + deadlines[0]));
    machine.advance(start + Duration::from_secs(9));
    assert_eq!(machine.next_event(), Some(start + Duration::from_secs(9)), "long past, and not yet turned");
    shards[0].enter(Wait::No, &mut woken);
    assert_eq!(machine.next_event(), None);
    machine.advance(start);
    assert_eq!(machine.elapsed(), Duration::from_secs(9), "time does not run backwards");
    shards[0].enter(Wait::Until(start + Duration::from_secs(99)), &mut woken);
    drop(shards);
    assert!(!machine.advance_to_next() && woken.is_empty());
}

#[test]
fn randomness_and_dates_follow_from_the_seed() {
    let draw = |seed| {
        let machine = Machine::new(seed);
        let mut shards = [0, 1].map(|_| Reactor::simulated(&machine, &Config::default()));
        let drawn: Vec<u64> = shards.iter_mut().flat_map(|shard| [shard.random(), shard.random()]).collect();
        (drawn, machine.wall_clock())
    };
    let (drawn, date) = draw(17);
    assert_eq!((drawn.clone(), date), draw(17));
    let (other, other_date) = draw(18);
    assert!(drawn.iter().all(|number| !other.contains(number)) && date != other_date);
}

// ---- datagrams ------------------------------------------------------------------------------------------------------------

#[test]
fn datagrams_arrive_whole_with_their_sender() {
    // Bytes; size of each when they are a batch; the sizes that arrive, and whether they are cut.
    type Arrivals = &'static [(usize, bool)];
    let table: [(usize, Option<u16>, Arrivals); 7] = [
        (5, None, &[(5, false)]),
        (0, None, &[(0, false)]),
        (4096, None, &[(4096, false)]),
        (5000, None, &[(4096, true)]),
        (2500, Some(1000), &[(1000, false), (1000, false), (500, false)]),
        (1000, Some(1000), &[(1000, false)]),
        (65_507, None, &[(4096, true)]),
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
        let message = Datagram { peer: Some("10.0.0.1:443".parse().unwrap()), data: data.clone(), segment, ecn: 2 };
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
        let message = Box::new(Datagram { peer, data: vec![0; len], segment, ecn: 0 });
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
    assert!(matches!(fixture.run(CLIENT, Op::Connect { socket: a, peer: to_b }), Ok(Outcome::Connected)));
    assert_eq!(fixture.shards[CLIENT].peer_address(a), Ok(to_b));
    let message = |peer, text: &str| Box::new(Datagram { peer, data: text.into(), segment: None, ecn: 0 });
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
            let message = Box::new(Datagram { peer, data: vec![1; 60_000], segment: None, ecn: 0 });
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
            let message = Box::new(Datagram { peer, data: vec![number], segment: None, ecn: 0 });
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

// ---- files ------------------------------------------------------------------------------------------------------------------

impl Fixture {
    fn open(&mut self, path: &str, mode: &str) -> Result<Handle> {
        let has = |letter| mode.contains(letter);
        let (read, write, create, truncate) = (has('r'), has('w'), has('c'), has('t'));
        let file = Box::new(OpenFile { path: path.into(), read, write, create, truncate });
        match self.run(CLIENT, Op::Open { file })? {
            Outcome::Opened(handle) => Ok(handle),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, file: Handle, offset: u64) -> Result<Vec<u8>> {
        let into = self.shards[CLIENT].pool().lease(256).unwrap();
        match self.run(CLIENT, Op::Read { file, offset, into })? {
            Outcome::Read { bytes, chunk } => Ok(chunk[..bytes].to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, file: Handle, offset: u64, data: &str) -> Result<usize> {
        match self.run(CLIENT, Op::Write { file, offset, data: data.to_owned().into() })? {
            Outcome::Sent { bytes, data: whole } if whole.len() == data.len() => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    fn stat(&mut self, file: Handle) -> Stat {
        match self.run(CLIENT, Op::Stat { file }) {
            Ok(Outcome::Stat(stat)) => stat,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_open_as_asked_or_say_why_not() {
    let table = [
        ("/data/a", "r", None),
        ("/data/../data/./a", "rw", None),
        ("data/a", "r", None),
        ("/data", "r", None),
        ("/data/new", "wc", None),
        ("/data/new", "r", Some(Error::NotFound)),
        ("/nowhere/new", "wc", Some(Error::NotFound)),
        ("/data/a/b", "wc", Some(error_of(code::ENOTDIR))),
        ("/data", "w", Some(error_of(code::EISDIR))),
        ("/data/\0", "wc", Some(Error::Invalid)),
    ];
    for (path, mode, error) in table {
        let mut fixture = Fixture::new(23, Plan::CALM);
        fixture.machine.write_file("/data/a", "old");
        let opened = fixture.open(path, mode);
        assert_eq!(opened.err(), error, "{path} {mode}");
        fixture.finish(&opened.map(|handle| (CLIENT, handle)).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn files_hold_what_was_written() {
    let mut fixture = Fixture::new(24, Plan::CALM);
    fixture.machine.write_file("/a", "0123456789");
    let file = fixture.open("/a", "rw").unwrap();
    let before = fixture.stat(file);
    assert!(before.bytes == 10 && before.is_file && !before.is_directory);
    assert_eq!(fixture.read(file, 7).unwrap(), b"789");
    assert_eq!(fixture.read(file, 10).unwrap(), b"");
    assert_eq!(fixture.read(file, u64::MAX).unwrap(), b"");
    assert_eq!(fixture.write(file, 12, "ab"), Ok(2));
    assert_eq!(fixture.write(file, u64::MAX, "ab"), Err(Error::NoSpace));
    assert!(matches!(fixture.run(CLIENT, Op::Sync { file }), Ok(Outcome::Synced)));
    assert_eq!(fixture.machine.read_file("/a").unwrap(), b"0123456789\0\0ab");
    let after = fixture.stat(file);
    assert!(after.bytes == 14 && after.modified > before.modified);

    let emptied = fixture.open("/a", "wt").unwrap();
    assert_eq!(fixture.read(emptied, 0), Err(Error::Closed), "not open for reading: EBADF");
    let read_only = fixture.open("/a", "r").unwrap();
    assert_eq!(fixture.write(read_only, 0, "x"), Err(Error::Closed), "not open for writing: EBADF");
    assert_eq!(fixture.read(read_only, 0).unwrap(), b"");
    let directory = fixture.open("/tmp", "r").unwrap();
    assert!(fixture.stat(directory).is_directory);
    assert_eq!(fixture.read(directory, 0), Err(error_of(code::EISDIR)));
    fixture.finish(&[file, emptied, read_only, directory].map(|handle| (CLIENT, handle)));
}

#[test]
fn short_reads_and_writes_lose_nothing() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(seed, Plan::CHOPPY);
        let file = fixture.open("/tmp/a", "rwc").unwrap();
        let text = "the quick brown fox jumps over the lazy dog".repeat(5);
        let mut written = 0;
        while written < text.len() {
            written += fixture.write(file, written as u64, &text[written..]).unwrap();
        }
        let mut read = Vec::new();
        loop {
            let part = fixture.read(file, read.len() as u64).unwrap();
            if part.is_empty() {
                break;
            }
            read.extend_from_slice(&part);
        }
        assert_eq!(read, text.as_bytes(), "seed {seed}");
        fixture.finish(&[(CLIENT, file)]);
    }
}

#[test]
fn operations_on_the_wrong_kind_of_handle_say_so() {
    let mut fixture = Fixture::new(25, Plan::CALM);
    let (client, server) = fixture.pair();
    let (listener, peer) = fixture.listen("127.0.0.1:0", 4);
    let fresh = fixture.shards[CLIENT].stream_socket(peer).unwrap();
    let file = fixture.open("/tmp/a", "wc").unwrap();
    let not_socket = error_of(code::ENOTSOCK);
    let send = |socket| Op::Send { socket, data: "x".into(), zero_copy: false };
    let table = [
        (CLIENT, Op::Accept { listener: client }, Error::Invalid),
        (CLIENT, Op::Receive { socket: fresh, group: Group::Heads }, Error::NotConnected),
        (CLIENT, send(fresh), Error::BrokenPipe),
        (SERVER, Op::Receive { socket: listener, group: Group::Heads }, Error::NotConnected),
        (SERVER, send(listener), Error::BrokenPipe),
        (SERVER, Op::ReceiveMessage { socket: listener, group: Group::Heads }, Error::NotConnected),
        (CLIENT, Op::Receive { socket: file, group: Group::Heads }, not_socket),
        (CLIENT, Op::Accept { listener: file }, not_socket),
        (CLIENT, Op::Connect { socket: file, peer }, not_socket),
        (CLIENT, send(file), not_socket),
        (CLIENT, Op::Sync { file: client }, Error::Invalid),
        (CLIENT, Op::Write { file: client, offset: 0, data: "x".into() }, error_of(code::ESPIPE)),
    ];
    for (shard, op, error) in table {
        let name = format!("{op:?}");
        let result = fixture.run(shard, op);
        assert!(matches!(result, Err(told) if told == error), "{name}: {result:?}");
    }
    assert_eq!(fixture.shards[CLIENT].shutdown(fresh, Shutdown::Both), Err(Error::NotConnected));
    assert_eq!(fixture.shards[CLIENT].peer_address(file), Err(not_socket));
    fixture.finish(&[(CLIENT, client), (SERVER, server), (SERVER, listener), (CLIENT, fresh), (CLIENT, file)]);
}
