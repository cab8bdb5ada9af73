//! The test bed: one reactor, with every wait bounded, and the promise checked at the end that everything came home.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use shardwise_platform::{
    BackendKind, Buf, Choice, Completion, Config, Error, Features, Group, Handle, Holdings, ListenOptions, Op, Outcome,
    PoolSize, Reactor, SocketOption, Token, Unparker, Wait, listen, select,
    sim::{Machine, Plan},
};
use tempfile::TempDir;

use crate::host::open_descriptors;

/// No wait of any test is longer. What is waited for takes microseconds; the rest is a machine under load.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// More than any kernel takes of a send whose peer does not read.
pub(crate) const BLOCKING_BYTES: usize = 8 << 20;

/// One backend, set up in one way.
#[derive(Clone, Copy)]
pub(crate) struct Rung {
    pub(crate) kind: BackendKind,
    pub(crate) name: &'static str,
    pub(crate) features: Features,
    /// Of a simulated machine: its seed, and what it does where it has a choice.
    pub(crate) chance: (u64, Plan),
}

/// Seeds of the simulated machine that answers late.
const LATE_SEEDS: std::ops::Range<u64> = 0..20;

impl Rung {
    pub(crate) fn sim() -> Rung {
        Rung::any(BackendKind::Sim, "sim")
    }

    /// A simulated machine that answers late and in another order, once for each seed.
    pub(crate) fn sim_late() -> Vec<Rung> {
        LATE_SEEDS.map(|seed| Rung { chance: (seed, Plan::LATE), ..Rung::any(BackendKind::Sim, "sim_late") }).collect()
    }

    /// One that besides cuts what it carries, and lets datagrams overtake each other.
    pub(crate) fn sim_choppy() -> Vec<Rung> {
        let Plan { latency, jitter, short_segments, short_receives, partial_sends, .. } = Plan::CHOPPY;
        let plan = Plan { latency, jitter, short_segments, short_receives, partial_sends, ..Plan::LATE };
        LATE_SEEDS.map(|seed| Rung { chance: (seed, plan), ..Rung::any(BackendKind::Sim, "sim_choppy") }).collect()
    }

    /// Whether nothing is left to chance: a real kernel counts as calm.
    pub(crate) fn is_calm(&self) -> bool {
        self.chance.1 == Plan::CALM
    }

    #[allow(dead_code, reason = "for Linux")]
    pub(crate) fn epoll() -> Rung {
        Rung::any(BackendKind::Epoll, "epoll")
    }

    fn any(kind: BackendKind, name: &'static str) -> Rung {
        Rung { kind, name, features: Features::ALL, chance: (1, Plan::CALM) }
    }

    pub(crate) fn polling() -> Rung {
        Rung::any(BackendKind::Polling, "polling")
    }

    /// The full ring, or nothing, with a line that says so, where the host offers no ring.
    #[allow(dead_code, reason = "for Linux")]
    pub(crate) fn uring() -> Option<Rung> {
        // Probing opens a descriptor, so it keeps out of the way of those who count them.
        let _guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let config = Config { features: Features::ALL, ..Config::default() };
        match select(Choice::Force(BackendKind::Uring), &config) {
            Ok(_) => Some(Rung::any(BackendKind::Uring, "uring")),
            Err(error) => {
                println!("skipped: {error}");
                None
            }
        }
    }

    /// The ring without each feature alone, without more and more of them down the ladder, and without all.
    #[allow(dead_code, reason = "for Linux")]
    pub(crate) fn ladder() -> Vec<Rung> {
        let Some(full) = Rung::uring() else { return Vec::new() };
        let alone =
            Features::each().map(|(feature, name)| Rung { name, features: Features::ALL.without(feature), ..full });
        let mut left = Features::ALL;
        let cumulative = Features::each().map(|(feature, name)| {
            left = left.without(feature);
            Rung { name, features: left, ..full }
        });
        alone.collect::<Vec<_>>().into_iter().chain(cumulative).collect()
    }
}

/// Tests that count the process's descriptors, or change its limits, run alone.
static ALONE: RwLock<()> = RwLock::new(());

/// Runs a test on one rung, beside others.
pub(crate) fn check(rung: Rung, test: fn(&mut Bed)) {
    let _guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    run(rung, test);
}

/// Runs a test on one rung with no other test beside it.
pub(crate) fn check_alone(rung: Rung, test: fn(&mut Bed)) {
    let _guard = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let before = open_descriptors();
    run(rung, test);
    assert_eq!(open_descriptors(), before, "{}: descriptors are back at the baseline", rung.name);
}

fn run(rung: Rung, test: fn(&mut Bed)) {
    println!("rung: {} {:?} seed {}", rung.name, rung.features, rung.chance.0);
    let mut bed = Bed::new(rung, PoolSize { head_buffers: 64, bulk_buffers: 8, bytes: 1 << 20 });
    test(&mut bed);
    bed.finish();
}

/// One reactor under test.
pub(crate) struct Bed {
    pub(crate) rung: Rung,
    pub(crate) unparker: Unparker,
    machine: Machine,
    reactor: Option<Reactor>,
    woken: Vec<u64>,
}

impl std::ops::Deref for Bed {
    type Target = Reactor;

    fn deref(&self) -> &Reactor {
        self.reactor.as_ref().expect("the reactor lives")
    }
}

impl std::ops::DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Reactor {
        self.reactor.as_mut().expect("the reactor lives")
    }
}

impl Bed {
    pub(crate) fn new(rung: Rung, pool: PoolSize) -> Bed {
        let (seed, plan) = rung.chance;
        Bed::on(Machine::with_plan(seed, plan), rung, pool)
    }

    /// Another reactor of the same kind, on the same machine. Neither may wait while the other has something to learn, as a
    /// simulated machine's time stands still then: they take turns, by `Wait::No`.
    pub(crate) fn beside(&self) -> Bed {
        Bed::on(self.machine.clone(), self.rung, PoolSize { head_buffers: 64, bulk_buffers: 8, bytes: 1 << 20 })
    }

    fn on(machine: Machine, rung: Rung, pool: PoolSize) -> Bed {
        let unparker = Unparker::new(rung.kind).expect("a descriptor");
        let config = Config { pool, features: rung.features, ..Config::default() };
        let reactor = match rung.kind {
            BackendKind::Sim => Reactor::simulated(&machine, &config),
            kind => Reactor::open(kind, &config, &unparker).expect("a backend that was probed"),
        };
        reactor.pool().wake_by({
            let unparker = unparker.clone();
            move || unparker.unpark()
        });
        Bed { rung, machine, unparker, reactor: Some(reactor), woken: Vec::new() }
    }

    /// Another bed of the same kind with another pool.
    pub(crate) fn with_pool(&self, pool: PoolSize) -> Bed {
        Bed::new(self.rung, pool)
    }

    // ---- driving ---------------------------------------------------------------------------------------------------

    pub(crate) fn start(&mut self, op: Op) -> Token {
        self.start_for(op, 1)
    }

    #[track_caller]
    pub(crate) fn start_for(&mut self, op: Op, waiter: u64) -> Token {
        (**self)
            .start(op, waiter)
            .map_err(|(op, error)| format!("{}: {error}", op.name()))
            .expect("the operation starts")
    }

    /// Enters once and gives the waiters that were named.
    pub(crate) fn enter(&mut self, wait: Wait) -> Vec<u64> {
        let mut woken = std::mem::take(&mut self.woken);
        woken.clear();
        loop {
            (**self).enter(wait, &mut woken);
            // Nothing waits on a simulated machine: the bed lets time pass, a little even for those who look only.
            if self.rung.kind == BackendKind::Sim && wait == Wait::No {
                self.machine.advance(self.now() + Duration::from_micros(10));
            }
            if self.rung.kind != BackendKind::Sim || !woken.is_empty() || wait == Wait::No {
                return woken;
            }
            let now = self.now();
            match wait {
                Wait::Until(at) if at <= now => return woken,
                _ => assert!(self.machine.advance_to_next(), "sim: stuck"),
            }
        }
    }

    /// What a host does before it waits for the bell.
    #[cfg(unix)]
    pub(crate) fn settle_once(&mut self, woken: &mut Vec<u64>) -> Option<Instant> {
        (**self).settle(woken)
    }

    /// Enters for a while, without expecting anything.
    pub(crate) fn enter_for(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.enter(Wait::Until(until));
        }
    }

    /// The next completion of an operation.
    #[track_caller]
    pub(crate) fn next(&mut self, token: &Token) -> Completion {
        let deadline = self.now() + WAIT_MAX;
        loop {
            if let Some(completion) = self.take(token, 1) {
                return completion;
            }
            assert!(self.now() < deadline, "{}: a completion comes in time", self.rung.name);
            self.enter(Wait::Until(deadline));
        }
    }

    /// The next result of a stream that goes on.
    #[track_caller]
    pub(crate) fn part(&mut self, token: &Token) -> Outcome {
        let completion = self.next(token);
        let name = self.rung.name;
        assert!(completion.more, "{name}: the stream goes on after {completion:?}");
        completion.result.expect("a part of a stream is no error")
    }

    /// The last completion of an operation; what a stream has before it is thrown away.
    #[track_caller]
    pub(crate) fn end(&mut self, token: Token) -> Result<Outcome, Error> {
        loop {
            let completion = self.next(&token);
            if !completion.more {
                return completion.result;
            }
            if let Ok(Outcome::Accepted(handle)) = completion.result {
                self.close(handle);
            }
        }
    }

    /// Runs an operation to its end.
    #[track_caller]
    pub(crate) fn run(&mut self, op: Op) -> Result<Outcome, Error> {
        let token = self.start(op);
        self.end(token)
    }

    // ---- sockets ---------------------------------------------------------------------------------------------------

    /// A listening socket on a port of the kernel's choice.
    pub(crate) fn listener(&mut self) -> (Handle, SocketAddr) {
        self.listener_with(ListenOptions::default())
    }

    pub(crate) fn listener_with(&mut self, options: ListenOptions) -> (Handle, SocketAddr) {
        let mut sockets = match self.rung.kind {
            BackendKind::Sim => self.machine.listen(loopback(), 1, &options),
            _ => listen(loopback(), 1, &options),
        }
        .expect("a free port");
        let handle = self.adopt(sockets.remove(0)).expect("a listener fits");
        let address = self.local_address(handle).expect("a bound socket");
        (handle, address)
    }

    /// A listener whose accept queue is full, and the client in it: whoever connects now is not answered.
    pub(crate) fn full_listener(&mut self) -> (Handle, SocketAddr, Handle) {
        let (listener, address) = self.listener_with(ListenOptions { backlog: 0, ..ListenOptions::default() });
        let first = self.stream_socket(address).expect("a socket");
        let connected = self.run(Op::Connect { socket: first, peer: address });
        assert!(matches!(connected, Ok(Outcome::Connected)), "{connected:?}");
        (listener, address, first)
    }

    /// Two connected sockets: the one that connected, and the one that was accepted.
    pub(crate) fn pair(&mut self) -> (Handle, Handle) {
        let (listener, address) = self.listener();
        let accept = self.start(Op::Accept { listener });
        let client = self.stream_socket(address).expect("a socket");
        let connected = self.run(Op::Connect { socket: client, peer: address });
        assert!(matches!(connected, Ok(Outcome::Connected)), "{connected:?}");
        let Outcome::Accepted(server) = self.part(&accept) else { panic!("an accept gives connections") };
        self.abandon(accept);
        self.close(listener);
        (client, server)
    }

    pub(crate) fn receive(&mut self, socket: Handle) -> Token {
        self.start(Op::Receive { socket, group: Group::Heads })
    }

    /// A send that cannot go on: the peer does not read, and both kernel buffers are full.
    pub(crate) fn blocked_send(&mut self, socket: Handle) -> Token {
        self.set_option(socket, SocketOption::SendBuffer(4096)).unwrap();
        let send = self.start(Op::Send { socket, data: Buf::Vec(vec![7; BLOCKING_BYTES]), zero_copy: false });
        self.enter_for(Duration::from_millis(3));
        assert!(self.take(&send, 1).is_none(), "eight megabytes do not fit");
        send
    }

    /// Leaves a socket without room for a single byte, though its peer lives. The kernel may find some more room at the second
    /// look, and the third, but none beyond what the peer was told to take.
    pub(crate) fn fill(&mut self, socket: Handle, peer: Handle) {
        self.set_option(peer, SocketOption::ReceiveBuffer(4096)).unwrap();
        let mut looks = 0;
        while looks < 2 {
            let send = self.blocked_send(socket);
            self.cancel(&send);
            match self.end(send) {
                // All of it would not have waited, so each look takes less than a finite room.
                Ok(Outcome::Sent { .. }) => looks = 0,
                Err(Error::Cancelled) => looks += 1,
                other => panic!("{}: {other:?}", self.rung.name),
            }
        }
    }

    /// Sends all of `data` and checks that the same buffer comes back.
    #[track_caller]
    pub(crate) fn send(&mut self, socket: Handle, data: &[u8]) {
        let sent = self.run(Op::Send { socket, data: Buf::from(data.to_vec()), zero_copy: false });
        let Ok(Outcome::Sent { bytes, data: back }) = sent else { panic!("{}: {sent:?}", self.rung.name) };
        assert_eq!((bytes, back.as_slice()), (data.len(), data));
    }

    pub(crate) fn close_all(&mut self, handles: impl IntoIterator<Item = Handle>) {
        handles.into_iter().for_each(|handle| self.close(handle));
    }

    pub(crate) fn abandon_all(&mut self, tokens: impl IntoIterator<Item = Token>) {
        tokens.into_iter().for_each(|token| self.abandon(token));
    }

    /// Takes exactly `count` bytes from a receive stream.
    #[track_caller]
    pub(crate) fn read(&mut self, token: &Token, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let Outcome::Received(chunk) = self.part(token) else { panic!("a receive gives chunks") };
            assert!(!chunk.is_empty(), "a lease has at least one byte");
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes.len(), count, "no byte too many");
        bytes
    }

    // ---- files -----------------------------------------------------------------------------------------------------

    /// A place for a file that nobody else uses: on the host, or on a simulated machine's own disk. It lasts as long as the
    /// folder does.
    pub(crate) fn scratch(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = match self.rung.kind {
            BackendKind::Sim => PathBuf::from("/tmp/file"),
            _ => folder.path().join("file"),
        };
        (folder, path)
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// Waits until nothing is in flight and as many handles are open as expected.
    #[track_caller]
    pub(crate) fn settle(&mut self, handles: usize) {
        let expected = Holdings { operations: 0, handles, pipes: 0 };
        let deadline = self.now() + WAIT_MAX;
        while self.holdings() != expected {
            let soon = self.now() + Duration::from_millis(5);
            assert!(soon < deadline, "{}: {:?} is not {expected:?}", self.rung.name, self.holdings());
            self.enter(Wait::Until(soon));
        }
    }

    /// Everything has come home: no operation, no handle, no lease.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        if self.reactor.is_none() {
            return;
        }
        self.settle(0);
        let stats = self.pool().stats();
        assert_eq!(
            (stats.heads_leased, stats.bulk_leased, stats.pooled_bytes),
            (0, 0, 0),
            "{}: {stats:?}",
            self.rung.name
        );
    }

    /// Drops the reactor and says how long that took.
    pub(crate) fn tear_down(&mut self) -> Duration {
        let begin = clock();
        self.reactor = None;
        begin.elapsed()
    }
}

#[allow(clippy::disallowed_methods, reason = "for times that no reactor is there to tell")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Bytes in which a lost, doubled or moved piece shows.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

/// A number that differs when any byte does (FNV-1a), for comparisons whose failure shall not print megabytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
