//! Upstreams on simulated machines: servers that crash, hang, slow down, answer errors and come back, and callers on many shards.

mod afternoon;
mod calls;
mod finding;
mod health;
mod kit;
mod shards;
