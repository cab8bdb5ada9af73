//! TLS: what a connection speaks below its protocol.

mod channel;
mod failure;
mod handshakes;
mod hello;
mod secured;
mod session;

pub(crate) use channel::Channel;
pub use failure::{Cause, Failure};
pub(crate) use handshakes::{Handshakes, Source};
pub use secured::Secured;
