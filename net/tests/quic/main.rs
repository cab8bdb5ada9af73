//! QUIC: connections between two simulated machines on networks that lose, double, delay and spoil what goes over them; over
//! real sockets; and with an implementation of others.

mod endings;
mod exchanges;
mod kit;
mod others;
mod paths;
mod ports;
mod real;
mod sessions;
