//! Steps by themselves, since a Linux that has openat2 takes them only in a filter of system calls.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// Opens a path in a folder with a file, a link to it, one to a directory, and one that leads out.
fn open(path: &str) -> Result<String, i32> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(root.join("a/b/file"), "inside").unwrap();
    symlink("a/b/file", root.join("link")).unwrap();
    symlink("a", root.join("way")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    let directory = File::open(&root).unwrap();
    let path = Path::new(path).to_owned();
    let file = OpenFile { path, beneath: None, read: true, write: false, create: false, truncate: false };
    let told = open_by_steps(&directory, &file).map(|mut file| {
        let mut text = String::new();
        file.read_to_string(&mut text).map_or("a directory".to_owned(), |_| text)
    });
    told.map_err(|error| error.raw_os_error().unwrap())
}

#[track_caller]
fn check(path: &str, expect: Result<&str, i32>) {
    assert_eq!(open(path).as_deref().map_err(|code| *code), expect, "{path:?}");
}

#[test]
fn steps_lead_to_what_lies_beneath_and_nowhere_else() {
    check("a/b/file", Ok("inside"));
    check("a/./b//file", Ok("inside"));
    check("a/b", Ok("a directory"));
    check(".", Ok("a directory"));
    check("", Err(libc::ENOENT));
    check("a/none", Err(libc::ENOENT));
    check("a/b/file/more", Err(libc::ENOENT));
    check(&"n".repeat(300), Err(libc::ENOENT));
    check("..", Err(libc::EACCES));
    check("a/../../secret", Err(libc::EACCES));
    check("/etc/passwd", Err(libc::EACCES));
    check("out", Err(libc::EACCES));
    check("link", Err(libc::EACCES));
    check("a\0b", Err(libc::EINVAL));
    // A link where a directory is wanted is no directory, or a link: systems differ.
    assert!(matches!(open("way/b/file"), Err(libc::ENOENT | libc::EACCES)));
}
