//! HTTP/1.1 and 1.0 (RFC 9110, RFC 9112): the engine of one connection, for either end.
//!
//! The one idea: an engine reads *one message at a time* and refuses what could be read in two ways. Received bytes
//! stay the caller's: heads are indexed where they lie, bodies are ranges. After an error nothing is parsed again.
//!
//! - [`Server`] reads requests and writes responses; [`Client`] writes requests and reads responses.
//! - [`Limits`] bound what a peer can make us hold; [`Error`] is what it did wrong and what it is told.
//!
//! The socket, time-outs and the bytes not yet consumed are the caller's. What an engine has not consumed must be
//! shown to it again, with more bytes after it.

mod again;
mod body;
mod client;
mod encode;
mod error;
pub(crate) mod framing;
mod limits;
mod lines;
pub(crate) mod server;
mod target;

pub use again::{Again, Heads};
pub use client::Client;
pub use encode::{Frame, Standing};
pub use error::Error;
pub use limits::{FRAME_BYTES_MAX, Limits};
pub use server::Server;

use std::ops::Range;

/// What one look at the input gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of the input are done with. The rest must be shown again.
    pub consumed: usize,
    /// What was found. Its ranges point into the input.
    pub event: Event,
}

/// What an engine finds in its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be said until more bytes arrive, or until the response to the last request is finished.
    NeedMore,
    /// A message's head is complete and in the table; its block is `input[..consumed]`.
    Head(Head),
    /// A piece of its body, never empty.
    Data(Range<usize>),
    /// The message has ended. Its trailer fields are in the table, indexing `input[trailers]`. Comes once for every
    /// response, and for every request that has a body: most requests are over with their head, and nobody should have
    /// to ask again.
    End {
        /// The block of the trailer section; empty if there is none.
        trailers: Range<usize>,
    },
    /// The connection's first bytes are the HTTP/2 preface (RFC 9113 section 3.4). Nothing was consumed: they belong
    /// to an HTTP/2 engine. Who has none answers [`Error::VersionNotSupported`].
    Http2Preface,
    /// The connection has switched protocols: all input from here is the new protocol's.
    Tunnel,
    /// No more messages are read from this connection; the input was dropped.
    Closed,
}

/// What a connection needs to know of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the body ends.
    pub body: Body,
    /// Whether the peer wishes the connection to stay open after this exchange.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Of a request: whether it asks to switch protocols. Of a response: whether it has switched.
    pub upgrade: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none, or it is empty.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection closes. Only a response's.
    UntilClose,
}

/// Whether one of these values of `TE` says that trailer fields are taken (RFC 9110 section 10.1.4).
fn takes_trailers<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> bool {
    values.any(|value| crate::scan::list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")))
}

#[cfg(test)]
mod tests;
