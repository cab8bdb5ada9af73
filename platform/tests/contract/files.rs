//! Files: never ready, always in the way, and still no reason for a shard to block.

use std::path::Path;
use std::time::{Duration, SystemTime};

use shardwise_platform::{BackendKind, Error, Handle, Op, OpenFile, Outcome, Stat, Wait};

use crate::bed::{Bed, hash, pattern};
use crate::host;

pub(crate) fn open_file(path: &Path) -> OpenFile {
    OpenFile { path: path.to_owned(), beneath: None, read: true, write: false, create: false, truncate: false }
}

#[track_caller]
pub(crate) fn open(bed: &mut Bed, file: OpenFile) -> Result<Handle, Error> {
    match bed.run(Op::Open { file: Box::new(file) })? {
        Outcome::Opened(handle) => Ok(handle),
        other => panic!("a file was opened, not {other:?}"),
    }
}

#[track_caller]
pub(crate) fn write(bed: &mut Bed, file: Handle, offset: u64, data: &[u8]) -> Result<usize, Error> {
    match bed.run(Op::Write { file, offset, data: data.to_vec().into() })? {
        Outcome::Sent { bytes, data: back } => {
            assert!(back.as_slice() == data, "the buffer comes back");
            Ok(bytes)
        }
        other => panic!("a file was written, not {other:?}"),
    }
}

#[track_caller]
pub(crate) fn read(bed: &mut Bed, file: Handle, offset: u64, room: usize) -> Result<Vec<u8>, Error> {
    let mut into = bed.pool().lease(room).expect("the pool has room");
    into.put(b"kept");
    match bed.run(Op::Read { file, offset, into })? {
        Outcome::Read { bytes, chunk } => {
            assert_eq!((&chunk[..4], chunk.len()), (&b"kept"[..], 4 + bytes), "read bytes are appended");
            Ok(chunk[4..].to_vec())
        }
        other => panic!("a file was read, not {other:?}"),
    }
}

pub(crate) fn what_is_written_is_read(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    let file = open(bed, OpenFile { write: true, create: true, ..open_file(&path) }).unwrap();
    let data = pattern(10_000);
    assert_eq!(write(bed, file, 0, &data), Ok(10_000));
    assert_eq!(write(bed, file, 5000, b"changed"), Ok(7));
    assert!(matches!(bed.run(Op::Sync { file }), Ok(Outcome::Synced)));
    let mut expected = data;
    expected[5000..5007].copy_from_slice(b"changed");
    assert_eq!(hash(&read(bed, file, 0, 16_000).unwrap()), hash(&expected));
    assert_eq!(hash(&read(bed, file, 4096, 4096).unwrap()), hash(&expected[4096..8188]));
    assert_eq!(read(bed, file, 10_000, 100), Ok(vec![]), "the end of the file");
    assert_eq!(read(bed, file, 20_000, 100), Ok(vec![]), "past the end");
    bed.close(file);

    let emptied = open(bed, OpenFile { write: true, truncate: true, ..open_file(&path) }).unwrap();
    assert_eq!(read(bed, emptied, 0, 100), Ok(vec![]));
    bed.close(emptied);
}

pub(crate) fn errors_of_files(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(open(bed, open_file(&folder.path().join("none"))), Err(Error::NotFound));
    assert_eq!(open(bed, open_file(Path::new("a\0b"))), Err(Error::Invalid));
    let directory = OpenFile { write: true, ..open_file(folder.path()) };
    assert_eq!(open(bed, directory), Err(host::DIRECTORY_OPENED));
    let directory = open(bed, open_file(folder.path())).unwrap();
    assert_eq!(read(bed, directory, 0, 100), Err(host::DIRECTORY_READ));
    bed.close(directory);

    if let Some(device) = host::full_device() {
        let full = open(bed, OpenFile { write: true, read: false, ..open_file(&device) }).unwrap();
        assert_eq!(write(bed, full, 0, b"no room"), Err(Error::NoSpace));
        bed.close(full);
    }

    let path = folder.path().join("file");
    std::fs::write(&path, b"content").unwrap();
    let read_only = open(bed, open_file(&path)).unwrap();
    assert_eq!(write(bed, read_only, 0, b"no"), Err(Error::Denied));
    bed.close(read_only);
}

pub(crate) fn facts_about_files(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, pattern(1234)).unwrap();
    let facts = |bed: &mut Bed, path: &Path| {
        let file = open(bed, open_file(path)).unwrap();
        let Ok(Outcome::Stat(stat)) = bed.run(Op::Stat { file }) else { panic!("a file has facts") };
        bed.close(file);
        stat
    };
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(
        facts(bed, &path),
        Stat { bytes: 1234, is_file: true, is_directory: false, modified, inode: host::inode(&path) }
    );
    let folder = facts(bed, folder.path());
    assert!(folder.is_directory && !folder.is_file && folder.modified > SystemTime::UNIX_EPOCH);
    if let Some(device) = host::device() {
        let device = facts(bed, &device);
        assert!(!device.is_directory && !device.is_file);
    }
}

/// A path that begins in an open directory leads to what lies beneath it, and nowhere else.
#[cfg(unix)]
pub(crate) fn a_path_beneath_a_directory_does_not_leave_it(bed: &mut Bed) {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(folder.path().join("secret"), b"secret").unwrap();
    std::fs::write(root.join("a/b/file"), b"inside").unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
    symlink("/proc/self/root/etc/hostname", root.join("magic")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    // Not every system has the call that makes one in a directory.
    assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    let _listener = UnixListener::bind(root.join("socket")).unwrap();

    let directory = open(bed, open_file(&root)).unwrap();
    // The directory may be renamed: it is held, and not its name.
    std::fs::rename(&root, folder.path().join("moved")).unwrap();
    let beneath = |path: &str| OpenFile { beneath: Some(directory), ..open_file(Path::new(path)) };
    for path in ["a/b/file", "a/./b//file"] {
        let file = open(bed, beneath(path)).unwrap();
        assert_eq!(read(bed, file, 0, 100), Ok(b"inside".to_vec()), "{path}");
        bed.close(file);
    }
    for path in
        ["..", "../secret", "a/../../secret", "/etc/hostname", "out", "up/secret", "absolute", "magic", "circle"]
    {
        let refused = open(bed, beneath(path));
        // Where links are not followed at all, one in the middle may be no directory.
        assert!(matches!(refused, Err(Error::Denied) | Err(Error::NotFound)), "{path}: {refused:?}");
        assert!(path == "up/secret" || refused == Err(Error::Denied), "{path}: {refused:?}");
    }
    let long = "n".repeat(300);
    for path in ["none", "a/none", "a/b/file/more", "", &long] {
        assert_eq!(open(bed, beneath(path)), Err(Error::NotFound), "{path}");
    }
    assert_eq!(open(bed, beneath("a\0b")), Err(Error::Invalid));
    assert_eq!(open(bed, beneath("socket")), Err(Error::Denied));
    // Nobody writes to the pipe, and nobody waits for that.
    let pipe = open(bed, beneath("pipe")).unwrap();
    let Ok(Outcome::Stat(stat)) = bed.run(Op::Stat { file: pipe }) else { panic!("a pipe has facts") };
    assert!(!stat.is_file && !stat.is_directory);
    bed.close(pipe);
    // What is made is made beneath.
    let made = OpenFile { write: true, create: true, ..beneath("a/made") };
    let made = open(bed, made).unwrap();
    assert_eq!(write(bed, made, 0, b"new"), Ok(3));
    bed.close(made);
    assert_eq!(std::fs::read(folder.path().join("moved/a/made")).unwrap(), b"new");

    let file = open(bed, beneath("a/b/file")).unwrap();
    assert_eq!(open(bed, OpenFile { beneath: Some(file), ..open_file(Path::new("x")) }), Err(Error::NotFound));
    bed.close(file);
    bed.close(directory);
    assert!(matches!((**bed).start(Op::Open { file: Box::new(beneath("a/b/file")) }, 0), Err((_, Error::Closed))));
}

/// More than there are threads to do them.
pub(crate) fn many_reads_at_once(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    let data = pattern(100 * 100);
    std::fs::write(&path, &data).unwrap();
    let file = open(bed, open_file(&path)).unwrap();
    let mut reads = Vec::new();
    for offset in (0..data.len()).step_by(100) {
        let into = bed.pool().lease(256).expect("the pool has room");
        reads.push((offset, bed.start(Op::Read { file, offset: offset as u64, into })));
    }
    for (offset, token) in reads {
        let Ok(Outcome::Read { bytes, chunk }) = bed.end(token) else { panic!("a file can be read") };
        assert_eq!(bytes, 256.min(data.len() - offset));
        assert!(chunk[..] == data[offset..offset + bytes]);
    }
    bed.close(file);
}

pub(crate) fn file_operations_can_be_abandoned(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, pattern(10_000)).unwrap();
    for stage in 0..3 {
        let file = open(bed, OpenFile { write: true, ..open_file(&path) }).unwrap();
        let directory = open(bed, open_file(folder.path())).unwrap();
        let mut tokens = Vec::new();
        for _ in 0..10 {
            let into = bed.pool().lease(5000).expect("the pool has room");
            tokens.push(bed.start(Op::Read { file, offset: 10, into }));
            tokens.push(bed.start(Op::Write { file, offset: 10, data: pattern(5000).into() }));
            tokens.push(bed.start(Op::Stat { file }));
            tokens.push(bed.start(Op::Sync { file }));
            tokens.push(bed.start(Op::Open { file: Box::new(open_file(&path)) }));
            let beneath = OpenFile { beneath: Some(directory), ..open_file(Path::new("file")) };
            tokens.push(bed.start(Op::Open { file: Box::new(beneath) }));
        }
        match stage {
            0 => {}
            1 => drop(bed.enter(Wait::No)),
            _ => bed.enter_for(Duration::from_millis(5)),
        }
        bed.abandon_all(tokens);
        bed.close(directory);
        bed.close(file);
        bed.settle(0);
    }
}

/// Each operation has its answer, done or cancelled, and only then is the file closed.
pub(crate) fn closing_a_file_waits_for_its_operations(bed: &mut Bed) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, pattern(10_000)).unwrap();
    for _ in 0..20 {
        let file = open(bed, open_file(&path)).unwrap();
        let start = |_| {
            let into = bed.pool().lease(10_000).expect("the pool has room");
            bed.start(Op::Read { file, offset: 0, into })
        };
        let reads: Vec<_> = (0..8).map(start).collect();
        bed.enter(Wait::No);
        bed.close(file);
        for read in reads {
            let ended = bed.end(read);
            assert!(matches!(ended, Ok(Outcome::Read { bytes: 10_000, .. }) | Err(Error::Cancelled)), "{ended:?}");
        }
        bed.settle(0);
    }
}

pub(crate) fn what_a_file_is_not_open_for_is_denied(bed: &mut Bed) {
    let (_folder, path) = bed.scratch();
    let write_only = OpenFile { write: true, read: false, create: true, ..open_file(&path) };
    let write_only = open(bed, write_only).unwrap();
    assert_eq!(read(bed, write_only, 0, 10), Err(Error::Denied));
    let read_only = open(bed, open_file(&path)).unwrap();
    assert_eq!(write(bed, read_only, 0, b"no"), Err(Error::Denied));
    bed.close(write_only);
    bed.close(read_only);
    if let Some(constant) = host::constant().filter(|_| bed.rung.kind != BackendKind::Sim) {
        let constant = OpenFile { write: true, ..open_file(&constant) };
        assert_eq!(open(bed, constant), Err(Error::Denied));
    }
}

pub(crate) fn an_offset_beyond_all_files_is_invalid(bed: &mut Bed) {
    let (_folder, path) = bed.scratch();
    let file = open(bed, OpenFile { write: true, create: true, ..open_file(&path) }).unwrap();
    assert_eq!(write(bed, file, 0, b"content"), Ok(7));
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
        assert_eq!(read(bed, file, offset, 10), Err(Error::Invalid), "{offset:#x}");
        assert_eq!(write(bed, file, offset, b"beyond"), Err(Error::Invalid), "{offset:#x}");
    }
    assert_eq!(read(bed, file, 0, 100), Ok(b"content".to_vec()));
    bed.close(file);
}
