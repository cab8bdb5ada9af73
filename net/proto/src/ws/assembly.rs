//! Whole messages, for who wants no pieces.
//!
//! The one idea: a message that came in one piece is handed on where it lies; only one in several is gathered. What that
//! may take is bounded by the engine's `message_bytes_max`, and by a bound of its own.

use super::limits::ASSEMBLY_BYTES_KEPT;
use super::{Error, Kind, Piece};

/// Puts the pieces of a connection's messages together.
///
/// ```
/// use shardwise_proto::ws::{Assembly, Contexts, Engine, Event, Limits, Message, Role};
///
/// let (mut contexts, limits) = (Contexts::new(), Limits::default());
/// let (mut client, mut assembly) = (Engine::new(Role::Client, None), Assembly::new(1024));
/// let mut input = *b"\x01\x03Hel\x80\x02lo";
/// let (mut at, mut said) = (0, Vec::new());
/// loop {
///     let step = client.receive(&mut input[at..], &mut contexts, &limits).unwrap();
///     match step.event {
///         Event::NeedMore => break,
///         Event::Data(piece) => {
///             let bytes = client.bytes(&piece, &input[at..]);
///             if let Some(message) = assembly.push(&piece, bytes).unwrap() {
///                 said.push(message.text().unwrap().to_owned());
///             }
///         }
///         _ => {}
///     }
///     at += step.consumed;
/// }
/// assert_eq!(said, ["Hello"]);
/// ```
#[derive(Debug)]
pub struct Assembly {
    held: Vec<u8>,
    bytes_max: usize,
    /// Whether the message at hand was too long: what is left of it is not one.
    is_refused: bool,
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its payload.
    pub bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The text, if it is one. Asks each time whether it is UTF-8, which the engine has done; that costs little and
    /// needs no trust.
    pub fn text(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Text => std::str::from_utf8(self.bytes).ok(),
            Kind::Binary => None,
        }
    }
}

impl Assembly {
    /// For messages of so many bytes.
    pub fn new(bytes_max: usize) -> Assembly {
        Assembly { held: Vec::new(), bytes_max, is_refused: false }
    }

    /// Adds a piece, and gives the message that is complete with it. If that has more bytes than it may, it is forgotten;
    /// the peer is told with [`Engine::close`](super::Engine::close).
    pub fn push<'a>(&'a mut self, piece: &Piece, bytes: &'a [u8]) -> Result<Option<Message<'a>>, Error> {
        if piece.is_first {
            self.release();
            self.is_refused = false;
        }
        if self.is_refused || self.held.len() + bytes.len() > self.bytes_max {
            self.held = Vec::new();
            self.is_refused = true;
            return Err(Error::MessageTooLong);
        }
        if piece.is_first && piece.is_final {
            return Ok(Some(Message { kind: piece.kind, bytes }));
        }
        self.held.extend_from_slice(bytes);
        Ok(piece.is_final.then(|| Message { kind: piece.kind, bytes: &self.held }))
    }

    /// Gives back what the last message took, once nobody looks at it any more. To be called when a connection gets idle;
    /// the next message does it too.
    pub fn release(&mut self) {
        self.held.clear();
        self.held.shrink_to(ASSEMBLY_BYTES_KEPT);
    }
}
