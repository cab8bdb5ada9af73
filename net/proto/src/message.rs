//! What every HTTP version says of a message that is sent or received: the vocabulary above [`h1`](crate::h1),
//! [`h2`](crate::h2) and [`h3`](crate::h3), none of which knows another.

pub(crate) mod again;
pub(crate) mod authority;
pub(crate) mod head;
pub(crate) mod priority;
pub(crate) mod written;

use std::fmt;

use http::{HeaderName, HeaderValue};

pub use head::{Head, Scratch};
pub use priority::Priority;
pub use written::{Pseudo, Standing};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives requests.
    Server,
    /// Sends them.
    Client,
}

/// What a message to be sent has for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body. (An answer to `HEAD` may still state the length that `GET` would have.)
    None,
    /// So many bytes.
    Known(u64),
    /// As many as come: chunked, or until the connection closes where the peer does not know chunks.
    Unknown,
}

/// Why nothing was written. All but [`Full`](WriteError::Full) are mistakes of ours, not the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteError {
    /// The slice is too small: the same call with a larger one succeeds.
    Full,
    /// No message is to be sent now: none was asked for, or its head (or its end) has been written already.
    NotExpected,
    /// The request target is empty or holds a space, a control character, a `#` or a byte that is not ASCII.
    Target,
    /// The field name is empty or holds something other than token characters.
    FieldName,
    /// The field value holds CR, LF, NUL or another control character.
    FieldValue,
    /// The field may not stand in a trailer section: it says what had to be known before the body.
    TrailerField,
    /// The body is longer than declared, or there must be none.
    BodyTooLong,
    /// The body ended before its declared length. The connection must be closed.
    BodyTooShort,
    /// Switching protocols was not asked for, or the request's body has not been read to its end.
    Upgrade,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Full => "the slice to write to is too small",
            WriteError::NotExpected => "no message is to be written now",
            WriteError::Target => "the request target holds a character that must be percent-encoded",
            WriteError::FieldName => "a field name is not a token",
            WriteError::FieldValue => "a field value holds a control character",
            WriteError::TrailerField => "a trailer field says what had to be known before the body",
            WriteError::BodyTooLong => "the body is longer than declared",
            WriteError::BodyTooShort => "the body is shorter than declared",
            WriteError::Upgrade => "the request did not ask to switch protocols, or its body has not ended",
        })
    }
}

impl std::error::Error for WriteError {}

/// A header field to be written.
pub trait Field {
    /// Whether name and value are known to be free of what must not stand in them, so that nobody need look.
    const IS_CHECKED: bool;

    /// The name.
    fn name(&self) -> &[u8];

    /// The value.
    fn value(&self) -> &[u8];
}

/// From anywhere: looked at before it is written.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Field for (N, V) {
    const IS_CHECKED: bool = false;

    #[inline(always)]
    fn name(&self) -> &[u8] {
        self.0.as_ref()
    }

    #[inline(always)]
    fn value(&self) -> &[u8] {
        self.1.as_ref()
    }
}

/// A field whose types have checked it when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a>(pub &'a HeaderName, pub &'a HeaderValue);

impl Field for Checked<'_> {
    const IS_CHECKED: bool = true;

    #[inline(always)]
    fn name(&self) -> &[u8] {
        self.0.as_str().as_bytes()
    }

    #[inline(always)]
    fn value(&self) -> &[u8] {
        self.1.as_bytes()
    }
}

/// A `Content-Length`: `1*DIGIT` that fits 64 bits.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    let number = value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !value.is_empty())
}
