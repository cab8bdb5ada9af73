//! Why there is no response, or not all of one; whose fault that is, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proto::message::WriteError;
use proto::{h1, h2, h3};

use shards::{Cancelled, Cause};

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
    /// The same of a socket of this machine.
    Unix {
        /// Its path.
        path: Box<Path>,
        /// What the system says.
        error: Box<crate::Error>,
    },
    /// The proxy on the way does not lead to the server.
    Proxy {
        /// Why not.
        why: Box<str>,
    },
    /// A redirect leads to where nobody goes.
    Redirect {
        /// Where to.
        url: Box<str>,
        /// Why not.
        what: &'static str,
    },
    /// The response's body is not what its coding says.
    Coding(&'static str),
    /// As many connections to this server are in use as may be, and none came free in time.
    Busy,
    /// None of an upstream's endpoints may be asked.
    NoEndpoint {
        /// The upstream's name.
        upstream: Box<str>,
        /// Why not.
        why: &'static str,
    },
    /// An upstream is called as often, or by as many at a time, as was declared or as it bears.
    Limited {
        /// The upstream's name.
        upstream: Box<str>,
        /// How long until it may be called again, if that is known.
        after: Option<Duration>,
    },
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
    /// The scope that the request was sent in was cancelled, or its deadline has passed: as when the client whose request it was
    /// for has gone.
    Cancelled(Cancelled),
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

impl Code {
    /// Whether a server wants the request over HTTP/1.1: it has not looked at it.
    pub(crate) fn asks_for_http1(self) -> bool {
        matches!(self, Code::Http2(h2::Code::HTTP_1_1_REQUIRED) | Code::Http3(h3::Code::VERSION_FALLBACK))
    }
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
            // Whoever wanted it has gone, or has no more time.
            Error::Cancelled(Cancelled { cause: Cause::Deadline }) => Fault::Upstream,
            Error::Cancelled(_) => Fault::Peer,
            Error::Url { .. } | Error::Header { .. } | Error::Request(_) | Error::Body(_) => Fault::Us,
            Error::Trust { .. } | Error::Busy | Error::Limited { .. } | Error::Exhausted | Error::Full => {
                Fault::Operator
            }
            Error::Connect { error, .. } | Error::Unix { error, .. } if error.fault() != Fault::Peer => error.fault(),
            _ => Fault::Upstream,
        }
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        match self {
            Error::TimedOut(_) | Error::Cancelled(Cancelled { cause: Cause::Deadline }) => true,
            Error::Connect { error, .. } | Error::Unix { error, .. } => error.is_timeout(),
            _ => false,
        }
    }

    /// Whether the request has certainly done nothing, so that it may be sent again, whatever its method.
    pub fn can_retry(&self) -> bool {
        let was_not_sent =
            matches!(self, Error::Resolve { .. } | Error::Connect { .. } | Error::TimedOut(Step::Connect))
                || matches!(self, Error::Unix { .. } | Error::Proxy { .. });
        let was_held_back =
            matches!(self, Error::NoEndpoint { .. } | Error::Limited { .. } | Error::Busy | Error::Full);
        was_not_sent || was_held_back || matches!(self, Error::Unprocessed)
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
            Error::Unix { path, error } => write!(f, "no connection to {}: {error}", path.display()),
            Error::Redirect { url, what } => {
                write!(f, "the answer leads to {url:?}, which is not asked: {what}")
            }
            Error::Coding(what) => write!(f, "the answer's body cannot be decoded: {what}"),
            Error::Proxy { why } => write!(f, "the proxy does not lead to the server: {why}"),
            Error::Busy => f.write_str(
                "all connections to this server are in use: raise `connections_per_origin_max`, or ask less at a time",
            ),
            Error::NoEndpoint { upstream, why } => write!(f, "no endpoint of {upstream:?} can be asked: {why}"),
            Error::Limited { upstream, after: Some(after) } => {
                write!(f, "{upstream:?} is called as often as it may be: try again after {after:?}")
            }
            Error::Limited { upstream, after: None } => {
                write!(f, "as many calls of {upstream:?} as may be are under way, and as many wait")
            }
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
            Error::Cancelled(cancelled) => write!(f, "the request was given up: {cancelled}"),
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
            Error::Connect { error, .. } | Error::Unix { error, .. } => Some(&**error),
            Error::Cancelled(cancelled) => Some(cancelled),
            Error::Body(error) | Error::Unreadable(error) => Some(&**error),
            _ => None,
        }
    }
}
