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
                Outcome::Received(chunk) => self.received.extend_from_slice(&chunk),
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
