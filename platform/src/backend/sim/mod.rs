//! A simulated machine: network, disk, clock and randomness from one seed, in one thread.
//!
//! A [`Machine`] stands for the computer and its kernel; [`Reactor::simulated`](crate::Reactor::simulated) opens a shard's
//! reactor on it. Nothing blocks and time stands still, so whoever runs the shards lets it pass:
//!
//! 1. Turn every shard that is not [stalled](crate::Reactor::is_stalled), in a fixed order, until none of them has anything
//!    left to do at this moment. A turn enters its reactor, which delivers what has arrived and never waits; `Wait::Until` notes when the shard wants to be turned again
//!    at the latest, `Wait::Forever` that it does not mind, and `Wait::No` that its driver keeps its deadlines.
//! 2. Call [`Machine::advance_to_next`]: time jumps to the next arrival, end of a sleep or noted deadline, and it goes on
//!    at 1. A driver that keeps deadlines of its own compares them with [`Machine::next_event`] and calls
//!    [`Machine::advance`] with the earlier moment. If there is no next event, everyone waits for something that cannot
//!    happen: the program has ended, or is stuck.
//!
//! A [`Plan`] says what goes wrong, and how often. The same program with the same seed does the same to the byte, and
//! [`Machine::trace_hash`] shows it.
//!
//! ```
//! use shardwise_platform::sim::Machine;
//! use shardwise_platform::{Config, Group, ListenOptions, Op, Outcome, Reactor, Wait};
//!
//! let machine = Machine::new(1);
//! let mut server = Reactor::simulated(&machine, &Config::default());
//! let mut client = Reactor::simulated(&machine, &Config::default());
//!
//! let address = "10.0.0.1:80".parse().unwrap();
//! let socket = machine.listen(address, 1, &ListenOptions::default()).unwrap().remove(0);
//! let listener = server.adopt(socket).unwrap();
//! let accept = server.start(Op::Accept { listener }, 1).unwrap();
//! let socket = client.stream_socket(address).unwrap();
//! let connect = client.start(Op::Connect { socket, peer: address }, 1).unwrap();
//!
//! // Turns both until nobody has news, then lets time pass, until the end of all events.
//! let run = |server: &mut Reactor, client: &mut Reactor| loop {
//!     let mut woken = Vec::new();
//!     server.enter(Wait::Forever, &mut woken);
//!     client.enter(Wait::Forever, &mut woken);
//!     if !machine.advance_to_next() {
//!         break;
//!     }
//! };
//! run(&mut server, &mut client);
//!
//! let Ok(Outcome::Accepted(accepted)) = server.take(&accept, 1).unwrap().result else { panic!() };
//! let Ok(Outcome::Connected) = client.take(&connect, 1).unwrap().result else { panic!() };
//! let receive = server.start(Op::Receive { socket: accepted, group: Group::Heads }, 2).unwrap();
//! let send = client.start(Op::Send { socket, data: "hello".into(), zero_copy: false }, 2).unwrap();
//! run(&mut server, &mut client);
//!
//! assert!(matches!(client.take(&send, 2).unwrap().result, Ok(Outcome::Sent { bytes: 5, .. })));
//! let Ok(Outcome::Received(chunk)) = server.take(&receive, 2).unwrap().result else { panic!() };
//! assert_eq!(&*chunk, b"hello");
//! assert!(machine.elapsed().as_millis() < 1, "virtual time");
//! # for token in [accept, receive] { server.abandon(token) }
//! ```

mod datagram;
mod disk;
mod landing;
pub mod limits;
mod machine;
mod network;
mod ongoing;
mod plan;
mod queue;
mod stream;
#[cfg(test)]
mod tests;
mod trace;

use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};
use std::time::{Instant, SystemTime};

pub use machine::Machine;
pub(crate) use machine::SimDescriptor;
use machine::{ShardId, World};
use network::Kind;
use ongoing::Ongoing;
pub use plan::Plan;
use plan::Random;
use stream::{Found, Stream};

use crate::flight::Core;
use crate::op::Wait;
use crate::socket::{ListenError, ListenOptions, Socket, SocketOption};
use crate::{Error, Result};

/// One shard's backend: the operations that it has begun on the machine and that have not ended.
pub(crate) struct Sim {
    machine: Machine,
    shard: ShardId,
    /// What the shard's program draws from.
    random: Random,
    ongoing: Ongoing,
}

impl Sim {
    pub(crate) fn new(machine: &Machine) -> Self {
        let (shard, random) = machine.world(World::join);
        Sim { machine: machine.clone(), shard, random, ongoing: Ongoing::new(shard) }
    }

    /// Begins what is queued and lands what has happened. Never waits: notes until when the shard would.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        let (shard, ongoing) = (self.shard, &mut self.ongoing);
        core.stats.enters += 1;
        self.machine.world(|world| {
            let mut room = world.submissions(shard);
            let mut has_learnt = false;
            loop {
                while room > 0
                    && let Some(entry) = core.next_entry()
                {
                    room -= 1;
                    core.stats.submissions += 1;
                    ongoing.submit(core, world, entry);
                }
                // What has just ended may have closed something, and what has just begun may be due already.
                world.settle();
                world.advance(world.now);
                if let Some(news) = world.news(shard) {
                    has_learnt = true;
                    ongoing.learn(core, world, news);
                    continue;
                }
                // As a kernel's wait does: while nobody is woken, it goes on with what can be started again.
                if wait != Wait::No && core.woken.is_empty() {
                    core.revive_starved();
                }
                if room == 0 || core.queue.is_empty() {
                    break;
                }
            }
            let deadline = match wait {
                // The machine had no room for them: it is entered again before time passes.
                _ if !core.queue.is_empty() => Some(world.now),
                Wait::Until(at) => Some(world.offset(at)),
                Wait::No | Wait::Forever => None,
            };
            world.wait(shard, deadline, has_learnt);
        });
    }

    /// Whether the shard is kept from running at this moment.
    pub(crate) fn is_stalled(&self) -> bool {
        self.machine.world(|world| world.is_stalled(self.shard))
    }

    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        self.machine.listen(address, count, options)
    }

    pub(crate) fn datagram_sockets(
        &mut self,
        address: SocketAddr,
        count: usize,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        let opened = self.machine.world(|world| world.bind_datagrams(address, count));
        let sockets = opened.map_err(|error| ListenError { address, error })?;
        Ok(sockets.into_iter().map(Socket::simulated).collect())
    }

    pub(crate) fn has_connection(&self, descriptor: &SimDescriptor) -> bool {
        self.machine.world(|world| world.has_connection(descriptor.node))
    }

    /// Ends what only time would end: the clock does not move while a reactor is dropped.
    pub(crate) fn give_up(&mut self, core: &mut Core) {
        self.machine.world(|world| self.ongoing.give_up(core, world));
    }

    pub(crate) fn now(&self) -> Instant {
        self.machine.now()
    }

    pub(crate) fn wall_clock(&self) -> SystemTime {
        self.machine.wall_clock()
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random.next()
    }

    pub(crate) fn stream_socket(&mut self) -> Result<SimDescriptor> {
        self.machine.world(|world| match world.lacks_descriptors(self.shard) {
            true => Err(Error::OutOfDescriptors),
            false => world.open(Kind::Stream(Stream::new())),
        })
    }

    pub(crate) fn datagram_socket(&mut self, local: SocketAddr) -> Result<SimDescriptor> {
        self.machine.world(|world| match world.lacks_descriptors(self.shard) {
            true => Err(Error::OutOfDescriptors),
            false => world.bind_datagrams(local, 1).map(|mut sockets| sockets.remove(0)),
        })
    }

    /// Whether a descriptor is one of this machine's.
    pub(crate) fn owns(&self, descriptor: &SimDescriptor) -> bool {
        self.machine.world(|world| world.owns(descriptor))
    }

    /// Lets go of a socket that leaves the shard: whoever begins something on it next is told of it.
    pub(crate) fn release(&self, descriptor: &SimDescriptor) -> Result<()> {
        self.machine.world(|world| world.release(descriptor.node))
    }

    pub(crate) fn receive_now(&self, descriptor: &SimDescriptor, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.machine.world(|world| match world.find(descriptor.node) {
            Found::Nothing => Ok(None),
            Found::Bytes => Ok(Some(world.receive(descriptor.node, buffer))),
            Found::End => Ok(Some(0)),
            Found::Failure(error) => Err(error),
        })
    }

    pub(crate) fn send_last(&self, descriptor: &SimDescriptor, data: &[IoSlice<'_>]) -> Result<usize> {
        self.machine.world(|world| {
            let mut sent = 0;
            for slice in data {
                let bytes = match world.send(descriptor.node, slice, sent > 0) {
                    Ok(bytes) => bytes,
                    Err(error) if sent == 0 => return Err(error),
                    // Told to whoever sends next.
                    Err(_) => break,
                };
                sent += bytes;
                if bytes < slice.len() {
                    break;
                }
            }
            Ok(sent)
        })
    }

    pub(crate) fn shutdown(&self, descriptor: &SimDescriptor, how: Shutdown) -> Result<()> {
        self.machine.world(|world| world.shutdown(descriptor.node, how))
    }

    pub(crate) fn local_address(&self, descriptor: &SimDescriptor) -> Result<SocketAddr> {
        self.machine.world(|world| world.local_address(descriptor.node))
    }

    pub(crate) fn peer_address(&self, descriptor: &SimDescriptor) -> Result<SocketAddr> {
        self.machine.world(|world| world.peer_address(descriptor.node))
    }

    pub(crate) fn set_option(&self, descriptor: &SimDescriptor, option: SocketOption) -> Result<()> {
        self.machine.world(|world| world.set_option(descriptor.node, option))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.machine.world(|world| world.leave(self.shard));
    }
}
