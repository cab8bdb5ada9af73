//! What goes over the wire? Sockets as futures, and one connection loop per protocol between a socket, a protocol engine
//! and a [`Service`].
//!
//! Everything here takes the [`Shard`](shards::Shard) it runs on; nothing is ambient, nothing needs `Send`. It knows
//! neither routes nor handlers.

#![forbid(unsafe_code)]

pub mod client;
mod clients;
mod conn;
mod deadline;

mod error;
mod exchange;
mod files;
pub mod limits;
pub mod quic;
#[cfg(feature = "quinn")]
pub mod quinn;
mod server;
mod spread;
mod standing;
mod stats;
mod tcp;
pub mod tls;
mod transport;
mod udp;
pub mod upstream;

/// WebSocket: what an upgraded connection speaks.
pub mod ws {
    pub use crate::conn::ws::{
        Accepted, Agreed, Close, CloseCode, Closed, Compression, Config, Error, Limits, Message, Receiver, Refusal,
        Sender, Text, Upgrade, WebSocket, serve,
    };
}

pub use client::Client;
pub use conn::Config;
pub use deadline::DeadlineField;
pub use error::{Error, Fault, Result};
pub use exchange::{
    Body, BodyError, BodyStream, Content, Head, HeadSpares, Headers, Incoming, Joined, Made, Peer, Piece, Reply,
    Request, Response, Service, Trailers, Tunnel, Upgraded,
};
pub use server::{QuicServer, Server, serve};
pub use spread::Spread;
pub use stats::NetStats;
pub use tcp::{Listener, Receiving, Sending, TcpStream};
pub use transport::Transport;
pub use upstream::Upstream;
