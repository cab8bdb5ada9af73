//! What a peer did wrong, and the code it is told (RFC 9114 section 8.1, RFC 9204 section 6).

use std::fmt;

/// An error code, as QUIC carries it: for a stream, or for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal, $text:literal;)+) => {
        impl Code {
            $($(#[doc = $doc])* pub const $name: Code = Code($value);)+
        }

        const NAMES: &[(Code, &str)] = &[$((Code::$name, $text)),+];
    };
}

codes! {
    /// A datagram cannot be parsed, or is for what can have none (RFC 9297 section 5.2).
    DATAGRAM_ERROR = 0x33, "H3_DATAGRAM_ERROR";
    /// All is well.
    NO_ERROR = 0x100, "H3_NO_ERROR";
    /// The protocol was broken in a way that has no code of its own.
    GENERAL_PROTOCOL_ERROR = 0x101, "H3_GENERAL_PROTOCOL_ERROR";
    /// Something went wrong here.
    INTERNAL_ERROR = 0x102, "H3_INTERNAL_ERROR";
    /// A stream of a kind that is not taken.
    STREAM_CREATION_ERROR = 0x103, "H3_STREAM_CREATION_ERROR";
    /// A stream without which there is no connection has ended.
    CLOSED_CRITICAL_STREAM = 0x104, "H3_CLOSED_CRITICAL_STREAM";
    /// A frame that may not stand where it does.
    FRAME_UNEXPECTED = 0x105, "H3_FRAME_UNEXPECTED";
    /// A frame whose payload is not what its length says.
    FRAME_ERROR = 0x106, "H3_FRAME_ERROR";
    /// The peer makes too much work of too little.
    EXCESSIVE_LOAD = 0x107, "H3_EXCESSIVE_LOAD";
    /// A number that cannot be one of a stream or of a push.
    ID_ERROR = 0x108, "H3_ID_ERROR";
    /// A setting that cannot be.
    SETTINGS_ERROR = 0x109, "H3_SETTINGS_ERROR";
    /// Settings do not come first.
    MISSING_SETTINGS = 0x10a, "H3_MISSING_SETTINGS";
    /// The stream was not looked at: its request may be sent again.
    REQUEST_REJECTED = 0x10b, "H3_REQUEST_REJECTED";
    /// Nobody wants it any more.
    REQUEST_CANCELLED = 0x10c, "H3_REQUEST_CANCELLED";
    /// The stream has ended before its request was whole.
    REQUEST_INCOMPLETE = 0x10d, "H3_REQUEST_INCOMPLETE";
    /// A message is malformed.
    MESSAGE_ERROR = 0x10e, "H3_MESSAGE_ERROR";
    /// The connection of a `CONNECT` has failed.
    CONNECT_ERROR = 0x10f, "H3_CONNECT_ERROR";
    /// Another version of HTTP is wanted.
    VERSION_FALLBACK = 0x110, "H3_VERSION_FALLBACK";
    /// A field section cannot be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x200, "QPACK_DECOMPRESSION_FAILED";
    /// The encoder stream cannot be followed.
    QPACK_ENCODER_STREAM_ERROR = 0x201, "QPACK_ENCODER_STREAM_ERROR";
    /// The decoder stream cannot be followed.
    QPACK_DECODER_STREAM_ERROR = 0x202, "QPACK_DECODER_STREAM_ERROR";
}

/// An error of the whole connection: it is closed with the code and the text, and nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the peer is told.
    pub code: Code,
    /// What it did, in words: for our log, and the reason that it is given.
    pub what: &'static str,
}

impl Error {
    pub(super) const fn new(code: Code, what: &'static str) -> Error {
        Error { code, what }
    }

    pub(super) const fn frame(what: &'static str) -> Error {
        Error { code: Code::FRAME_ERROR, what }
    }

    pub(super) const fn unexpected(what: &'static str) -> Error {
        Error { code: Code::FRAME_UNEXPECTED, what }
    }

    pub(super) const fn creation(what: &'static str) -> Error {
        Error { code: Code::STREAM_CREATION_ERROR, what }
    }

    pub(super) const fn critical(what: &'static str) -> Error {
        Error { code: Code::CLOSED_CRITICAL_STREAM, what }
    }

    pub(super) const fn id(what: &'static str) -> Error {
        Error { code: Code::ID_ERROR, what }
    }

    pub(super) const fn settings(what: &'static str) -> Error {
        Error { code: Code::SETTINGS_ERROR, what }
    }

    pub(super) const fn load(what: &'static str) -> Error {
        Error { code: Code::EXCESSIVE_LOAD, what }
    }
}

impl From<crate::qpack::Error> for Error {
    fn from(error: crate::qpack::Error) -> Error {
        Error { code: Code(error.code()), what: error.what() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.code)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(code, _)| code == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}
