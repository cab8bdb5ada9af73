#![allow(unsafe_code)]
//! Opening beneath a directory where the kernel has no call for it: from directory to directory, each step by its own name.
//!
//! A step follows no symbolic link, and a name is no `..`, so no path leads out whatever is renamed meanwhile.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Component;

use crate::OpenFile;

/// Opens a file beneath a directory, and follows no symbolic link on the way or at its end.
pub(crate) fn open_by_steps(directory: &File, file: &OpenFile) -> io::Result<File> {
    let mut names = Vec::new();
    for component in file.path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(error(libc::EXDEV)),
        }
    }
    if file.path.as_os_str().is_empty() {
        return Err(error(libc::ENOENT));
    }
    let last = names.pop().unwrap_or(OsStr::new("."));
    let mut held = None;
    for name in names {
        held = Some(step(held.as_ref().unwrap_or(directory), name, libc::O_RDONLY | libc::O_DIRECTORY)?);
    }
    let access = match (file.read, file.write) {
        (_, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        (true, true) => libc::O_RDWR,
    };
    let create = if file.create { libc::O_CREAT } else { 0 };
    let truncate = if file.truncate { libc::O_TRUNC } else { 0 };
    // A pipe or a device must not hold a thread until its other side comes.
    step(held.as_ref().unwrap_or(directory), last, access | create | truncate | libc::O_NONBLOCK)
}

/// Opens one name in a directory.
fn step(directory: &File, name: &OsStr, flags: i32) -> io::Result<File> {
    let name = CString::new(name.as_bytes()).map_err(|_| error(libc::EINVAL))?;
    let mode: libc::c_uint = 0o666;
    // SAFETY: the call reads the name, which ends in a zero and outlives it, and keeps nothing.
    let opened =
        unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags | libc::O_NOFOLLOW | libc::O_CLOEXEC, mode) };
    if opened < 0 {
        return Err(error(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
    }
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
    Ok(unsafe { File::from_raw_fd(opened) })
}

/// FreeBSD calls a link that is not followed EMLINK.
fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(super::as_beneath(if code == libc::EMLINK { libc::ELOOP } else { code }))
}

#[cfg(test)]
mod tests;
