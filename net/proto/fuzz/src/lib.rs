//! What is asked of the engines of HTTP/1.1, HTTP/2, HTTP/3 and WebSocket, and of what comes before them, for any input: no panic, one verdict
//! whatever the cuts, and agreement with peers that others wrote.
//!
//! The one idea: a target is a plain function of bytes that panics when something is wrong. `cargo test` here replays what
//! is committed and some thousand mutations of it on the stable toolchain; `cargo fuzz run NAME` explores further.
//!
//! - [`h1_server`], [`h1_client`]: the engines by themselves, however their input was cut.
//! - [`h1_chunked`]: the chunked coding, beside a decoder that reads the whole of it at once.
//! - [`h1_head_vs_httparse`], [`h1_server_vs_hyper`]: heads and whole connections, beside independent peers. Each
//!   disagreement that we understand stands in a list with its clause; any other is a finding.
//! - [`h2_server`], [`h2_client`]: the engine of HTTP/2, however its input was cut; [`h2_frames`]: a peer that sends what
//!   mostly may be sent, and an owner that takes its time. Beside all of them a witness reads what the engine says.
//! - [`h2_server_vs_h2`], [`h2_client_vs_h2`]: conversations in order with the crate `h2` at the other end, each as the input
//!   says: requests, bodies, trailers, resets, settings, windows, pings. What one has sent the other has received.
//!   [`h2_bytes_vs_h2`]: what a client sends, mutated, before both servers.
//! - [`h3_server`], [`h3_client`], [`h3_frames`]: the same of HTTP/3, on streams that come in any order.
//! - [`hpack_decoder`], [`hpack_round_trip`]: field compression, beside a decoder written as the RFC is.
//! - [`qpack_decoder`], [`qpack_encoder`], [`qpack_round_trip`]: that of HTTP/3, either end beside one that does as the RFC
//!   says, and both with their streams in any order.
//! - [`ws`]: WebSocket's engine in both roles, with and without compression, however its input was cut.
//! - [`dns`]: answers of name servers, whole, cut and spoilt, beside what holds of any.
//! - [`proxy`]: the header that a proxy sends first, beside a writer of such headers.
//! - [`capsule`]: capsules, however they are cut, beside a reader that has all of them at once.

mod capsule;
mod chunked;
mod client;
mod cut;
mod dns;
mod h2;
mod h3;
mod heads;
mod hpack;
mod peer;
mod proxy;
mod qpack;
mod replay;
mod script;
pub mod seeds;
mod server;
mod ws;

// The conformance tables have one copy, with the tests of the showcase; their bytes are where exploring starts.
#[path = "../../../../examples/tests/conformance/accepted.rs"]
mod accepted;
#[path = "../../../../examples/tests/conformance/probe.rs"]
#[allow(dead_code, reason = "only the bytes are used here")]
mod probe;
#[path = "../../../../examples/tests/conformance/refused.rs"]
mod refused;
#[path = "../../../../framework/tests/wire/mod.rs"]
mod wire;

pub use capsule::capsule;
pub use chunked::h1_chunked;
pub use client::h1_client;
pub use dns::dns;
pub use h2::{h2_bytes_vs_h2, h2_client, h2_client_vs_h2, h2_frames, h2_server, h2_server_vs_h2};
pub use h3::{h3_client, h3_frames, h3_server};
pub use heads::h1_head_vs_httparse;
pub use hpack::{hpack_decoder, hpack_round_trip};
pub use peer::h1_server_vs_hyper;
pub use proxy::proxy;
pub use qpack::{qpack_decoder, qpack_encoder, qpack_round_trip};
pub use replay::replay;
pub use server::h1_server;
pub use ws::ws;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 23] = [
    ("h1_server", h1_server),
    ("h1_client", h1_client),
    ("h1_chunked", h1_chunked),
    ("h1_head_vs_httparse", h1_head_vs_httparse),
    ("h1_server_vs_hyper", h1_server_vs_hyper),
    ("h2_server", h2_server),
    ("h2_client", h2_client),
    ("h2_frames", h2_frames),
    ("h2_server_vs_h2", h2_server_vs_h2),
    ("h2_client_vs_h2", h2_client_vs_h2),
    ("h2_bytes_vs_h2", h2_bytes_vs_h2),
    ("h3_server", h3_server),
    ("h3_client", h3_client),
    ("h3_frames", h3_frames),
    ("hpack_decoder", hpack_decoder),
    ("hpack_round_trip", hpack_round_trip),
    ("qpack_decoder", qpack_decoder),
    ("qpack_encoder", qpack_encoder),
    ("qpack_round_trip", qpack_round_trip),
    ("ws", ws),
    ("dns", dns),
    ("proxy", proxy),
    ("capsule", capsule),
];

#[cfg(test)]
mod tests;
