//! Which version of HTTP the client speaks, and HTTP/3 in all: against servers of ours and such as are made of frames, on a
//! simulated machine under many seeds, after which nothing is left behind; and against a server of others.

mod alternatives;
mod answers;
mod by_head;
mod chosen;
#[path = "../every/mod.rs"]
mod every;
mod fallback;
mod hostile;
mod kit;
mod others;
