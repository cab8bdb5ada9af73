//! A test's own little world: two shards on a machine, and everything that must be gone in the end. The tests themselves
//! lie in `tests/`, one subject a file.

mod breaking;
mod connections;
mod datagrams;
mod ending;
mod files;
mod lateness;
mod rates;
mod receiving;
mod streams;
mod time;

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::plan::Random;
use super::*;
use crate::buffer::PoolSize;
use crate::limits::{HEAD_BUFFER_BYTES, STREAM_QUEUE_MAX};
use crate::op::{Completion, Datagram, Op, OpenFile, Outcome, Stat};
use crate::os::{code, error_of};
use crate::{BufList, Config, Group, Handle, Reactor, Token};

const CLIENT: usize = 0;
const SERVER: usize = 1;
/// Bytes that one receive or datagram may have.
const ROOM: usize = HEAD_BUFFER_BYTES as usize;

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

    /// The next result of an operation; `None` if it waits for something that cannot happen. It is given up then.
    fn outcome(&mut self, shard: usize, token: Token) -> Option<Result<Outcome>> {
        loop {
            if let Some(completion) = self.shards[shard].take(&token, 1) {
                self.shards[shard].abandon(token);
                return Some(completion.result);
            }
            if !self.step() {
                self.shards[shard].abandon(token);
                return None;
            }
        }
    }

    #[track_caller]
    fn run(&mut self, shard: usize, op: Op) -> Result<Outcome> {
        let token = self.start(shard, op);
        self.result(shard, &token)
    }

    /// Receives so many bytes.
    #[track_caller]
    fn drain_some(&mut self, shard: usize, socket: Handle, count: usize) -> Vec<u8> {
        let token = self.start(shard, Op::Receive { socket, group: Group::Heads });
        let mut received = Vec::new();
        while received.len() < count {
            let Ok(Outcome::Received(chunk)) = self.result(shard, &token) else {
                panic!("{} of {count}", received.len())
            };
            received.extend_from_slice(&chunk);
        }
        self.shards[shard].abandon(token);
        received
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
        self.drain_token(shard, token)
    }

    /// The same with a stream that has begun.
    #[track_caller]
    fn drain_token(&mut self, shard: usize, token: Token) -> (Vec<u8>, Option<Error>) {
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

    /// How often something has happened, by the log.
    fn count(&self, what: &str) -> usize {
        self.machine.log().lines().filter(|line| line.split_whitespace().nth(1) == Some(what)).count()
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

/// Plans under which nothing is lost.
const PLANS: [Plan; 3] = [Plan::CALM, Plan::CHOPPY, Plan::LATE];
