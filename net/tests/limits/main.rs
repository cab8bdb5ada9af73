//! What a server does about clients that are slow, many, or behind a proxy, on a simulated machine: each limit ends what it is
//! to end, is counted, and leaves others alone; then a thousand hostile clients at once, and a pool that runs low.
//!
//! Time is virtual, so limits of minutes are tested as they are. At the end of each run the server is drained and must have
//! nothing left.

mod counts;
mod crowd;
mod kit;
mod proxy;
mod rates;
mod shedding;
