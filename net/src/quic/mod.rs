//! QUIC: connections of many streams over datagrams, on a shard.
//!
//! An [`Endpoint`] is a socket and one task, which receives, finds out whose each datagram is, and puts it into that
//! connection's queue. A [`Connection`] is a value in a task of its own, which takes from its queue, reads and writes streams,
//! and sends by itself. The two share little, by short borrows, and none of it leaves the shard.
//!
//! The protocol itself is `quinn-proto`, which knows neither sockets nor clocks. Its names do not leave this directory but for
//! [`StreamId`] and [`Dir`], so that another can take its place.

mod cid;
mod config;
mod connection;
mod detour;
mod endpoint;
mod neighbours;
mod secrets;
mod session;
mod steer;

pub(crate) use cid::NUMBERED_AT;
pub(crate) use config::takes;
pub use config::{Config, Congestion};
pub use connection::{Behind, Closed, Connection, DatagramRefused, Event, Read, Unwritable};
pub use endpoint::{ConnectError, Endpoint};
pub use quinn_proto::{Dir, StreamId};

/// The stream of this number (RFC 9000 section 2.1).
pub(crate) fn stream(id: u64) -> StreamId {
    quinn_proto::VarInt::from_u64(id).unwrap_or(quinn_proto::VarInt::MAX).into()
}
