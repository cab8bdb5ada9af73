//! HTTP/3 (RFC 9114): the engine of one connection, for either end.
//!
//! The one idea: HTTP/2's exchanges, each on a stream of QUIC's of its own. What has come on a stream goes in, in order and
//! cut anywhere, and events come out, one at a time; all of it is consumed, so that whoever has the streams keeps nothing of
//! them. What is to be sent is written into the caller's slice. Flow control, and whose turn it is to send, are QUIC's;
//! the engine knows streams by their numbers and nothing else of it.
//!
//! - [`Engine`] is both ends, told apart by its [`Role`]. It receives what comes on any of the peer's streams
//!   ([`Engine::receive`]), is told when the peer gives one up ([`Engine::peer_reset`], [`Engine::peer_stopped`]), and has
//!   three streams of its own on which it [says](Engine::say) things: [`Own`].
//! - [`Limits`] bound what a peer can make us hold or do; [`Error`] is what it did wrong, and [`Code`] what it is told.
//!
//! What is held costs little: a stream's state is less than a hundred bytes, data and field sections that come whole are
//! looked at where they are, and only a section that was cut or waits for the table of fields (RFC 9204 section 2.1.2) is
//! copied, within [`Limits::held_bytes_max`] for the whole connection.
//!
//! A stream that was handed out stays, whatever becomes of it, until it is [released](Engine::release): so what counts
//! against [`Limits::streams_max`] is work in hand, and not what a peer may open and reset again.
//!
//! What the owner of the streams does, in short:
//!
//! - Each stream that the peer opens is shown at once, empty if nothing has come: then it counts, and a graceful end waits
//!   for it. It is shown what comes until it is released or [refused](Event::Refused), and then nothing more.
//! - After [`Event::Blocked`] the rest of that stream stays where it is until [`Engine::unblocked`] names it.
//! - Each [`Own`] stream is opened when there is [something to say](Engine::has_to_say) on it. What is said on
//!   [`Own::Encoder`] should leave before what was written of messages, so that nobody waits for it.
//! - When [`Engine::can_send`] has become false after a head, data or trailers were written, the stream is finished.
//! - After an error the connection is closed with its code. [`Engine::failure`] has it, too.
//!
//! ```
//! use http::{Method, StatusCode};
//! use shardwise_proto::h3::{Engine, Event, Limits, Pseudo, Role, Scratch, Standing};
//! use shardwise_proto::head::HeadTable;
//! use shardwise_proto::message::BodyLength;
//! use std::time::Duration;
//!
//! let (limits, now, mut out) = (Limits::default(), Duration::ZERO, [0; 1024]);
//! let (mut scratch, mut table) = (Scratch::new(limits.head_bytes_max), HeadTable::new());
//! let (mut client, mut server) = (Engine::new(Role::Client, &limits), Engine::new(Role::Server, &limits));
//!
//! // Stream 0 is the first that QUIC opens for a client.
//! let hello = Pseudo { method: &Method::GET, is_secure: true, authority: b"localhost", path: b"/hello", protocol: None };
//! let (_, count) = client.request(0, hello, [("x-from", "ada")], BodyLength::None, &limits, &mut out).unwrap();
//!
//! let step = server.receive(0, &out[..count], true, &mut scratch, &mut table, now, &limits).unwrap();
//! let Event::Head { key, head } = step.event else { panic!("a request") };
//! assert!(head.end);
//! assert_eq!(table.path(scratch.block()), b"/hello");
//!
//! let fields = [("content-type", "text/plain")];
//! let (body, standing, mut section) = (BodyLength::Known(2), Standing::default(), Vec::new());
//! let mut count = server.respond(key, StatusCode::OK, fields, standing, body, &mut section, &mut out).unwrap();
//! count += server.data(key, 2, true, &mut out[count..]).unwrap();
//! // The body follows, and then the stream is finished.
//! assert!(!server.can_send(key));
//! assert_eq!(server.release(key).reset, None);
//! ```

mod control;
mod engine;
mod error;
mod frame;
mod limits;
mod receive;
mod send;
mod streams;

use std::ops::Range;

pub use engine::{Engine, Rest};
pub use error::{Code, Error};
pub(crate) use frame::{NUMBER_MAX, number, number_bytes, put_number};
pub use limits::{CONTROL_BYTES_MIN, HEAD_BYTES_MAX, Limits};
pub use streams::Key;

pub use crate::message::{Head, Priority, Pseudo, Role, Scratch, Standing};

/// What one look at the input gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of the input are done with. With an event other than [`Event::NeedMore`] the rest is to be shown again;
    /// with that there is none.
    pub consumed: usize,
    /// What was found. Its ranges point into the input.
    pub event: Event,
}

/// What an engine finds in its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be said until more comes on this stream. All of the input was consumed.
    NeedMore,
    /// A message's head is complete: a request of a new stream, or a response, interim ones included. It is in the table,
    /// and its block in the scratch.
    Head {
        /// Whose it is.
        key: Key,
        /// What it says.
        head: Head,
    },
    /// A request of a new stream whose head is larger than we hold, and is lost, and what follows it is read over. 431 is what
    /// it is answered.
    HeadTooLarge {
        /// Whose it is.
        key: Key,
    },
    /// A piece of a body.
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
    /// The message has ended without more.
    Ended {
        /// Whose.
        key: Key,
    },
    /// What comes next on the stream waits for the table of fields. The rest is to be shown when the stream is
    /// [unblocked](Engine::unblocked), even if there is none.
    Blocked {
        /// The stream's number: it may not have been handed out.
        id: u64,
    },
    /// A stream has come to its end before its time, by the peer or by what the peer did. Nothing more is sent on it or
    /// said of it: both its directions are to be ended with the code, as far as they have not ended, and it is to be
    /// released.
    Reset {
        /// Which.
        key: Key,
        /// Why.
        code: Code,
    },
    /// A stream that is not handed out, or of a type that is not known. All of it is to be ended with the code: it is not
    /// read, and nothing is sent on it.
    Refused {
        /// The stream's number.
        id: u64,
        /// Why.
        code: Code,
    },
    /// The client has changed the [priority](Engine::priority) of an answer.
    Priority {
        /// Whose.
        key: Key,
    },
    /// The peer takes no new streams. Of a server's: it has not looked at those from this number on, and does not.
    GoAway {
        /// The first that it does not look at.
        from: u64,
    },
    /// No more is read from this connection; the input was dropped.
    Closed,
}

/// The streams that an engine has to itself: one direction each, opened by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Settings, and the end (RFC 9114 section 6.2.1).
    Control,
    /// What the table of fields is told that the peer decodes with (RFC 9204 section 4.2).
    Encoder,
    /// What we tell the peer of the table that we decode with.
    Decoder,
}

#[cfg(test)]
mod tests;
