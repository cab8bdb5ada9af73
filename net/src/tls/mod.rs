//! TLS: what a connection speaks below its protocol, what a server proves itself by, and how that changes while it serves.
//!
//! A [`Tls`] is a declaration. Opened on every shard, it becomes [`Credentials`]: one shard reads the files and checks them,
//! all get the bytes, and each makes a configuration of its own of them, so that hand-shakes on different shards share no
//! counter. Hand-shakes are `rustls`'s, and records are too under TLS 1.2; chance and time come from
//! the shard.
//!
//! A connection that is secured goes through a channel (`channel.rs`), which is a session (`session.rs`) over a stream.

mod certificates;
mod channel;
mod config;
mod credentials;
mod development;
mod early;
mod error;
mod failure;
mod handshakes;
mod hello;
mod output;
mod provider;
mod record;
mod roots;
mod secured;
mod session;
mod suites;
#[cfg(test)]
mod testing;
mod tickets;
mod traffic;

pub(crate) use channel::Channel;
pub use config::{Clients, FileOrBytes, Tls};
pub use credentials::{Credentials, reload};
pub use error::SetupError;
pub use failure::{Cause, Failure};
pub(crate) use handshakes::{Configs, Handshakes};
pub use provider::{ShardTime, provider};
pub use roots::{Roots, check};
pub use secured::Secured;
#[cfg(any(test, feature = "fuzz"))]
pub use session::tls_records;
