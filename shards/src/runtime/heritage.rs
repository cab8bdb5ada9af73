//! Listening and datagram sockets that pass from process to process: what this one was left by another, until its shards claim it, and what
//! it keeps of its own for a successor. With them go keepsakes: a few bytes by a name, such as a secret, that all processes of
//! a line have in common.
//!
//! A socket lives as long as any process has a name of it. So the runtime keeps a second name of each, and drops that when
//! the shard has stopped accepting from it: until then a successor can have it, and what waits in its queue.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platform::Socket;

use super::strays::Ferries;
use crate::Shard;
use crate::limits::{KEEPSAKE_BYTES_MAX, KEEPSAKE_NAME_BYTES_MAX, KEEPSAKES_MAX};

/// Values by their names.
pub(crate) type Keepsakes = BTreeMap<String, Arc<[u8]>>;

/// What passes between processes, seen from this one.
#[derive(Debug, Default)]
pub(crate) struct Heritage {
    /// Whether it keeps anything for a successor.
    keeps: bool,
    /// How many processes there were before it in a line of hot restarts.
    generation: u64,
    ferries: Arc<Ferries>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their number with whoever left them.
    left: Vec<Left>,
    /// Numbers of what was left and claimed.
    claimed: Vec<usize>,
    /// By number.
    held: Vec<Held>,
    keepsakes: Keepsakes,
}

/// What the sockets of an address are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Shards accept from them.
    Serve,
    /// Threads beside the shards do.
    Outside,
    /// Shards receive datagrams from them.
    Datagrams,
}

/// The sockets of one address, as another process has left them.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) number: usize,
    /// Unless known, they serve any that accepts.
    pub(crate) purpose: Option<Purpose>,
    /// As the program declares it.
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<Socket>,
}

/// The sockets of one address that this process has opened or claimed.
#[derive(Debug)]
struct Held {
    purpose: Purpose,
    address: SocketAddr,
    /// Each until its shard has stopped accepting.
    sockets: Vec<Option<Socket>>,
    is_taken: Arc<AtomicBool>,
}

/// What the runtime keeps of some sockets for a successor. Dropping it, once accepting or receiving from them has ended, lets
/// them close.
#[derive(Default)]
pub struct Kept(Vec<Place>);

/// Where a kept socket lies.
struct Place {
    heritage: Arc<Heritage>,
    held: usize,
    index: usize,
    is_taken: Arc<AtomicBool>,
}

impl Heritage {
    pub(crate) fn new(keeps: bool, left: Vec<Left>, mut keepsakes: Keepsakes) -> Arc<Self> {
        let generation =
            keepsakes.remove(GENERATION).and_then(|value| Some(u64::from_be_bytes(value[..].try_into().ok()?)));
        let state = State { left, keepsakes, ..State::default() };
        let generation = generation.unwrap_or(0);
        Arc::new(Heritage { keeps, generation, ferries: Arc::default(), state: Mutex::new(state) })
    }

    // ---- what this process was left ----------------------------------------------------------------------------------

    /// The sockets that were left for an address: the first that were declared with it, and else those of a dual-stack socket
    /// that covers it.
    pub(crate) fn claim(&self, purpose: Purpose, address: SocketAddr) -> Vec<Socket> {
        self.claim_left(purpose, address).map_or_else(Vec::new, |left| left.sockets)
    }

    /// The same with the number by which they were left.
    pub(crate) fn claim_left(&self, purpose: Purpose, address: SocketAddr) -> Option<Left> {
        let mut state = self.lock();
        let fits = |left: &Left| match left.purpose {
            Some(of) => of == purpose,
            None => purpose != Purpose::Datagrams,
        };
        let same = state.left.iter().position(|left| fits(left) && left.address == address);
        let covers = |left: &Left| {
            fits(left)
                && address.ip().is_unspecified()
                && left.address.port() == address.port()
                && left.address.is_ipv6()
                && left.address.ip().is_unspecified()
        };
        let index = same.or_else(|| state.left.iter().position(covers))?;
        let left = state.left.remove(index);
        state.claimed.push(left.number);
        Some(left)
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.lock().left.is_empty()
    }

    /// Lets go of what nobody has claimed: the addresses. Gives the numbers of what was claimed with them.
    pub(crate) fn settle(&self) -> (Vec<usize>, Vec<SocketAddr>) {
        let mut state = self.lock();
        let unclaimed = std::mem::take(&mut state.left).iter().map(|left| left.address).collect();
        (state.claimed.clone(), unclaimed)
    }

    // ---- what it keeps for a successor -------------------------------------------------------------------------------

    /// Keeps the sockets of an address: by which number, and what each is kept by.
    pub(crate) fn hold(
        self: &Arc<Self>,
        purpose: Purpose,
        address: SocketAddr,
        sockets: &[Socket],
    ) -> (usize, Vec<Kept>) {
        let mut state = self.lock();
        let is_taken = Arc::new(AtomicBool::new(false));
        // One that has no second name (a simulated one; no descriptor is left) closes with its shard's.
        let second = |socket: &Socket| self.keeps.then(|| socket.second_name().ok()).flatten();
        let names = sockets.iter().map(second).collect();
        let held = state.held.len();
        state.held.push(Held { purpose, address, sockets: names, is_taken: Arc::clone(&is_taken) });
        let place = |index| Place { heritage: Arc::clone(self), held, index, is_taken: Arc::clone(&is_taken) };
        (held, (0..sockets.len()).map(|index| Kept(vec![place(index)])).collect())
    }

    /// Second names of all that can be left at this moment.
    pub(crate) fn bequeath(&self) -> Vec<Left> {
        let state = self.lock();
        let leave = |(number, held): (usize, &Held)| {
            let names = held.sockets.iter().flatten().filter_map(|socket| socket.second_name().ok());
            let left = Left { number, purpose: Some(held.purpose), address: held.address, sockets: names.collect() };
            (!left.sockets.is_empty()).then_some(left)
        };
        state.held.iter().enumerate().filter_map(leave).collect()
    }

    /// A successor has these.
    pub(crate) fn taken(&self, numbers: &[usize]) {
        let state = self.lock();
        for held in numbers.iter().filter_map(|number| state.held.get(*number)) {
            held.is_taken.store(true, Ordering::Release);
        }
    }

    // ---- keepsakes ---------------------------------------------------------------------------------------------------

    /// The value of this name. Whoever asks first makes it, while the others wait.
    fn keepsake(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        let mut state = self.lock();
        if let Some(value) = state.keepsakes.get(name) {
            return Arc::clone(value);
        }
        let value: Arc<[u8]> = make().into();
        assert!(
            fits(name, &value) && state.keepsakes.len() < KEEPSAKES_MAX,
            "the keepsake {name} is within its bounds"
        );
        state.keepsakes.insert(name.to_owned(), Arc::clone(&value));
        value
    }

    /// The ways of datagrams to the processes beside this one.
    pub(crate) fn ferries(&self) -> &Arc<Ferries> {
        &self.ferries
    }

    /// What a successor has in common with this process, and which generation it is.
    pub(crate) fn keepsakes(&self) -> Keepsakes {
        let mut keepsakes = self.lock().keepsakes.clone();
        keepsakes.insert(GENERATION.to_owned(), Arc::from(self.generation.wrapping_add(1).to_be_bytes()));
        keepsakes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keepsake that counts processes, beside those that are asked for.
const GENERATION: &str = "shardwise-generation";

/// Whether this may be a keepsake: a name without spaces, and a value that goes through a cord.
pub(crate) fn fits(name: &str, value: &[u8]) -> bool {
    (1..=KEEPSAKE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && value.len() <= KEEPSAKE_BYTES_MAX
}

impl Shard {
    /// A value that all shards have in common, and all processes of a line of hot restarts: what the process before this one
    /// has left by this name, or else what the first shard to ask makes. A successor gets it through a socket that nobody else
    /// can open, so that it may be a secret.
    ///
    /// # Panics
    ///
    /// If the name has spaces or other bytes than ASCII's, or is longer than
    /// [`KEEPSAKE_NAME_BYTES_MAX`]; if the value is longer than [`KEEPSAKE_BYTES_MAX`]; if there are [`KEEPSAKES_MAX`].
    ///
    /// ```
    /// shardwise_shards::Simulation::new(1).run(async |shard| {
    ///     let secret = shard.keepsake("secret", || shard.random().to_be_bytes().to_vec());
    ///     assert_eq!(shard.keepsake("secret", || unreachable!()), secret);
    /// });
    /// ```
    pub fn keepsake(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        self.start_state().heritage().keepsake(name, make)
    }

    /// How many processes there were before this one in a line of hot restarts: zero unless another has started it to take its
    /// place. Of two that run at the same time the one has one more than the other, but for a successor that has failed, which
    /// the next one takes the number of.
    pub fn generation(&self) -> u64 {
        self.start_state().heritage().generation
    }
}

impl Kept {
    /// Whether a successor accepts, or receives, from these sockets.
    pub fn is_taken(&self) -> bool {
        self.0.first().is_some_and(|place| place.is_taken.load(Ordering::Acquire))
    }

    /// Keeps what the other keeps as well; both are of one address.
    pub(crate) fn join(&mut self, mut other: Kept) {
        self.0.append(&mut other.0);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.heritage.lock();
        state.held[self.held].sockets[self.index] = None;
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.0.len())
    }
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::Serve => "serve",
            Purpose::Outside => "outside",
            Purpose::Datagrams => "datagrams",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Purpose::Serve, Purpose::Outside, Purpose::Datagrams].into_iter().find(|purpose| purpose.name() == name)
    }
}

#[cfg(test)]
mod tests;
