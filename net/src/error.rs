//! What can go wrong on the wire, and whose fault it is.

use std::fmt;

use shards::{SpawnError, StartError, TimedOut};

use crate::quic;
use crate::tls::{Cause, Failure};

/// An error of the network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system's answer to an operation.
    Io(platform::Error),
    /// A time limit passed.
    TimedOut,
    /// A listening address cannot be had, or the shards do not agree on it.
    Start(StartError),
    /// A bound of the shard was reached.
    Spawn(SpawnError),
    /// TLS cannot go on.
    Tls(Failure),
    /// A connection of QUIC has ended, or came not to be.
    Quic(quic::Closed),
}

/// The outcome of something on the wire.
pub type Result<T> = std::result::Result<T, Error>;

/// Who has to change something so that an error does not come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other side of the connection.
    Peer,
    /// A server that we asked.
    Upstream,
    /// Whoever runs the server: an address, a limit, a permission.
    Operator,
    /// This program.
    Us,
}

impl Error {
    /// Whose fault it is. Log level and metric label follow from it.
    pub fn fault(&self) -> Fault {
        use platform::Error as Io;
        match self {
            Error::Io(Io::OutOfDescriptors | Io::OutOfMemory | Io::Full | Io::Denied) => Fault::Operator,
            Error::Io(Io::AddressInUse | Io::AddressNotAvailable) => Fault::Operator,
            Error::Io(Io::Closed | Io::Invalid | Io::Unsupported) => Fault::Us,
            Error::Io(_) | Error::TimedOut => Fault::Peer,
            Error::Start(StartError::Listen(_)) | Error::Spawn(SpawnError::Full) => Fault::Operator,
            Error::Start(_) | Error::Spawn(_) => Fault::Us,
            Error::Tls(failure) if failure.cause() == Cause::Ours => Fault::Operator,
            Error::Tls(_) | Error::Quic(_) => Fault::Peer,
        }
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::TimedOut | Error::Io(platform::Error::TimedOut) | Error::Quic(quic::Closed::TimedOut))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "{error}"),
            Error::TimedOut => write!(f, "{TimedOut}"),
            Error::Start(error) => write!(f, "{error}"),
            Error::Spawn(error) => write!(f, "{error}"),
            Error::Tls(failure) => write!(f, "{failure}"),
            Error::Quic(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<platform::Error> for Error {
    fn from(error: platform::Error) -> Self {
        Error::Io(error)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Error::Start(error)
    }
}

impl From<SpawnError> for Error {
    fn from(error: SpawnError) -> Self {
        Error::Spawn(error)
    }
}

impl From<TimedOut> for Error {
    fn from(_: TimedOut) -> Self {
        Error::TimedOut
    }
}
