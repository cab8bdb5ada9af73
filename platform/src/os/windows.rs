//! What Windows has: sockets that are not files, and error numbers of its own.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, OpenOptionsExt};

use polling::Poller;

use crate::{Bell, Error, OpenFile, Result};

/// Error numbers that no [`Error`] has a name for, and that a simulated machine gives too: the nearest that the system has.
pub(crate) mod code {
    pub(crate) const EBADF: i32 = 6; // ERROR_INVALID_HANDLE
    pub(crate) const ESPIPE: i32 = 132; // ERROR_SEEK_ON_DEVICE
    pub(crate) const EIO: i32 = 1117; // ERROR_IO_DEVICE
    pub(crate) const ENOTDIR: i32 = 267; // ERROR_DIRECTORY
    pub(crate) const EISDIR: i32 = 336; // ERROR_DIRECTORY_NOT_SUPPORTED
    pub(crate) const EALREADY: i32 = 10037; // WSAEALREADY
    pub(crate) const ENOTSOCK: i32 = 10038; // WSAENOTSOCK
    pub(crate) const EDESTADDRREQ: i32 = 10039; // WSAEDESTADDRREQ
    pub(crate) const EAFNOSUPPORT: i32 = 10047; // WSAEAFNOSUPPORT
    pub(crate) const EISCONN: i32 = 10056; // WSAEISCONN
}

/// An owned socket.
pub(crate) type Descriptor = std::os::windows::io::OwnedSocket;

/// What a poller is waited for by: a completion port is waited for by those who take from it, and by nobody else.
pub(crate) fn bell_of(_poller: &Poller) -> Result<Bell> {
    Err(Error::Unsupported)
}

/// The name of an error number, by the lists "System Error Codes" and "Windows Sockets Error Codes".
pub(crate) fn error_of(code: i32) -> Error {
    match code {
        995 | 10004 => Error::Cancelled,    // ERROR_OPERATION_ABORTED, WSAEINTR
        6 => Error::Closed,                 // ERROR_INVALID_HANDLE
        1225 | 10061 => Error::Refused,     // ERROR_CONNECTION_REFUSED, WSAECONNREFUSED
        64 | 10052 | 10054 => Error::Reset, // ERROR_NETNAME_DELETED, WSAENETRESET, WSAECONNRESET
        1236 | 10053 => Error::Aborted,     // ERROR_CONNECTION_ABORTED, WSAECONNABORTED
        1231 | 1232 | 10050 | 10051 | 10065 => Error::Unreachable, // …_UNREACHABLE, WSAENETDOWN, WSAE…UNREACH
        121 | 10060 => Error::TimedOut,     // ERROR_SEM_TIMEOUT, WSAETIMEDOUT
        10057 => Error::NotConnected,       // WSAENOTCONN
        109 | 232 | 10058 => Error::BrokenPipe, // ERROR_BROKEN_PIPE, ERROR_NO_DATA, WSAESHUTDOWN
        10048 => Error::AddressInUse,       // WSAEADDRINUSE
        10049 => Error::AddressNotAvailable, // WSAEADDRNOTAVAIL
        5 | 19 | 32 | 10013 => Error::Denied, // ERROR_ACCESS_DENIED, …_WRITE_PROTECT, …_SHARING_VIOLATION, WSAEACCES
        2 | 3 => Error::NotFound,           // ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND
        80 | 183 => Error::Exists,          // ERROR_FILE_EXISTS, ERROR_ALREADY_EXISTS
        4 | 10024 => Error::OutOfDescriptors, // ERROR_TOO_MANY_OPEN_FILES, WSAEMFILE
        8 | 14 | 1455 | 10055 => Error::OutOfMemory, // …_NOT_ENOUGH_MEMORY, …_OUTOFMEMORY, …_COMMITMENT_LIMIT, WSAENOBUFS
        10040 => Error::TooLarge,                    // WSAEMSGSIZE
        39 | 112 => Error::NoSpace,                  // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
        50 | 120 | 10045 => Error::Unsupported,      // …_NOT_SUPPORTED, …_CALL_NOT_IMPLEMENTED, WSAEOPNOTSUPP
        87 | 123 | 10022 => Error::Invalid,          // ERROR_INVALID_PARAMETER, ERROR_INVALID_NAME, WSAEINVAL
        other => Error::Os(other),
    }
}

/// Whether a call says that the connection is on its way: WSAEINPROGRESS, WSAEALREADY.
pub(crate) fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(10036 | 10037))
}

/// Nothing is needed to take a port on which connections of an earlier listener linger, and the option of that name would
/// let two processes have one port.
pub(crate) fn reuse_address(_socket: &socket2::Socket) -> Result<()> {
    Ok(())
}

/// What a thread keeps to have overflows named: nothing here.
pub(crate) struct SignalStack;

/// Nothing is needed to have overflows named: the system raises an exception of their own, and Rust's handler of it says that
/// the thread has overflowed its stack, and ends the process.
pub(crate) fn name_overflows(_lookup: super::GuardLookup) -> Option<SignalStack> {
    Some(SignalStack)
}

/// Opens a file; or a directory, for reading, to learn facts about it.
pub(crate) fn open(file: &OpenFile) -> io::Result<File> {
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    OpenOptions::new()
        .read(file.read || !file.write)
        .write(file.write)
        .create(file.create)
        .truncate(file.truncate)
        .custom_flags(if file.write { 0 } else { FILE_FLAG_BACKUP_SEMANTICS })
        .open(&file.path)
}

/// Beneath a directory nothing is opened: the system's interface for that is not a documented one.
pub(crate) fn open_beneath(_directory: &File, _file: &OpenFile) -> io::Result<File> {
    const ERROR_NOT_SUPPORTED: i32 = 50;
    Err(io::Error::from_raw_os_error(ERROR_NOT_SUPPORTED))
}

/// A file's number is not among the facts that the system gives at once.
pub(crate) fn inode_of(_facts: &Metadata) -> u64 {
    0
}

pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, within(offset)?)
}

pub(crate) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(data, within(offset)?)
}

/// An offset that a file can have. To the system the two highest numbers are none: they stand for the end of the file, and
/// for where the last call stopped.
fn within(offset: u64) -> io::Result<u64> {
    const ERROR_INVALID_PARAMETER: i32 = 87;
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(io::Error::from_raw_os_error(ERROR_INVALID_PARAMETER)),
    }
}
