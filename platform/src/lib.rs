//! What does the machine give? One [`Reactor`] per shard: operations in, completions out, on io_uring, on readiness
//! (epoll), or on a simulated machine; the [buffers](Pool) those operations carry; where shards may run; the ring that joins
//! two threads; and [stacks](stack) for code that stops in the middle.
//!
//! The vocabulary is closed: [`Op`] lists everything a server framework asks of the kernel. A buffer moves in with an
//! operation and comes back with its completion, so this package's interface is safe, and nothing above needs `unsafe` for
//! I/O. It knows nothing of futures, tasks or protocols.

// What a thread keeps of the coroutine that it runs stands in `stack.rs`. Clippy judges the attributes in the macro's
// expansion at the crate's root, so a narrower exception has no effect.
#![allow(clippy::disallowed_macros)]

pub mod arena;
pub mod backend;
mod bell;
mod buffer;
mod error;
mod flight;
mod handle;
pub mod inline_fn;
pub mod limits;
mod op;
mod os;
mod pipe;
mod random;
mod reactor;
mod socket;
pub mod spsc;
pub mod stack;
mod sync;
pub mod topology;
mod unpark;

pub use backend::{BackendKind, Choice, Config, Features, Selection, SetupError, select, sim};
pub use bell::Bell;
pub use buffer::{Buf, BufList, Chunk, ChunkMut, Pool, PoolSize, PoolStats};
pub use error::{Error, Result};
pub use flight::{NOBODY, Refused, Token};
pub use handle::Handle;
pub use op::{Completion, Datagram, Group, Message, Op, OpenFile, Outcome, Stat, Wait};
pub use os::{Cord, Ferry, Manager, keep_from, service_sockets};
pub use pipe::Pipe;
pub use reactor::{Holdings, Reactor, Stats};
pub use socket::{
    DatagramOptions, ListenError, ListenOptions, Socket, SocketOption, datagram_sockets, datagram_sockets_beside,
    listen, listen_beside,
};
pub use unpark::Unparker;
