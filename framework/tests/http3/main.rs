//! HTTP/3 on a simulated machine: an app served by QUIC, asked by a client made of our own engine over our own QUIC, on
//! networks that lose, double, delay and spoil what goes over them. The seed decides every byte; a failure prints it.

mod asking;
mod attacks;
mod client;
mod exchanges;
mod leaving;
mod mixed;
#[path = "../streams/mod.rs"]
mod streams;
mod tunnels;

use streams::{app, pattern};
