//! Why there is no response, or not all of one; whose fault that is, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;

use proto::message::WriteError;
use proto::{h1, h2, h3};

use crate::Fault;

/// Why a request was not sent, or was not answered in full.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be asked.
    Url {
        /// The URL.
        url: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A header, or the method, cannot be sent.
    Header {
        /// Its name.
        name: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The request cannot be written as HTTP: its head is too long, or its body is not of the length announced.
    Request(WriteError),
    /// The host's name has no address.
    Resolve {
        /// The name.
        host: Box<str>,
        /// What the resolver says.
        why: Box<str>,
    },
    /// Nothing is known of the authorities that could vouch for a server of `https`.
    Trust {
        /// What is wrong.
        why: Box<str>,
    },
    /// No connection, or none that is secured as it must be: what became of the last address tried.
    Connect {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: Box<crate::Error>,
    },
    /// As many connections to this server are in use as may be, and none came free in time.
    Busy,
    /// The server took too long.
    TimedOut(Step),
    /// The server closed the connection before it answered.
    Closed,
    /// The connection ended in the middle of the response.
    Truncated,
    /// What came is no HTTP response, or one beyond the bounds.
    Malformed(h1::Error),
    /// Over HTTP/2 or HTTP/3: the server broke the rules of the connection, and was told so.
    Broken {
        /// What it was told.
        code: Code,
        /// What it did.
        what: &'static str,
    },
    /// Over HTTP/2 or HTTP/3: the server has reset the request's stream, or that was done for what the server sent on it.
    Reset(Code),
    /// Over HTTP/2 or HTTP/3: the server has said that it has not looked at the request, by refusing its stream or by ending the
    /// connection (GOAWAY) before it. Whatever its method, it may be sent again.
    Unprocessed,
    /// The response's body is longer than is admitted here.
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// Whoever makes the request's body has failed.
    Body(Box<dyn StdError>),
    /// The response's body is not UTF-8, or not the JSON that was hoped for.
    Unreadable(Box<dyn StdError>),
    /// The shard's buffer pool is exhausted.
    Exhausted,
    /// The shard has as many tasks, scopes or connections of QUIC as it admits; of the last it begins none while it drains.
    Full,
}

/// Why a connection or a stream has ended, as its version of HTTP says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// RFC 9113 section 7.
    Http2(h2::Code),
    /// RFC 9114 section 8.1.
    Http3(h3::Code),
}

/// What a server can be slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// To be found, and to accept a connection.
    Connect,
    /// To take the request.
    Write,
    /// To begin its answer.
    Head,
    /// To go on with it.
    Body,
}

impl Error {
    /// Whose fault it is. The status of a gateway's answer follows from it.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Url { .. } | Error::Header { .. } | Error::Request(_) | Error::Body(_) => Fault::Us,
            Error::Trust { .. } | Error::Busy | Error::Exhausted | Error::Full => Fault::Operator,
            Error::Connect { error, .. } if error.fault() != Fault::Peer => error.fault(),
            _ => Fault::Upstream,
        }
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        match self {
            Error::TimedOut(_) => true,
            Error::Connect { error, .. } => error.is_timeout(),
            _ => false,
        }
    }

    /// Whether the request has certainly done nothing, so that it may be sent again, whatever its method.
    pub fn can_retry(&self) -> bool {
        let was_not_sent =
            matches!(self, Error::Resolve { .. } | Error::Connect { .. } | Error::TimedOut(Step::Connect));
        was_not_sent || matches!(self, Error::Busy | Error::Full | Error::Unprocessed)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url { url, what } => write!(f, "the URL {url:?} cannot be asked: {what}"),
            Error::Header { name, what } => write!(f, "{name:?} cannot be sent: {what}"),
            Error::Request(WriteError::Target) => {
                f.write_str("the URL holds a space or a character that must be percent-encoded")
            }
            Error::Request(WriteError::Full) => f.write_str("the request's head is too long: send fewer headers"),
            Error::Request(error) => write!(f, "the request cannot be written: {error}"),
            Error::Resolve { host, why } => write!(f, "no address is known of {host:?}: {why}"),
            Error::Trust { why } => write!(
                f,
                "nobody is known who could vouch for a server: {why}. Install the system's certificates (ca-certificates), or set \
                 `tls`."
            ),
            Error::Connect { address, error } => write!(f, "no connection to {address}: {error}"),
            Error::Busy => f.write_str(
                "all connections to this server are in use: raise `connections_per_origin_max`, or ask less at a time",
            ),
            Error::TimedOut(Step::Connect) => f.write_str("the server did not accept a connection in time"),
            Error::TimedOut(Step::Write) => f.write_str("the server did not take the request in time"),
            Error::TimedOut(Step::Head) => f.write_str("the server did not answer in time"),
            Error::TimedOut(Step::Body) => f.write_str("the server stopped in the middle of its answer"),
            Error::Closed => f.write_str("the server closed the connection without an answer"),
            Error::Truncated => f.write_str("the connection ended in the middle of the answer"),
            Error::Malformed(error) => write!(f, "the server's answer is not HTTP as it must be: {error}"),
            Error::TooLarge { max } => write!(f, "the answer is longer than the {max} bytes admitted: set `limit`"),
            Error::Body(error) => write!(f, "the request's body could not be made: {error}"),
            Error::Unreadable(error) => write!(f, "the answer's body is not what was hoped for: {error}"),
            Error::Broken { code, what } => write!(f, "the server broke the rules of the connection: {what} ({code})"),
            Error::Reset(code) => write!(f, "the request's stream was reset: {code}"),
            Error::Unprocessed => f.write_str("the server has not looked at the request, which may be sent again"),
            Error::Full => f.write_str("the shard has as many tasks, scopes or connections as it admits"),
            Error::Exhausted => f.write_str("the shard's buffer pool is exhausted"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Http2(code) => write!(f, "{code}"),
            Code::Http3(code) => write!(f, "{code}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Connect { error, .. } => Some(&**error),
            Error::Body(error) | Error::Unreadable(error) => Some(&**error),
            _ => None,
        }
    }
}
