//! Why an operation failed, as one small closed enum, the same on every backend and operating system.
//!
//! The kernel's numbers are translated once, here. Each [`Op`](crate::Op) lists the errors it can end with; what has no
//! name of its own arrives as [`Error::Os`], so that nothing is ever hidden.

use std::fmt;
use std::io;

/// The failure of one operation or inline call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The operation was cancelled before it had any effect that the caller must know of.
    Cancelled,
    /// The handle is stale: its socket or file has been closed, or is being closed.
    Closed,
    /// A bound of the platform was reached (operations in flight, handles, stacks); the operation never started.
    Full,
    /// The peer refused the connection (ECONNREFUSED).
    Refused,
    /// The peer reset the connection (ECONNRESET).
    Reset,
    /// The connection was aborted before it was accepted, or by this host (ECONNABORTED).
    Aborted,
    /// No route to the peer's host or network (EHOSTUNREACH, ENETUNREACH).
    Unreachable,
    /// The kernel gave up waiting for the peer (ETIMEDOUT).
    TimedOut,
    /// The socket is not connected (ENOTCONN).
    NotConnected,
    /// This side or the peer has shut down sending (EPIPE).
    BrokenPipe,
    /// The address is already in use (EADDRINUSE).
    AddressInUse,
    /// The address is not one of this machine's (EADDRNOTAVAIL).
    AddressNotAvailable,
    /// The process may not do this (EACCES, EPERM).
    Denied,
    /// No such file (ENOENT).
    NotFound,
    /// The file exists already (EEXIST).
    Exists,
    /// The process or the system has no descriptor left (EMFILE, ENFILE).
    OutOfDescriptors,
    /// The kernel has no memory or buffer space left (ENOMEM, ENOBUFS).
    OutOfMemory,
    /// The datagram is larger than the path or the socket admits (EMSGSIZE).
    TooLarge,
    /// The device is full (ENOSPC, EDQUOT).
    NoSpace,
    /// The backend, the kernel or the kind of handle does not offer the operation (EOPNOTSUPP, ENOSYS).
    Unsupported,
    /// An argument was not acceptable to the kernel (EINVAL).
    Invalid,
    /// Any other error, by the operating system's number.
    Os(i32),
}

/// The outcome of an inline call of the platform.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether trying again later may help, because what is short now can be given back: descriptors, memory, bounds.
    pub fn is_scarcity(self) -> bool {
        matches!(self, Error::OutOfDescriptors | Error::OutOfMemory | Error::Full)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Cancelled => "the operation was cancelled",
            Error::Closed => "the socket or file has been closed",
            Error::Full => "a bound of the shard was reached (operations in flight, open handles, stacks)",
            Error::Refused => "the peer refused the connection",
            Error::Reset => "the peer reset the connection",
            Error::Aborted => "the connection was aborted",
            Error::Unreachable => "the peer's host or network cannot be reached",
            Error::TimedOut => "the connection timed out",
            Error::NotConnected => "the socket is not connected",
            Error::BrokenPipe => "the connection has been shut down for sending",
            Error::AddressInUse => "the address is already in use",
            Error::AddressNotAvailable => "the address is not one of this machine's",
            Error::Denied => "permission denied",
            Error::NotFound => "no such file",
            Error::Exists => "the file exists already",
            Error::OutOfDescriptors => "no file descriptor is left (raise RLIMIT_NOFILE)",
            Error::OutOfMemory => "the kernel has no memory left for this",
            Error::TooLarge => "the datagram is too large",
            Error::NoSpace => "the device is full",
            Error::Unsupported => "the operation is not supported here",
            Error::Invalid => "the kernel refused an argument",
            Error::Os(code) => return write!(f, "{}", io::Error::from_raw_os_error(*code)),
        })
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => crate::os::error_of(code),
            None => match error.kind() {
                io::ErrorKind::InvalidInput => Error::Invalid,
                io::ErrorKind::NotFound => Error::NotFound,
                io::ErrorKind::PermissionDenied => Error::Denied,
                io::ErrorKind::Unsupported => Error::Unsupported,
                io::ErrorKind::TimedOut => Error::TimedOut,
                _ => Error::Os(0),
            },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Refused => io::ErrorKind::ConnectionRefused,
            Error::Reset => io::ErrorKind::ConnectionReset,
            Error::Aborted => io::ErrorKind::ConnectionAborted,
            Error::TimedOut => io::ErrorKind::TimedOut,
            Error::NotConnected | Error::Closed => io::ErrorKind::NotConnected,
            Error::BrokenPipe => io::ErrorKind::BrokenPipe,
            Error::AddressInUse => io::ErrorKind::AddrInUse,
            Error::AddressNotAvailable => io::ErrorKind::AddrNotAvailable,
            Error::Denied => io::ErrorKind::PermissionDenied,
            Error::NotFound => io::ErrorKind::NotFound,
            Error::Exists => io::ErrorKind::AlreadyExists,
            Error::OutOfMemory => io::ErrorKind::OutOfMemory,
            Error::Unsupported => io::ErrorKind::Unsupported,
            Error::Invalid => io::ErrorKind::InvalidInput,
            Error::Os(code) => return io::Error::from_raw_os_error(code),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
