//! The opening hand-shake (RFC 6455 section 4, RFC 8441 section 5): both ends judge a head and say what the answer is; an
//! engine of HTTP reads and writes it.
//!
//! The one idea: nothing is decided twice. A request that is judged is answered by [`Upgrade::accept`], which takes what
//! was offered and what is wished and gives the fields of the 101 together with what an [`Engine`](super::Engine) must
//! know of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};

use super::extension::{self, Line};
use super::limits::OFFER_COUNT_MAX;
use super::{Agreed, Compression};
use crate::head::{HeadTable, Known};
use crate::scan::{self, TOKEN};

/// A request to speak WebSocket, which may be granted.
///
/// ```
/// use http::StatusCode;
/// use shardwise_proto::h1::{Limits, Server, Standing};
/// use shardwise_proto::head::HeadTable;
/// use shardwise_proto::ws::Upgrade;
///
/// let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
///     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// let (mut server, mut table) = (Server::new(), HeadTable::new());
/// let step = server.receive(request, &mut table, &Limits::default()).unwrap();
///
/// let upgrade = Upgrade::judge(&table, &request[..step.consumed]).unwrap();
/// let accepted = upgrade.accept(&["superchat", "chat"], None);
/// let mut out = [0; 256];
/// let status = StatusCode::SWITCHING_PROTOCOLS;
/// let count = server.respond_whole(status, accepted.fields(), Standing::default(), b"", &mut out).unwrap();
/// assert_eq!(
///     std::str::from_utf8(&out[..count]).unwrap(),
///     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
///      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
///      Connection: upgrade\r\n\r\n"
/// );
/// assert!(server.is_tunnel());
/// ```
#[derive(Debug)]
pub struct Upgrade<'b> {
    table: &'b HeadTable,
    block: &'b [u8],
    /// Over HTTP/2 there is none: nobody could take such a request for another.
    key: Option<&'b [u8]>,
}

impl<'b> Upgrade<'b> {
    /// Judges a request's head: RFC 6455 section 4.2.1, and over HTTP/2 and HTTP/3 RFC 8441 section 5 (RFC 9220). Whether its
    /// `Origin` is one that may ask is the application's to judge (section 10.2): a browser sends cookies along whoever asks.
    pub fn judge(table: &'b HeadTable, block: &'b [u8]) -> Result<Upgrade<'b>, Refusal> {
        if *table.method() != Method::GET {
            return Err(Refusal::Method);
        }
        let has_key = match table.version() {
            Version::HTTP_11 if !has_option(table, block, Known::Upgrade, b"websocket") => {
                return Err(Refusal::Upgrade);
            }
            Version::HTTP_11 if !has_option(table, block, Known::Connection, b"upgrade") => {
                return Err(Refusal::Connection);
            }
            Version::HTTP_11 => true,
            Version::HTTP_2 | Version::HTTP_3 => match table.protocol(block) {
                Some(protocol) if protocol.eq_ignore_ascii_case(b"websocket") => false,
                _ => return Err(Refusal::Upgrade),
            },
            _ => return Err(Refusal::OldVersion),
        };
        match only(table, block, Known::SecWebSocketVersion) {
            Some(b"13") => {}
            Some(_) => return Err(Refusal::Version),
            None => return Err(Refusal::VersionMissing),
        }
        let key = only(table, block, Known::SecWebSocketKey).filter(|_| has_key);
        let is_key =
            |key: &[u8]| key.len() == KEY_BYTES && BASE64.decode_slice(key, &mut [0; KEY_BYTES]) == Ok(NONCE_BYTES);
        if has_key && !key.is_some_and(is_key) {
            return Err(Refusal::Key);
        }
        let upgrade = Upgrade { table, block, key };
        for (index, name) in upgrade.protocols().enumerate() {
            if index == OFFER_COUNT_MAX
                || !scan::all(TOKEN, name)
                || upgrade.protocols().take(index).any(|it| it == name)
            {
                return Err(Refusal::Protocols);
            }
        }
        let extensions = table.fields().all(block, Known::SecWebSocketExtensions);
        extension::accept(extensions, None).map_err(|_| Refusal::Extensions)?;
        Ok(upgrade)
    }

    /// The subprotocols that the client speaks, those it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        list(self.table, self.block, Known::SecWebSocketProtocol)
    }

    /// What grants the request: with the first of `protocols` that the client speaks, or none; and with compression, if it is
    /// wished and the client offers something that can be had.
    pub fn accept<'p>(&self, protocols: &[&'p str], compression: Option<&Compression>) -> Accepted<'p> {
        let speaks = |protocol: &&&str| self.protocols().any(|name| name == protocol.as_bytes());
        let extensions = self.table.fields().all(self.block, Known::SecWebSocketExtensions);
        let agreed = extension::accept(extensions, compression).ok().flatten();
        Accepted {
            accept: self.key.map(accept),
            protocol: protocols.iter().find(speaks).copied(),
            agreed: agreed.map(|(agreed, _)| agreed),
            extensions: agreed.map(|(_, line)| line),
        }
    }
}

/// The answer to a request that is granted: status 101, over HTTP/2 200, and [`fields`](Self::fields).
#[derive(Debug)]
pub struct Accepted<'p> {
    /// The subprotocol that both will speak.
    pub protocol: Option<&'p str>,
    /// What the engine must know of compression.
    pub agreed: Option<Agreed>,
    accept: Option<[u8; ACCEPT_BYTES]>,
    extensions: Option<Line>,
}

impl Accepted<'_> {
    /// The fields of the answer. `Connection` is written by HTTP's engine.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        let extensions = self.extensions.as_ref().map(Line::as_bytes);
        [
            self.accept.as_ref().map(|_| ("Upgrade", &b"websocket"[..])),
            self.accept.as_ref().map(|accept| ("Sec-WebSocket-Accept", &accept[..])),
            self.protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol.as_bytes())),
            extensions.map(|line| ("Sec-WebSocket-Extensions", line)),
        ]
        .into_iter()
        .flatten()
    }
}

macro_rules! refusals {
    ($($variant:ident, $status:ident, $text:literal;)+) => {
        /// Why a request is not granted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $(#[doc = $text] $variant,)+
        }

        impl Refusal {
            /// The status to answer with.
            pub const fn status(self) -> StatusCode {
                match self { $(Refusal::$variant => StatusCode::$status,)+ }
            }

            /// What was wrong, in words for the peer: the body of the answer.
            pub const fn text(self) -> &'static str {
                match self { $(Refusal::$variant => $text,)+ }
            }
        }
    };
}

refusals! {
    Method, METHOD_NOT_ALLOWED, "a WebSocket is opened with GET";
    OldVersion, BAD_REQUEST, "a WebSocket is opened with HTTP/1.1 or HTTP/2";
    Upgrade, UPGRADE_REQUIRED, "this resource speaks WebSocket, which the request does not ask for";
    Connection, BAD_REQUEST, "Connection does not name upgrade";
    Version, UPGRADE_REQUIRED, "version 13 of WebSocket is spoken here";
    VersionMissing, BAD_REQUEST, "there is not exactly one Sec-WebSocket-Version";
    Key, BAD_REQUEST, "there is not exactly one Sec-WebSocket-Key, of sixteen bytes in base64";
    Protocols, BAD_REQUEST, "Sec-WebSocket-Protocol is not a list of different tokens, or is too long";
    Extensions, BAD_REQUEST, "Sec-WebSocket-Extensions is malformed, or too long";
}

impl Refusal {
    /// The fields that the answer must have: what would have been right.
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Refusal::Method => &[("Allow", "GET")],
            // RFC 6455 section 4.4, and RFC 9110 section 15.5.22.
            Refusal::Upgrade | Refusal::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

/// A client's request, and what its answer must be.
///
/// ```
/// use http::Method;
/// use shardwise_proto::h1::{Client, Limits};
/// use shardwise_proto::message::BodyLength;
/// use shardwise_proto::head::HeadTable;
/// use shardwise_proto::ws::Opening;
///
/// let opening = Opening::new(*b"the sample nonce", &["chat"], None);
/// let (mut client, mut table, mut out) = (Client::new(), HeadTable::new(), [0; 256]);
/// client.request(&Method::GET, b"/chat", b"a", opening.fields(), BodyLength::None, &mut out).unwrap();
/// client.finish(&mut []).unwrap();
///
/// let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// let step = client.receive(response, &mut table, &Limits::default()).unwrap();
/// assert_eq!(opening.judge(&table, &response[..step.consumed]), Ok((Some("chat"), None)));
/// ```
#[derive(Debug)]
pub struct Opening<'p> {
    key: [u8; KEY_BYTES],
    protocols: &'p [&'p str],
    compression: Option<Compression>,
    extensions: Option<Line>,
}

impl<'p> Opening<'p> {
    /// With a nonce that nobody has seen, the subprotocols that are spoken, those liked best first, and what is wished of
    /// compression.
    pub fn new(nonce: [u8; NONCE_BYTES], protocols: &'p [&'p str], compression: Option<Compression>) -> Opening<'p> {
        Opening { key: key(nonce), protocols, compression, extensions: compression.as_ref().map(extension::offer) }
    }

    /// The fields of the request, which is a GET. `Host` and `Connection` are written by HTTP's engine; `Origin` and
    /// cookies are the caller's.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let extensions = self.extensions.as_ref().map(Line::as_bytes);
        let ours = [("Upgrade", &b"websocket"[..]), ("Sec-WebSocket-Version", b"13"), ("Sec-WebSocket-Key", &self.key)];
        // RFC 6455 section 11.3.4: a request may have a field for each.
        let protocols = self.protocols.iter().map(|protocol| ("Sec-WebSocket-Protocol", protocol.as_bytes()));
        ours.into_iter().chain(protocols).chain(extensions.map(|line| ("Sec-WebSocket-Extensions", line)))
    }

    /// Judges a response's head: RFC 6455 section 4.1. Gives the subprotocol and what the engine must know of compression.
    pub fn judge(&self, table: &HeadTable, block: &[u8]) -> Result<(Option<&'p str>, Option<Agreed>), Unacceptable> {
        if table.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unacceptable::Status);
        }
        let upgrade = only(table, block, Known::Upgrade);
        if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
            || !has_option(table, block, Known::Connection, b"upgrade")
        {
            return Err(Unacceptable::Upgrade);
        }
        if only(table, block, Known::SecWebSocketAccept) != Some(&accept(&self.key)) {
            return Err(Unacceptable::Accept);
        }
        let protocol = match only(table, block, Known::SecWebSocketProtocol) {
            None if !table.fields().contains(Known::SecWebSocketProtocol) => None,
            named => {
                let offered = self.protocols.iter().find(|protocol| Some(protocol.as_bytes()) == named);
                Some(*offered.ok_or(Unacceptable::Protocol)?)
            }
        };
        let extensions = table.fields().all(block, Known::SecWebSocketExtensions);
        let agreed = extension::judge(extensions, self.compression.as_ref());
        Ok((protocol, agreed.map_err(|_| Unacceptable::Extensions)?))
    }
}

/// Why the answer to a client's request opens nothing. The connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unacceptable {
    /// The status is not 101: a refusal, or something that the application may follow or authenticate for.
    Status,
    /// `Upgrade` or `Connection` does not say that the connection is a WebSocket now.
    Upgrade,
    /// `Sec-WebSocket-Accept` does not answer our key: this is no WebSocket server, or a response to another request.
    Accept,
    /// The server chose a subprotocol that was not offered.
    Protocol,
    /// The server chose extensions, or parameters of them, that were not offered.
    Extensions,
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unacceptable::Status => "the server does not switch to WebSocket",
            Unacceptable::Upgrade => "the server switches to something other than WebSocket",
            Unacceptable::Accept => "the server's Sec-WebSocket-Accept does not answer our key",
            Unacceptable::Protocol => "the server chose a subprotocol that was not offered",
            Unacceptable::Extensions => "the server chose extensions that were not offered",
        })
    }
}

impl std::error::Error for Unacceptable {}

/// The value of a request's `Sec-WebSocket-Key`: for who passes one on that has come without (RFC 8441 section 5).
pub fn key(nonce: [u8; NONCE_BYTES]) -> [u8; KEY_BYTES] {
    let mut out = [0; KEY_BYTES];
    encode(&nonce, &mut out);
    out
}

/// The value of `Sec-WebSocket-Accept` that answers a key (RFC 6455 section 4.2.2): it shows that the key was read by one who
/// speaks WebSocket.
pub fn accept(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let mut out = [0; ACCEPT_BYTES];
    encode(&Sha1::new().chain_update(key).chain_update(GUID).finalize(), &mut out);
    out
}

/// Into a slice of just the right length.
fn encode(bytes: &[u8], out: &mut [u8]) {
    let written = BASE64.encode_slice(bytes, out);
    debug_assert_eq!(written, Ok(bytes.len().div_ceil(3) * 4));
}

/// The members of a list, over all fields of the name.
fn list<'b>(table: &'b HeadTable, block: &'b [u8], known: Known) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    table.fields().all(block, known).flat_map(scan::list).filter(|member| !member.is_empty())
}

fn has_option(table: &HeadTable, block: &[u8], known: Known, option: &[u8]) -> bool {
    list(table, block, known).any(|member| member.eq_ignore_ascii_case(option))
}

/// The value of the one field of this name, if there is one and no other.
fn only<'b>(table: &'b HeadTable, block: &'b [u8], known: Known) -> Option<&'b [u8]> {
    let mut values = table.fields().all(block, known);
    let value = values.next();
    if values.next().is_none() { value } else { None }
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 4648 section 4. A key is ours to repeat and not to read, so that its last bits may be anything.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

const NONCE_BYTES: usize = 16;
/// A nonce, in base64.
const KEY_BYTES: usize = 24;
/// A SHA-1, in base64: what [`accept`] gives.
pub const ACCEPT_BYTES: usize = 28;
