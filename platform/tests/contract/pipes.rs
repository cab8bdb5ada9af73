//! Pipes: a file's bytes reach a socket by reference, whoever is slow; and every pipe comes home, or is closed with what is in
//! it.

use std::path::Path;
use std::time::Duration;

use shardwise_platform::limits::PIPES_MAX;
use shardwise_platform::{BackendKind, Error, Handle, Op, OpenFile, Outcome, Pipe, SocketOption};
use tempfile::TempDir;

use crate::bed::{Bed, hash, pattern};
use crate::files::{open, open_file};

/// An open file of so many bytes, and the folder that it lasts as long as.
fn file_of(bed: &mut Bed, bytes: usize) -> (TempDir, Handle) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, pattern(bytes)).expect("the file is written");
    let file = open(bed, open_file(&path)).expect("the file is there");
    (folder, file)
}

/// A pipe, where there are any.
fn pipe(bed: &mut Bed) -> Option<Pipe> {
    match (bed.rung.kind, bed.pipe()) {
        (BackendKind::Uring | BackendKind::Epoll, pipe) => Some(pipe.expect("there is a pipe")),
        (_, pipe) => {
            assert_eq!(pipe.expect_err("this backend has none"), Error::Unsupported);
            None
        }
    }
}

#[track_caller]
fn load(bed: &mut Bed, file: Handle, offset: u64, bytes: u32, pipe: Pipe) -> Pipe {
    match bed.run(Op::Load { file, offset, bytes, pipe }) {
        Ok(Outcome::Loaded(pipe)) => pipe,
        other => panic!("{}: a pipe was loaded, not {other:?}", bed.rung.name),
    }
}

pub(crate) fn a_file_goes_to_a_socket_through_a_pipe(bed: &mut Bed) {
    const FILE_BYTES: usize = 700_001;
    let Some(mut pipe) = pipe(bed) else { return };
    let (_folder, file) = file_of(bed, FILE_BYTES);
    let (client, server) = bed.pair();
    let at_client = bed.receive(client);
    let (mut offset, mut received, mut step) = (123, Vec::new(), 1);
    while offset < FILE_BYTES {
        pipe = load(bed, file, offset as u64, step, pipe);
        let bytes = pipe.bytes();
        assert!(bytes > 0 && bytes <= pipe.room() && bytes <= step as usize, "{bytes} bytes");
        let send = bed.start(Op::SendPipe { socket: server, pipe });
        received.extend(bed.read(&at_client, bytes));
        let Ok(Outcome::SentPipe(back)) = bed.end(send) else { panic!("a pipe was sent") };
        assert_eq!(back.bytes(), 0);
        pipe = back;
        offset += bytes;
        step = step * 3 + 1;
    }
    assert_eq!(hash(&received), hash(&pattern(FILE_BYTES)[123..]));
    // The file has no more, and an empty pipe is sent as one.
    pipe = load(bed, file, FILE_BYTES as u64, 100, pipe);
    assert_eq!(pipe.bytes(), 0);
    assert!(matches!(bed.run(Op::SendPipe { socket: server, pipe }), Ok(Outcome::SentPipe(_))));
    bed.abandon(at_client);
    bed.close_all([client, server, file]);
}

/// Whoever does not read keeps one pipe, and neither the shard nor its other connections.
pub(crate) fn a_pipe_waits_for_its_peer(bed: &mut Bed) {
    let Some(first) = pipe(bed) else { return };
    let (_folder, file) = file_of(bed, 1 << 20);
    let (client, server) = bed.pair();
    bed.fill(server, client);
    let first = load(bed, file, 0, 50_000, first);
    let bytes = first.bytes();
    let send = bed.start(Op::SendPipe { socket: server, pipe: first });
    bed.enter_for(Duration::from_millis(3));
    assert!(bed.take(&send, 1).is_none(), "there is no room");

    let (other_client, other) = bed.pair();
    let second = pipe(bed).expect("there was one before");
    let second = load(bed, file, 100, 1000, second);
    assert!(matches!(bed.run(Op::SendPipe { socket: other, pipe: second }), Ok(Outcome::SentPipe(_))));
    let at_other = bed.receive(other_client);
    assert_eq!(hash(&bed.read(&at_other, 1000)), hash(&pattern(1100)[100..]));

    // What was there before comes first.
    bed.set_option(client, SocketOption::ReceiveBuffer(1 << 20)).unwrap();
    let at_client = bed.receive(client);
    let mut all = Vec::new();
    let sent = loop {
        if let Some(completion) = bed.take(&send, 1) {
            break completion.result;
        }
        let Outcome::Received(chunk) = bed.part(&at_client) else { panic!("a receive gives chunks") };
        all.extend_from_slice(&chunk);
    };
    assert!(matches!(sent, Ok(Outcome::SentPipe(_))), "{sent:?}");
    bed.send(server, b"the end");
    while !all.ends_with(b"the end") {
        let Outcome::Received(chunk) = bed.part(&at_client) else { panic!("a receive gives chunks") };
        all.extend_from_slice(&chunk);
    }
    let file_bytes = &all[all.len() - 7 - bytes..all.len() - 7];
    assert_eq!(hash(file_bytes), hash(&pattern(bytes)));
    bed.abandon_all([at_other, at_client]);
    bed.close_all([client, server, other_client, other, file]);
}

/// In every ending a pipe comes home, or is closed with what it holds.
pub(crate) fn every_pipe_comes_home_in_every_ending(bed: &mut Bed) {
    let Some(spare) = pipe(bed) else { return };
    drop(spare);
    let (_folder, file) = file_of(bed, 1 << 20);
    for round in 0..12 {
        let (client, server) = bed.pair();
        bed.set_option(server, SocketOption::SendBuffer(4096)).unwrap();
        bed.set_option(client, SocketOption::ReceiveBuffer(4096)).unwrap();
        let empty = pipe(bed).expect("there was one before");
        let loading = bed.start(Op::Load { file, offset: 0, bytes: 1 << 20, pipe: empty });
        if round % 6 == 0 {
            bed.abandon(loading);
            bed.close_all([client, server]);
            continue;
        }
        let Ok(Outcome::Loaded(loaded)) = bed.end(loading) else { panic!("a pipe was loaded") };
        if round % 6 == 1 {
            drop(loaded);
            bed.close_all([client, server]);
            continue;
        }
        let send = bed.start(Op::SendPipe { socket: server, pipe: loaded });
        if round % 2 == 0 {
            bed.enter_for(Duration::from_millis(1));
        }
        match round % 6 {
            2 | 3 => {
                bed.cancel(&send);
                assert_eq!(bed.end(send).expect_err("nobody reads it"), Error::Cancelled);
            }
            4 => bed.abandon(send),
            _ => {
                bed.close(client);
                let error = bed.end(send).expect_err("nobody is there");
                assert!(matches!(error, Error::Reset | Error::BrokenPipe), "{error}");
            }
        }
        bed.close_all([client, server]);
    }
    bed.settle(1);
    // What is loaded next is what comes out.
    let (client, server) = bed.pair();
    let at_client = bed.receive(client);
    let pipe = pipe(bed).expect("they have come home");
    let pipe = load(bed, file, 77, 500, pipe);
    assert!(matches!(bed.run(Op::SendPipe { socket: server, pipe }), Ok(Outcome::SentPipe(_))));
    assert_eq!(hash(&bed.read(&at_client, 500)), hash(&pattern(577)[77..]));
    bed.abandon(at_client);
    bed.close_all([client, server, file]);
}

pub(crate) fn misuse_of_pipes_is_an_error(bed: &mut Bed) {
    let Some(first) = pipe(bed) else { return };
    let (folder, file) = file_of(bed, 1000);
    let first = load(bed, file, 0, 10, first);
    let twice = bed.run(Op::Load { file, offset: 0, bytes: 10, pipe: first });
    assert_eq!(twice.expect_err("it is not empty"), Error::Invalid);

    let second = pipe(bed).expect("there was one before");
    let only_written = |path: &Path| OpenFile { read: false, write: true, ..open_file(path) };
    let written = open(bed, only_written(&folder.path().join("file"))).unwrap();
    let denied = bed.run(Op::Load { file: written, offset: 0, bytes: 10, pipe: second });
    assert_eq!(denied.expect_err("it is not open for reading"), Error::Denied);

    let third = pipe(bed).expect("there was one before");
    let beyond = bed.run(Op::Load { file, offset: u64::MAX, bytes: 10, pipe: third });
    assert_eq!(beyond.expect_err("no file is that long"), Error::Invalid);

    let all: Vec<_> = (0..PIPES_MAX).map(|_| bed.pipe().expect("there are so many")).collect();
    assert_eq!(bed.pipe().expect_err("and no more"), Error::Full);
    drop(all);
    assert!(bed.pipe().is_ok());
    bed.close_all([file, written]);
}
