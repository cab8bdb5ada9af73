//! What the tests ask of the host, which differs between operating systems: the one file of them with `cfg`, besides the
//! list in `main.rs`.

use std::path::PathBuf;

use shardwise_platform::{BackendKind, Error};

/// What opening a directory for writing gives.
#[cfg(unix)]
pub(crate) const DIRECTORY_OPENED: Error = Error::Os(libc::EISDIR);
#[cfg(windows)]
pub(crate) const DIRECTORY_OPENED: Error = Error::Denied;

/// What reading a directory gives. Windows: ERROR_INVALID_FUNCTION.
#[cfg(unix)]
pub(crate) const DIRECTORY_READ: Error = Error::Os(libc::EISDIR);
#[cfg(windows)]
pub(crate) const DIRECTORY_READ: Error = Error::Os(1);

/// What sends meet after a reset that has been told once. Windows tells it to everyone.
pub(crate) fn reset_before(kind: BackendKind) -> Error {
    if cfg!(windows) && kind != BackendKind::Sim { Error::Reset } else { Error::BrokenPipe }
}

/// What a datagram meets when the one before it met a closed port. Windows tells only those who receive.
pub(crate) fn closed_port_before(kind: BackendKind) -> Option<Error> {
    if cfg!(windows) && kind != BackendKind::Sim { None } else { Some(Error::Refused) }
}

/// A file that has bytes at offset zero, whatever is read: many at best.
#[cfg(unix)]
pub(crate) fn source() -> PathBuf {
    "/dev/zero".into()
}
#[cfg(windows)]
pub(crate) fn source() -> PathBuf {
    std::env::current_exe().expect("this program is a file")
}

/// A device that has no room, if the host has such a thing.
pub(crate) fn full_device() -> Option<PathBuf> {
    cfg!(target_os = "linux").then(|| "/dev/full".into())
}

/// A file that cannot be opened for writing, if the host has one that even a superuser has no way around.
pub(crate) fn constant() -> Option<PathBuf> {
    cfg!(target_os = "linux").then(|| "/proc/sys/kernel/ostype".into())
}

/// Something that is neither a file nor a directory, if the host has it among its files.
pub(crate) fn device() -> Option<PathBuf> {
    cfg!(unix).then(|| "/dev/null".into())
}

/// The number of a file, where it is told.
#[cfg(unix)]
pub(crate) fn inode(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("the file is there"))
}
#[cfg(windows)]
pub(crate) fn inode(_path: &std::path::Path) -> u64 {
    0
}

/// Descriptors that this process has open, where that can be known. The directory's own is among them, each time.
#[cfg(unix)]
pub(crate) fn open_descriptors() -> usize {
    let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    std::fs::read_dir(directory).expect("the system lists descriptors").count()
}
#[cfg(windows)]
pub(crate) fn open_descriptors() -> usize {
    0
}
