//! Whom to ask, when, and when not.
//!
//! Each module is one state machine that stands alone: outcomes and time go in, decisions come out. There is no clock here, no
//! chance, no task and no socket, so that any of them may be put around any call, behaves the same twice, and is tried over days
//! of simulated traffic in a moment. What ties them to connections is `shardwise-net`'s.

pub mod adaptive;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
mod chance;
pub mod ewma;
pub mod hedge;
pub mod limits;
pub mod outlier;
mod place;
pub mod probe;
pub mod rate;
pub mod retry;
pub mod shares;
pub mod slow_start;
pub mod subset;
#[cfg(test)]
mod testing;
mod window;

pub use place::Place;
