//! The start coordinator: makes shards that run the same program agree on what they serve.
//!
//! Every shard calls [`listen`] as its own `main` comes to it; the n-th call on one shard belongs with the n-th call on all
//! others. When the last has come, the declarations are compared, all sockets are opened in shard order, and each shard is
//! handed its own. So a port in use, or shards that disagree, is one clear error for all of them.

use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use platform::{ListenError, ListenOptions, Socket};

use crate::mesh::fabric::Fabric;
use crate::{Counter, Shard};

/// What one shard got from a barrier.
#[derive(Debug)]
pub struct Listening {
    /// This shard's listening socket.
    pub socket: Socket,
    /// The address, with the port that the kernel chose for port zero.
    pub address: SocketAddr,
    /// Whether this shard is the one that speaks for all (in a log line, say).
    pub is_speaker: bool,
}

/// What one shard got from a barrier after which one of them accepts for all.
#[derive(Debug)]
pub struct OneListening {
    /// The listening socket, for the shard that accepts.
    pub socket: Option<Socket>,
    /// The address, with the port that the kernel chose for port zero.
    pub address: SocketAddr,
    /// Whether this shard is the one that speaks for all.
    pub is_speaker: bool,
    /// Tells this address from others: the same number on every shard.
    pub number: usize,
    /// One for each shard.
    pub tallies: Arc<[Tally]>,
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
    /// Whether one shard accepts for all.
    pub on_one: bool,
}

/// What all shards of a runtime share while they start.
#[derive(Debug)]
pub(crate) struct Start {
    count: usize,
    fabric: Arc<Fabric>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rounds: Vec<Round>,
    /// Shards that have ended.
    ended: Vec<usize>,
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
    sockets: Vec<Option<Socket>>,
}

impl Start {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Start { count, fabric: Fabric::new(count), state: Mutex::default() })
    }

    /// Where the shards find each other.
    pub(crate) fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// Tells the others that a shard's `main` has ended and comes to no more calls.
    pub(crate) fn ended(&self, shard: usize) {
        let mut state = self.lock();
        state.ended.push(shard);
        for round in &mut state.rounds {
            round.fail_if_absent(shard);
        }
    }

    /// Declares on behalf of `shard`; the last to come opens the sockets. Gives the round's number.
    fn declare(&self, shard: &Shard, ordinal: usize, declaration: Declaration, options: &ListenOptions) {
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
            let count = if declaration.on_one { 1 } else { self.count };
            let opened =
                shard.with_reactor(|reactor| reactor.listen(declaration.address, count, options)).map(|sockets| {
                    let tallies = (0..self.count).map(|_| Tally::default()).collect();
                    let first = sockets.first().map(Socket::local_address);
                    let address = first.and_then(Result::ok).unwrap_or(declaration.address);
                    let mut sockets: Vec<_> = sockets.into_iter().map(Some).collect();
                    sockets.resize_with(self.count, || None);
                    Opened { tallies, address, sockets }
                });
            round.conclude(opened.map_err(StartError::Listen));
        }
        for shard in ended {
            round.fail_if_absent(shard);
        }
    }

    fn poll_outcome(&self, shard: usize, ordinal: usize, waker: &Waker) -> Poll<Result<OneListening, StartError>> {
        let mut state = self.lock();
        let round = &mut state.rounds[ordinal];
        match &mut round.outcome {
            None => {
                round.waiting.push(waker.clone());
                Poll::Pending
            }
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            Some(Ok(opened)) => Poll::Ready(Ok(OneListening {
                socket: opened.sockets[shard].take(),
                address: opened.address,
                is_speaker: shard == 0,
                number: ordinal,
                tallies: Arc::clone(&opened.tallies),
            })),
        }
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

impl Declaration {
    fn agrees(&self, other: &Declaration) -> bool {
        self.address == other.address && self.location == other.location && self.on_one == other.on_one
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
    let declaration = Declaration { address, location, on_one: false };
    let OneListening { socket, address, is_speaker, .. } = come(shard, declaration, options).await?;
    Ok(Listening { socket: socket.expect("each shard takes its socket once"), address, is_speaker })
}

/// [`listen`] for an address that one shard accepts for: the first, which is the only one to get a socket. All get what they
/// tell each other by.
pub async fn listen_on_one(
    shard: &Shard,
    address: SocketAddr,
    options: &ListenOptions,
    location: &'static Location<'static>,
) -> Result<OneListening, StartError> {
    come(shard, Declaration { address, location, on_one: true }, options).await
}

/// Comes to the barrier.
async fn come(shard: &Shard, declaration: Declaration, options: &ListenOptions) -> Result<OneListening, StartError> {
    let start = shard.start_state();
    let ordinal = shard.next_declaration();
    start.declare(shard, ordinal, declaration, options);
    std::future::poll_fn(|cx| start.poll_outcome(shard.number(), ordinal, cx.waker())).await
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.address, self.location)?;
        if self.on_one { f.write_str(", where one shard accepts for all") } else { Ok(()) }
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
