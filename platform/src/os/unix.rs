//! What the systems of the Unix family have in common: descriptors, error numbers, files.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use polling::Poller;

use crate::{Bell, Error, OpenFile, Result};

/// Error numbers that no [`Error`] has a name for, and that a simulated machine gives too.
pub(crate) mod code {
    pub(crate) use libc::{
        EAFNOSUPPORT, EALREADY, EBADF, EDESTADDRREQ, EIO, EISCONN, EISDIR, ENOTDIR, ENOTSOCK, ESPIPE,
    };
}

/// An owned descriptor.
pub(crate) type Descriptor = std::os::fd::OwnedFd;

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a poller is waited for by.
pub(crate) fn bell_of(poller: &Poller) -> Result<Bell> {
    Ok(Bell(poller.as_fd().try_clone_to_owned()?))
}

/// The name of an error number.
pub(crate) fn error_of(code: i32) -> Error {
    match code {
        libc::ECANCELED => Error::Cancelled,
        libc::EBADF => Error::Closed,
        libc::ECONNREFUSED => Error::Refused,
        libc::ECONNRESET => Error::Reset,
        libc::ECONNABORTED => Error::Aborted,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN => Error::Unreachable,
        libc::ETIMEDOUT => Error::TimedOut,
        libc::ENOTCONN => Error::NotConnected,
        libc::EPIPE => Error::BrokenPipe,
        libc::EADDRINUSE => Error::AddressInUse,
        libc::EADDRNOTAVAIL => Error::AddressNotAvailable,
        libc::EACCES | libc::EPERM => Error::Denied,
        libc::ENOENT => Error::NotFound,
        libc::EEXIST => Error::Exists,
        libc::EMFILE | libc::ENFILE => Error::OutOfDescriptors,
        libc::ENOMEM | libc::ENOBUFS => Error::OutOfMemory,
        libc::EMSGSIZE => Error::TooLarge,
        libc::ENOSPC | libc::EDQUOT => Error::NoSpace,
        libc::EOPNOTSUPP | libc::ENOSYS => Error::Unsupported,
        libc::EINVAL => Error::Invalid,
        other => Error::Os(other),
    }
}

/// Whether a call says that the connection is on its way.
pub(crate) fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY))
}

/// Lets a listener take a port on which connections of an earlier one linger.
pub(crate) fn reuse_address(socket: &socket2::Socket) -> Result<()> {
    Ok(socket.set_reuse_address(true)?)
}

/// Opens a file. A pipe or a device must not hold a thread until its other side comes.
pub(crate) fn open(file: &OpenFile) -> io::Result<File> {
    let create = if file.create { libc::O_CREAT } else { 0 };
    let truncate = if file.truncate { libc::O_TRUNC } else { 0 };
    OpenOptions::new()
        .read(file.read || !file.write)
        .write(file.write)
        .custom_flags(create | truncate | libc::O_NONBLOCK)
        .open(&file.path)
}

/// The number by which its file system knows a file.
pub(crate) fn inode_of(facts: &Metadata) -> u64 {
    facts.ino()
}

/// What an error of opening beneath a directory is called. The ways in which a path can be wrong are many, and whoever asks
/// need not tell them apart: it leads out, or to what cannot be opened so; or there is nothing.
pub(crate) fn as_beneath(code: i32) -> i32 {
    match code {
        libc::EXDEV | libc::ELOOP | libc::ENXIO => libc::EACCES,
        libc::ENOTDIR | libc::ENAMETOOLONG => libc::ENOENT,
        other => other,
    }
}

pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

pub(crate) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(data, offset)
}
