//! What a peer did wrong, and the code it is told (RFC 9113 section 7).

use std::fmt;

/// An error code, as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    /// All is well: a graceful end.
    pub const NO_ERROR: Code = Code(0x0);
    /// The protocol was broken in a way that has no code of its own.
    pub const PROTOCOL_ERROR: Code = Code(0x1);
    /// Something went wrong here.
    pub const INTERNAL_ERROR: Code = Code(0x2);
    /// More was sent than was granted, or more was granted than can be.
    pub const FLOW_CONTROL_ERROR: Code = Code(0x3);
    /// The settings were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Code = Code(0x4);
    /// A frame for a stream that has ended.
    pub const STREAM_CLOSED: Code = Code(0x5);
    /// A frame is too long or too short.
    pub const FRAME_SIZE_ERROR: Code = Code(0x6);
    /// The stream was not looked at: its request may be sent again.
    pub const REFUSED_STREAM: Code = Code(0x7);
    /// Nobody wants it any more.
    pub const CANCEL: Code = Code(0x8);
    /// A field block cannot be decoded.
    pub const COMPRESSION_ERROR: Code = Code(0x9);
    /// The connection of a `CONNECT` was reset.
    pub const CONNECT_ERROR: Code = Code(0xa);
    /// The peer makes too much work of too little.
    pub const ENHANCE_YOUR_CALM: Code = Code(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Code = Code(0xc);
    /// HTTP/1.1 is wanted.
    pub const HTTP_1_1_REQUIRED: Code = Code(0xd);
}

/// An error of the whole connection: the peer is sent a GOAWAY with the code and the text, and nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the peer is told.
    pub code: Code,
    /// What it did, in words: for our log, and its debug data.
    pub what: &'static str,
}

impl Error {
    pub(super) const fn protocol(what: &'static str) -> Error {
        Error { code: Code::PROTOCOL_ERROR, what }
    }

    pub(super) const fn size(what: &'static str) -> Error {
        Error { code: Code::FRAME_SIZE_ERROR, what }
    }

    pub(super) const fn flow(what: &'static str) -> Error {
        Error { code: Code::FLOW_CONTROL_ERROR, what }
    }

    pub(super) const fn closed(what: &'static str) -> Error {
        Error { code: Code::STREAM_CLOSED, what }
    }

    pub(super) const fn calm(what: &'static str) -> Error {
        Error { code: Code::ENHANCE_YOUR_CALM, what }
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
        let names = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match names.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}
