//! HTTP/2 in cleartext, by prior knowledge: an app on a simulated machine, asked by a client made of our own engine.

mod attacks;
mod client;
mod exchanges;
mod leaving;
mod mixed;
#[path = "../streams/mod.rs"]
mod streams;
mod tunnels;

use streams::{app, pattern};
