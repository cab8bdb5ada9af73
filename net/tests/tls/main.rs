//! A server that speaks TLS, and clients of rustls's own: on a simulated machine under many seeds, where at the end nothing is
//! left behind; and over real sockets.

mod asking;
#[path = "../beside/mod.rs"]
mod beside;
mod endings;
mod exchanges;
mod kit;
mod real;
