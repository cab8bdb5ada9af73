//! The machine's disk: files in memory, by absolute path. Plain functions of their arguments; when an operation happens,
//! and how much of it, is decided above.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::limits::FILE_BYTES_MAX;
use crate::op::{OpenFile, Stat};
use crate::os::{code, error_of};
use crate::{Error, Result};

pub(super) struct Disk {
    files: Vec<File>,
    /// The place of each file in `files`.
    names: BTreeMap<PathBuf, usize>,
    directories: BTreeMap<PathBuf, SystemTime>,
}

struct File {
    data: Vec<u8>,
    modified: SystemTime,
}

/// An open file or directory, and what it may be used for.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    what: What,
    read: bool,
    write: bool,
}

#[derive(Clone, Debug)]
enum What {
    File(usize),
    Directory(PathBuf),
}

impl Disk {
    pub(super) fn new(now: SystemTime) -> Self {
        let root = |path: &str| (PathBuf::from(path), now);
        Disk { files: Vec::new(), names: BTreeMap::new(), directories: BTreeMap::from([root("/"), root("/tmp")]) }
    }

    /// Puts a file in place, with the directories it lies in.
    pub(super) fn put(&mut self, path: &Path, data: Vec<u8>, now: SystemTime) {
        let path = absolute(path);
        for directory in path.ancestors().skip(1) {
            self.directories.entry(directory.to_owned()).or_insert(now);
        }
        let file = File { data, modified: now };
        match self.names.get(&path) {
            Some(&index) => self.files[index] = file,
            None => self.add(path, file),
        }
    }

    /// What a file holds.
    pub(super) fn get(&self, path: &Path) -> Option<&[u8]> {
        self.names.get(&absolute(path)).map(|&index| self.files[index].data.as_slice())
    }

    /// Opens a path of the machine's, or one beneath an open directory.
    pub(super) fn open(&mut self, file: &OpenFile, beneath: Option<&Opened>, now: SystemTime) -> Result<Opened> {
        if file.path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::Invalid);
        }
        let path = match beneath.map(|opened| &opened.what) {
            None => absolute(&file.path),
            Some(What::Directory(directory)) => within(directory, &file.path)?,
            Some(What::File(_)) => return Err(Error::NotFound),
        };
        let not_a_directory = if beneath.is_some() { Error::NotFound } else { error_of(code::ENOTDIR) };
        let opened = |what| Opened { what, read: file.read || !file.write, write: file.write };
        if self.directories.contains_key(&path) {
            return match file.write || file.create {
                true => Err(error_of(code::EISDIR)),
                false => Ok(opened(What::Directory(path))),
            };
        }
        if let Some(&index) = self.names.get(&path) {
            if file.truncate {
                self.files[index] = File { data: Vec::new(), modified: now };
            }
            return Ok(opened(What::File(index)));
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        if self.names.contains_key(parent) {
            return Err(not_a_directory);
        }
        if !file.create || !self.directories.contains_key(parent) {
            return Err(Error::NotFound);
        }
        let index = self.files.len();
        self.add(path, File { data: Vec::new(), modified: now });
        Ok(opened(What::File(index)))
    }

    /// How many bytes there are to read at `offset`.
    pub(super) fn available(&self, opened: &Opened, offset: u64) -> Result<usize> {
        let What::File(index) = opened.what else { return Err(error_of(code::EISDIR)) };
        if !opened.read {
            return Err(error_of(code::EBADF));
        }
        Ok((self.files[index].data.len() as u64).saturating_sub(offset) as usize)
    }

    /// Fills `into`, which is no longer than what is [`available`](Self::available).
    pub(super) fn read(&self, opened: &Opened, offset: u64, into: &mut [u8]) {
        if let (What::File(index), false) = (&opened.what, into.is_empty()) {
            into.copy_from_slice(&self.files[*index].data[offset as usize..][..into.len()]);
        }
    }

    /// Writes all of `bytes`; what lies between the end of the file and `offset` becomes zeroes.
    pub(super) fn write(&mut self, opened: &Opened, offset: u64, bytes: &[u8], now: SystemTime) -> Result<()> {
        let What::File(index) = opened.what else { return Err(error_of(code::EBADF)) };
        if !opened.write {
            return Err(error_of(code::EBADF));
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= FILE_BYTES_MAX).ok_or(Error::NoSpace)?;
        let file = &mut self.files[index];
        if !bytes.is_empty() {
            file.data.resize(file.data.len().max(end as usize), 0);
            file.data[offset as usize..end as usize].copy_from_slice(bytes);
            file.modified = now;
        }
        Ok(())
    }

    pub(super) fn stat(&self, opened: &Opened) -> Stat {
        match &opened.what {
            What::File(index) => {
                let File { data, modified } = &self.files[*index];
                let (bytes, inode) = (data.len() as u64, *index as u64 + 1);
                Stat { bytes, is_file: true, is_directory: false, modified: *modified, inode }
            }
            What::Directory(path) => {
                let modified = self.directories.get(path).copied().unwrap_or(SystemTime::UNIX_EPOCH);
                Stat { bytes: 0, is_file: false, is_directory: true, modified, inode: 0 }
            }
        }
    }

    fn add(&mut self, path: PathBuf, file: File) {
        self.names.insert(path, self.files.len());
        self.files.push(file);
    }
}

/// The path from the root, without `.` and `..`; the machine's working directory is the root.
fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => drop(absolute.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

/// A path beneath a directory, which it must not leave even to come back.
fn within(directory: &Path, path: &Path) -> Result<PathBuf> {
    let (mut whole, mut depth) = (directory.to_owned(), 0usize);
    if path.as_os_str().is_empty() {
        return Err(Error::NotFound);
    }
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                whole.push(name);
                depth += 1;
            }
            Component::ParentDir => {
                depth = depth.checked_sub(1).ok_or(Error::Denied)?;
                whole.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Error::Denied),
        }
    }
    Ok(whole)
}
