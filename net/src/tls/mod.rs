//! TLS: what a server proves itself by, how that changes while it serves, and how it is said.
//!
//! A [`Tls`] is a declaration. Opened on every shard, it becomes [`Credentials`]: one shard reads the files and checks them,
//! all get the bytes, and each makes a configuration of its own of them, so that hand-shakes on different shards share no
//! counter. TLS itself is `rustls`; chance and time come from the shard.

mod certificates;
mod config;
mod credentials;
mod development;
mod early;
mod error;
mod files;
mod provider;
#[allow(dead_code, reason = "connections do not go through it yet")]
mod session;
#[cfg(test)]
mod testing;
mod tickets;

pub use config::{Clients, FileOrBytes, Tls};
pub use credentials::{Credentials, reload};
pub use error::SetupError;
pub use provider::{ShardTime, provider};
