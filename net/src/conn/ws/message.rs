//! [`Message`]: what goes over a WebSocket, whole; its bytes may be kept, cloned and sent to other shards.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use platform::Buf;
use proto::ws::Kind;

/// A message.
///
/// ```
/// use shardwise_net::ws::Message;
///
/// assert_eq!(Message::from("hello").as_text(), Some("hello"));
/// assert_eq!(Message::from(vec![1, 2, 3]).as_bytes(), [1, 2, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(Text),
    /// Any bytes.
    Binary(Bytes),
}

/// Bytes that are UTF-8. Reading it as a string asks that once more, which costs little and needs no trust.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Message {
    /// What came, of which the engine has checked that a text is one.
    pub(super) fn new(kind: Kind, bytes: Bytes) -> Self {
        match kind {
            Kind::Text => Message::Text(Text(bytes)),
            Kind::Binary => Message::Binary(bytes),
        }
    }

    pub(super) fn into_parts(self) -> (Kind, Bytes) {
        match self {
            Message::Text(Text(bytes)) => (Kind::Text, bytes),
            Message::Binary(bytes) => (Kind::Binary, bytes),
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(Text(bytes)) | Message::Binary(bytes) => bytes,
        }
    }
}

impl Text {
    /// The text, as a string.
    pub fn as_str(&self) -> &str {
        // Whoever made it has checked.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<Bytes> for Text {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Text(bytes))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(text.into())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Text(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Message::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::Text(text.into())
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Message::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Message::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Message::Binary(bytes.into())
    }
}

impl From<Text> for Buf {
    fn from(text: Text) -> Self {
        Buf::from(text.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
