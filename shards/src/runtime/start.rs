//! The start coordinator: makes shards that run the same program agree on what they serve.
//!
//! Every shard calls [`listen`] as its own `main` comes to it; the n-th call on one shard belongs with the n-th call on all
//! others. When the last has come, the declarations are compared, all sockets are opened in shard order, and each shard is
//! handed its own. So a port in use, or shards that disagree, is one clear error for all of them. Sockets that another process
//! has left, a predecessor or the service manager, enter here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use platform::{DatagramOptions, ListenError, ListenOptions, Reactor, Socket};

use super::heritage::{Heritage, Kept, Purpose};
use super::strays::Strays;
use crate::mesh::fabric::Fabric;
use crate::{Counter, Shard};

/// What one shard got from a barrier.
#[derive(Debug)]
pub struct Listening {
    /// This shard's sockets: one, or more where another process has left more than there are shards. None if one shard
    /// accepts for all, and it is another.
    pub sockets: Vec<Socket>,
    /// One shard accepts for all: since the shards asked for it, or since what another process has left is a single socket
    /// that no other can join.
    pub on_one: bool,
    /// The address, with the port that the kernel chose for port zero.
    pub address: SocketAddr,
    /// Whether this shard is the one that speaks for all (in a log line, say).
    pub is_speaker: bool,
    /// Tells this address from others: the same number on every shard.
    pub number: usize,
    /// One for each shard.
    pub tallies: Arc<[Tally]>,
    /// What a successor gets of this shard's sockets; to be dropped with them.
    pub kept: Kept,
    /// How datagrams go to and come from a process that has the same sockets; `None` of listeners.
    pub strays: Option<Strays>,
}

/// What one shard tells the others of an address that one of them accepts for, in memory that it alone writes and all read.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections given to it that have ended.
    pub ended: Counter,
    /// Those among them that it never came to see, since it had ended first.
    pub lost: Counter,
    /// It takes no more.
    pub is_closed: AtomicBool,
}

/// Why shards could not start serving.
#[derive(Clone, Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen(ListenError),
    /// Two shards came to different calls.
    Differ {
        /// What the one declared, and where.
        one: Declaration,
        /// What the other declared, and where.
        other: Declaration,
    },
    /// A shard came here without its part of a `PerShard` that another has made.
    Lacking {
        /// The shard's number.
        shard: usize,
        /// The line where the other made its part.
        made: &'static Location<'static>,
        /// What all declared here.
        declaration: Declaration,
    },
    /// A shard ended without coming to a call that others wait in.
    Absent {
        /// The shard's number.
        shard: usize,
        /// What the others declared.
        declaration: Declaration,
    },
}

/// One shard's wish to listen.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Where.
    pub address: SocketAddr,
    /// The line of the program that says so.
    pub location: &'static Location<'static>,
    /// What is listened for.
    pub kind: Kind,
}

/// What is listened for, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections, by every shard.
    Connections,
    /// Connections, by one shard for all.
    ConnectionsOnOne,
    /// Datagrams, by every shard.
    Datagrams,
}

/// How the sockets of an address are opened.
#[derive(Clone, Copy)]
enum Opening<'a> {
    Listeners(&'a ListenOptions),
    Datagrams(&'a DatagramOptions),
}

/// What all shards of a runtime share while they start.
pub(crate) struct Start {
    count: usize,
    fabric: Arc<Fabric>,
    heritage: Arc<Heritage>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rounds: Vec<Round>,
    /// Shards that have ended.
    ended: Vec<usize>,
    /// Shards that serve.
    serving: BTreeSet<usize>,
    /// Told once that all do.
    when_all_serve: Option<Box<dyn FnOnce() + Send>>,
}

/// The n-th call of all shards.
#[derive(Debug)]
struct Round {
    declared: Vec<Option<Declaration>>,
    /// How many parts of `PerShard`s each shard had made when it came.
    parts: Vec<usize>,
    waiting: Vec<Waker>,
    outcome: Option<Result<Opened, StartError>>,
}

#[derive(Debug)]
struct Opened {
    tallies: Arc<[Tally]>,
    address: SocketAddr,
    on_one: bool,
    /// Of each shard, until it takes it.
    dealt: Vec<Dealt>,
}

/// What one shard is handed.
#[derive(Debug, Default)]
struct Dealt {
    sockets: Vec<Socket>,
    kept: Kept,
    strays: Option<Strays>,
}

impl Start {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Start::with(count, Arc::default())
    }

    /// With what other processes have left.
    pub(crate) fn with(count: usize, heritage: Arc<Heritage>) -> Arc<Self> {
        Arc::new(Start { count, fabric: Fabric::new(count), heritage, state: Mutex::default() })
    }

    /// Where the shards find each other.
    pub(crate) fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// What passes between processes.
    pub(crate) fn heritage(&self) -> &Heritage {
        &self.heritage
    }

    /// Tells the others that a shard's `main` has ended and comes to no more calls.
    pub(crate) fn ended(&self, shard: usize) {
        let mut state = self.lock();
        state.ended.push(shard);
        for round in &mut state.rounds {
            round.fail_if_absent(shard);
        }
    }

    /// Has `act` called when all shards serve.
    pub(crate) fn when_all_serve(&self, act: impl FnOnce() + Send + 'static) {
        self.lock().when_all_serve = Some(Box::new(act));
    }

    /// A shard serves.
    pub(crate) fn serves(&self, shard: usize) {
        let mut state = self.lock();
        state.serving.insert(shard);
        if state.serving.len() == self.count
            && let Some(act) = state.when_all_serve.take()
        {
            act();
        }
    }

    /// Declares on behalf of `shard`; the last to come opens the sockets. Gives the round's number.
    fn declare(&self, shard: &Shard, ordinal: usize, declaration: Declaration, opening: Opening<'_>) {
        let mut state = self.lock();
        while state.rounds.len() <= ordinal {
            let declared = vec![None; self.count];
            state.rounds.push(Round { declared, parts: vec![0; self.count], waiting: Vec::new(), outcome: None });
        }
        let ended = state.ended.clone();
        let round = &mut state.rounds[ordinal];
        if let Some(other) = round.declared.iter().flatten().find(|other| !other.agrees(&declaration)) {
            let error = StartError::Differ { one: other.clone(), other: declaration.clone() };
            round.conclude(Err(error));
        }
        round.declared[shard.number()] = Some(declaration.clone());
        round.parts[shard.number()] = self.fabric.parts_of(shard.number());
        let is_last = round.declared.iter().all(Option::is_some);
        if is_last
            && round.outcome.is_none()
            && let Some((lacking, made)) = self.fabric.lacking(&round.parts)
        {
            round.conclude(Err(StartError::Lacking { shard: lacking, made, declaration: declaration.clone() }));
        }
        if is_last && round.outcome.is_none() {
            // Every shard waits for this one, so holding the lock meanwhile holds up nobody.
            round.conclude(self.open(shard, &declaration, opening).map_err(StartError::Listen));
        }
        for shard in ended {
            round.fail_if_absent(shard);
        }
    }

    fn poll_outcome(&self, shard: usize, ordinal: usize, waker: &Waker) -> Poll<Result<Listening, StartError>> {
        let mut state = self.lock();
        let round = &mut state.rounds[ordinal];
        match &mut round.outcome {
            None => {
                round.waiting.push(waker.clone());
                Poll::Pending
            }
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            Some(Ok(opened)) => {
                let Dealt { sockets, kept, strays } = std::mem::take(&mut opened.dealt[shard]);
                Poll::Ready(Ok(Listening {
                    sockets,
                    on_one: opened.on_one,
                    address: opened.address,
                    is_speaker: shard == 0,
                    number: ordinal,
                    tallies: Arc::clone(&opened.tallies),
                    kept,
                    strays,
                }))
            }
        }
    }

    /// Takes the sockets that another process has left for this address, and opens what is missing.
    fn open(&self, shard: &Shard, declaration: &Declaration, opening: Opening<'_>) -> Result<Opened, ListenError> {
        let address = declaration.address;
        let mut on_one = declaration.kind == Kind::ConnectionsOnOne;
        let wanted = if on_one { 1 } else { self.count };
        let purpose = opening.purpose();
        let left = self.heritage.claim_left(purpose, address);
        let left_as = left.as_ref().map(|left| left.number);
        let mut sockets = left.map_or_else(Vec::new, |left| left.sockets);
        match sockets.first() {
            None => sockets = shard.with_reactor(|reactor| opening.open(reactor, address, wanted))?,
            // All are taken, however many: closing one would lose what waits in its queue, and change the numbers of others.
            Some(_) if sockets.len() >= wanted => {}
            Some(first) => match opening.beside(first, wanted - sockets.len()) {
                Ok(more) => sockets.extend(more),
                // Each shard sends by a name of its own. All receive from one socket, and pass on what is not theirs.
                Err(error) if purpose == Purpose::Datagrams => {
                    tracing::info!("the shards share one socket at {address}: no other can join it ({error})");
                    let second_name = |_| first.second_name().map_err(|error| ListenError { address, error });
                    let more: Result<Vec<Socket>, ListenError> = (sockets.len()..wanted).map(second_name).collect();
                    sockets.extend(more?);
                }
                Err(error) => {
                    tracing::info!("shard 0 accepts for all at {address}: no other socket can join it ({error})");
                    on_one = true;
                }
            },
        }
        let (number, kept) = self.heritage.hold(purpose, address, &sockets);
        let local = sockets.first().map(Socket::local_address).and_then(Result::ok).unwrap_or(address);
        let mut dealt: Vec<Dealt> = (0..self.count).map(|_| Dealt::default()).collect();
        for (place, (socket, kept)) in sockets.into_iter().zip(kept).enumerate() {
            let dealt = &mut dealt[if on_one { 0 } else { place % self.count }];
            dealt.sockets.push(socket);
            dealt.kept.join(kept);
        }
        if purpose == Purpose::Datagrams {
            let all = self.heritage.ferries().cross(number, left_as, self.count);
            dealt.iter_mut().zip(all).for_each(|(dealt, strays)| dealt.strays = Some(strays));
        }
        let tallies = (0..self.count).map(|_| Tally::default()).collect();
        Ok(Opened { tallies, address: local, on_one, dealt })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    fn conclude(&mut self, outcome: Result<Opened, StartError>) {
        self.outcome = Some(outcome);
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn fail_if_absent(&mut self, shard: usize) {
        let declaration = self.declared.iter().flatten().next().cloned();
        if self.outcome.is_none()
            && self.declared[shard].is_none()
            && let Some(declaration) = declaration
        {
            self.conclude(Err(StartError::Absent { shard, declaration }));
        }
    }
}

impl Opening<'_> {
    fn purpose(self) -> Purpose {
        match self {
            Opening::Listeners(_) => Purpose::Serve,
            Opening::Datagrams(_) => Purpose::Datagrams,
        }
    }

    fn open(self, reactor: &mut Reactor, address: SocketAddr, count: usize) -> Result<Vec<Socket>, ListenError> {
        match self {
            Opening::Listeners(options) => reactor.listen(address, count, options),
            Opening::Datagrams(options) => reactor.datagram_sockets(address, count, options),
        }
    }

    fn beside(self, socket: &Socket, count: usize) -> platform::Result<Vec<Socket>> {
        match self {
            Opening::Listeners(options) => platform::listen_beside(socket, count, options),
            Opening::Datagrams(_) => platform::datagram_sockets_beside(socket, count),
        }
    }
}

impl Declaration {
    fn agrees(&self, other: &Declaration) -> bool {
        self.address == other.address && self.location == other.location && self.kind == other.kind
    }
}

/// Listens on `address` on all shards: waits until every shard has come to this call, then gives each its own socket of
/// one group, among which the kernel spreads connections.
///
/// Cancel safe only before the first poll: a shard that has declared is expected to take its socket.
///
/// Errors: the address cannot be had, the shards' calls differ, or a shard ended without coming here.
pub async fn listen(
    shard: &Shard,
    address: SocketAddr,
    options: &ListenOptions,
    location: &'static Location<'static>,
) -> Result<Listening, StartError> {
    come(shard, Declaration { address, location, kind: Kind::Connections }, Opening::Listeners(options)).await
}

/// [`listen`] for an address that one shard accepts for: the first, which is the only one to get a socket. All get what they
/// tell each other by.
pub async fn listen_on_one(
    shard: &Shard,
    address: SocketAddr,
    options: &ListenOptions,
    location: &'static Location<'static>,
) -> Result<Listening, StartError> {
    come(shard, Declaration { address, location, kind: Kind::ConnectionsOnOne }, Opening::Listeners(options)).await
}

/// Receives datagrams at `address` on all shards, by one socket each, which are opened and left to a successor in shard order: so
/// the number by which a datagram names its socket ([`DatagramOptions::numbered_at`]) is its shard's. What the kernel gives to
/// another, every shard must pass on: it goes by its hash where datagrams name none, and where shards share a socket
/// (elsewhere than on Linux) by nothing.
///
/// A process before this one that had more shards has left more sockets. Each shard receives from those that are left over too:
/// the socket of number N is that of shard N modulo the number of shards, and the first of each shard is its own.
///
/// Cancel safety and errors as [`listen`].
pub async fn listen_datagrams(
    shard: &Shard,
    address: SocketAddr,
    options: &DatagramOptions,
    location: &'static Location<'static>,
) -> Result<Listening, StartError> {
    come(shard, Declaration { address, location, kind: Kind::Datagrams }, Opening::Datagrams(options)).await
}

/// Comes to the barrier.
async fn come(shard: &Shard, declaration: Declaration, opening: Opening<'_>) -> Result<Listening, StartError> {
    let start = shard.start_state();
    let ordinal = shard.next_declaration();
    start.declare(shard, ordinal, declaration, opening);
    std::future::poll_fn(|cx| start.poll_outcome(shard.number(), ordinal, cx.waker())).await
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.address, self.location)?;
        match self.kind {
            Kind::Connections => Ok(()),
            Kind::ConnectionsOnOne => f.write_str(", where one shard accepts for all"),
            Kind::Datagrams => f.write_str(", for datagrams"),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(error) => write!(f, "{error}"),
            StartError::Differ { one, other } => write!(
                f,
                "the shards do not agree on what to serve: one listens on {one}, another on {other}. `main` runs on every \
                 shard and must come to the same calls in the same order on each."
            ),
            StartError::Lacking { shard, made, declaration } => write!(
                f,
                "shard {shard} listens on {declaration} without its part of the `PerShard` that others have made at {made}. \
                 `main` runs on every shard and must come to the same calls in the same order on each."
            ),
            StartError::Absent { shard, declaration } => write!(
                f,
                "shard {shard} ended without listening on {declaration}, where the others wait for it. `main` runs on \
                 every shard and must come to the same calls in the same order on each."
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("count", &self.count).finish_non_exhaustive()
    }
}
