//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): the engine of one connection, for either end.
//!
//! The one idea: a message is reported as it comes, in pieces that lie where they were received, and never gathered unless
//! somebody asks. What the protocol wants answered, the engine has ready to be written: the pong, the close.
//!
//! - [`Upgrade`] judges the request that opens a connection and says how it is answered; [`Opening`] makes one, and judges
//!   the answer.
//! - [`Engine`] reads and writes frames, as server or client; [`Assembly`] puts pieces together, for who wants messages.
//! - [`Contexts`] are what compresses and inflates: a shard's, since a connection without a message needs none.
//! - [`Limits`] bound what a peer can make us hold and do; [`Error`] is what it did wrong and what it is told.
//!
//! The socket, time-outs and keys for masking are the caller's.

mod assembly;
mod deflate;
mod engine;
mod error;
mod extension;
mod frame;
mod handshake;
mod limits;
mod mask;
mod send;
mod utf8;

pub use assembly::{Assembly, Message};
pub use deflate::Contexts;
pub use engine::Engine;
pub use error::{CloseCode, Error, WriteError};
pub use extension::{Agreed, Compression, Terms};
pub use handshake::{ACCEPT_BYTES, Accepted, Opening, Refusal, Unacceptable, Upgrade, accept, key};
pub use limits::{
    COMPRESSED_FRAME_BYTES_MIN, CONTROL_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, HEAD_BYTES_MAX, Limits, REASON_BYTES_MAX,
};
pub use mask::Mask;

use std::ops::Range;

/// Which end of a connection an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads masked frames.
    Server,
    /// Writes them.
    Client,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8: whoever receives it may rely on that.
    Text,
    /// Any bytes.
    Binary,
}

/// What one look at the input gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of the input are done with. The rest must be shown again.
    pub consumed: usize,
    /// What was found.
    pub event: Event,
}

/// What an engine finds in its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be said until more bytes arrive.
    NeedMore,
    /// A piece of a message.
    Data(Piece),
    /// A ping, whose payload is [`Engine::control`]. The answer is ready.
    Ping,
    /// A pong, whose payload is the same.
    Pong,
    /// The peer closes, and says why; or does not. The answer is ready, and more may be written before it. The rest of the
    /// input is dropped. [`Engine::reason`] has the words.
    Close(Option<CloseCode>),
    /// Nothing more is read from this connection; the input was dropped.
    Closed,
}

/// A piece of a message, as it came. Empty only if it is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What the message is. A text is UTF-8 as a whole: a piece may end within a character.
    pub kind: Kind,
    /// Where the piece is: see [`Engine::bytes`].
    pub range: Range<usize>,
    /// Whether that is a place in the engine and not in the input.
    pub is_inflated: bool,
    /// Whether the message begins with it.
    pub is_first: bool,
    /// Whether the message ends with it.
    pub is_final: bool,
}

/// A frame whose head was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// So many bytes were written to the slice; they go before the payload.
    pub head: usize,
    /// What the payload must be masked with: a client's.
    pub mask: Option<Mask>,
}

/// What was done of a message that is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// So many bytes of it are done with.
    pub taken: usize,
    /// So many were written: a frame, or nothing.
    pub written: usize,
    /// Whether the message has ended.
    pub is_end: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing in particular: it is open.
    Nothing,
    /// To be asked for what it has to write.
    Transmit,
    /// For the peer's close, since ours was sent: for some seconds. What else comes is still reported.
    Close,
    /// For the server to end the connection below, since both closes are sent: for some seconds. Only a client.
    End,
    /// For nothing: the connection below is to be ended. When the peer may still be sending, after what it sent has been
    /// read for a while, since what is unread would cost it our close.
    HangUp,
}

#[cfg(test)]
mod tests;
