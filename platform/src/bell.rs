//! The bell: by what a reactor calls whoever waits in its place.
//!
//! A shard that has its thread to itself waits in the reactor. One that is a guest on somebody else's thread cannot: the host
//! waits for many things, of which the shard is one. The bell is what the host waits for, and it is all that anyone above
//! this package sees of a descriptor: it can be waited for, and nothing else is done with it.

use crate::os::Descriptor;

/// What is readable when a reactor has something to do. See [`Reactor::bell`](crate::Reactor::bell).
///
/// On systems of the Unix family it is an `AsFd`, which every event loop can wait for.
#[derive(Debug)]
pub struct Bell(pub(crate) Descriptor);
