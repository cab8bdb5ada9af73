//! HTTP/2 (RFC 9113): the engine of one connection, for either end.
//!
//! The one idea: many exchanges, each as in HTTP/1.1, over one stream of frames. Received bytes go in and events come out,
//! one at a time, each for the stream that its [`Key`] names; bodies are ranges of the input, and heads are decoded into an
//! arena of the shard's. What is to be sent is written into the caller's slice: heads when they are known, data as windows and
//! priorities admit ([`Engine::pick`], [`Engine::data`]), and whatever the connection itself has to say
//! ([`Engine::control`]).
//!
//! - [`Engine`] is both ends, told apart by its [`Role`].
//! - [`Limits`] bound what a peer can make us hold or do; [`Error`] is what it did wrong, and [`Code`] what it is told.
//!
//! A stream that was handed out stays, whatever becomes of it, until it is [released](Engine::release): so what counts
//! against [`Limits::streams_max`] is work in hand, and not what a peer may open and reset again.

mod engine;
mod error;
mod frame;
mod limits;
mod receive;
mod send;
mod streams;

use std::ops::Range;

pub use engine::Engine;
pub use error::{Code, Error};
pub use limits::{CONTROL_BYTES_MIN, FRAME_BYTES_MAX, HEAD_BYTES_MAX, Limits};
pub use send::Data;
pub use streams::Key;

pub use crate::message::{Head, Pseudo, Role, Scratch, Standing};

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
    /// Nothing more can be said until more bytes arrive.
    NeedMore,
    /// A message's head is complete: a request of a new stream, or a response, interim ones included. It is in the table,
    /// and its block in the scratch.
    Head {
        /// Whose it is.
        key: Key,
        /// What it says.
        head: Head,
    },
    /// A request of a new stream whose head is larger than we hold, and is lost. 431 is what it is answered.
    HeadTooLarge {
        /// Whose it is.
        key: Key,
    },
    /// A piece of a body, which may be empty if it is the last. It counts against the peer's window until it is
    /// [consumed](Engine::consume).
    Data {
        /// Whose it is.
        key: Key,
        /// Where it is in the input.
        range: Range<usize>,
        /// Whether the message ends with it.
        end: bool,
    },
    /// The message has ended with these fields: they are in the table, and their block in the scratch.
    Trailers {
        /// Whose they are.
        key: Key,
    },
    /// The stream has come to its end before its time, by the peer or by what the peer did. Nothing more is sent on it or
    /// said of it; it is to be released.
    Reset {
        /// Which.
        key: Key,
        /// Why.
        code: Code,
    },
    /// The peer takes no new streams, and has not looked at those above `last`.
    GoAway {
        /// The last that it has looked at, or may look at.
        last: u32,
        /// Why.
        code: Code,
    },
    /// No more is read from this connection; the input was dropped.
    Closed,
}

#[cfg(test)]
mod tests;
