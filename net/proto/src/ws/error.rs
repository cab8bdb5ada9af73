//! What a peer can do wrong, and with which code it is told.
//!
//! The one idea: an error is one byte, as in HTTP/1.1. Its variant says what and where; the close code and the words
//! follow from it here and nowhere else.

use std::fmt;

/// Why a connection is closed (RFC 6455 section 7.4): only such codes as may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All that was wanted is done.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server goes down, or the page was left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// The message is of a kind that is not taken here.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// The payload is not what it claims to be: text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// The message is against a rule that no other code names.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// The message is too long.
    pub const TOO_LONG: CloseCode = CloseCode(1009);
    /// The server did not agree to an extension that the client cannot do without.
    pub const EXTENSION: CloseCode = CloseCode(1010);
    /// The server failed.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server restarts: come back.
    pub const RESTART: CloseCode = CloseCode(1012);
    /// The server has too much to do: come back later.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);

    /// The code, if it may be sent: one that the protocol or IANA's registry names (1000 to 1003 and 1007 to 1014), or one
    /// of libraries and applications (3000 to 4999). Not 1005, 1006 and 1015, which only say that there was none.
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! errors {
    ($($variant:ident, $code:ident, $text:literal, $clause:literal;)+) => {
        /// A fault of the peer. Nothing it sends afterwards is looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Error {
            $(#[doc = concat!($text, " (", $clause, ")")] $variant,)+
        }

        impl Error {
            /// What the peer is told. The engine writes it by itself: [`Engine::transmit`](super::Engine::transmit).
            pub const fn code(self) -> CloseCode {
                match self { $(Error::$variant => CloseCode::$code,)+ }
            }

            /// What was wrong and where, in words.
            pub const fn text(self) -> &'static str {
                match self { $(Error::$variant => $text,)+ }
            }
        }
    };
}

errors! {
    // Frames.
    ReservedBit, PROTOCOL, "a reserved bit is set that no extension gives a meaning", "RFC 6455 section 5.2";
    Opcode, PROTOCOL, "the opcode is reserved", "RFC 6455 section 5.2";
    MaskMissing, PROTOCOL, "a frame of the client is not masked", "RFC 6455 section 5.1";
    MaskForbidden, PROTOCOL, "a frame of the server is masked", "RFC 6455 section 5.1";
    LengthNotMinimal, PROTOCOL, "a length is written longer than it need be", "RFC 6455 section 5.2";
    LengthTopBit, PROTOCOL, "the highest bit of a length is set", "RFC 6455 section 5.2";
    ControlFragmented, PROTOCOL, "a control frame is fragmented", "RFC 6455 section 5.5";
    ControlTooLong, PROTOCOL, "a control frame has more than 125 bytes", "RFC 6455 section 5.5";
    ContinuationUnexpected, PROTOCOL, "a frame continues a message where there is none", "RFC 6455 section 5.4";
    MessageUnfinished, PROTOCOL, "a message begins before the last one has ended", "RFC 6455 section 5.4";
    // Payloads.
    Utf8, INVALID_PAYLOAD, "a text is not UTF-8", "RFC 6455 section 8.1";
    Utf8Incomplete, INVALID_PAYLOAD, "a text ends within a character", "RFC 6455 section 8.1";
    Deflate, INVALID_PAYLOAD, "a compressed message cannot be inflated", "RFC 7692 section 7.2.2";
    CloseLength, PROTOCOL, "a close has one byte, which is half a code", "RFC 6455 section 5.5.1";
    CloseCode, PROTOCOL, "a close has a code that must not be sent", "RFC 6455 section 7.4";
    CloseReason, PROTOCOL, "the reason of a close is not UTF-8", "RFC 6455 section 5.5.1";
    // Bounds.
    FrameTooLong, TOO_LONG, "a frame is too long", "RFC 6455 section 10.4";
    MessageTooLong, TOO_LONG, "a message is too long", "RFC 6455 section 10.4";
    TooManyFragments, POLICY, "a message has too many fragments", "RFC 6455 section 10.4";
    // The peer is gone: there is nobody to be told.
    Incomplete, PROTOCOL, "the connection ended without a close", "RFC 6455 section 7.1.5";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

const _: () = assert!(size_of::<Error>() == 1);

/// Why nothing was written. All but [`Full`](WriteError::Full) are mistakes of ours, not the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteError {
    /// The slice is too small: the same call with a larger one succeeds.
    Full,
    /// A close has been sent: nothing follows it.
    Closed,
    /// A client was given no key for this frame: [`Engine::set_key`](super::Engine::set_key).
    NoKey,
    /// The message at hand is of another kind, or was begun the other way, compressed or not.
    OtherMessage,
    /// There is a message at hand, where one is to be written whole.
    Unfinished,
    /// Compression was not agreed on.
    NotCompressed,
    /// A ping, or a close's reason, has more bytes than a control frame takes.
    ControlTooLong,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Full => "the slice to write to is too small",
            WriteError::Closed => "a close has been sent, and nothing follows it",
            WriteError::NoKey => "a client's frame needs a key",
            WriteError::OtherMessage => "the message at hand is of another kind",
            WriteError::Unfinished => "the message at hand has not ended",
            WriteError::NotCompressed => "compression was not agreed on",
            WriteError::ControlTooLong => "a control frame takes no more than 125 bytes",
        })
    }
}

impl std::error::Error for WriteError {}
