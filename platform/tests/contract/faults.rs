//! Errors that no kernel gives when asked to: a filter on the thread (seccomp) answers for it. The filter stands between a
//! thread and its system calls, so it reaches the readiness backend and its file threads, which inherit it, and the set-up of
//! a ring; entries of a ring that stands pass it by.

use std::path::PathBuf;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use shardwise_platform::{
    BackendKind, Buf, BufList, Choice, Config, Datagram, Error, Group, Handle, ListenOptions, Op, OpenFile, Outcome,
    PoolSize, Reactor, SetupError, Socket, Unparker, listen, select,
};
use socket2::{Domain, Type};

use crate::bed::{Bed, Rung, loopback, pattern};

/// From here on this thread's system calls of these numbers fail.
fn fail_from_here(calls: &[i64], errno: i32) {
    let calls = calls.iter().map(|&call| (call, Vec::new())).collect();
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    let filter = SeccompFilter::new(calls, others, these, arch).expect("a sound filter");
    let program: BpfProgram = filter.try_into().expect("a sound filter");
    apply_filter(&program).expect("the kernel takes a filter");
}

/// Does something on a thread of its own, which takes its filter with it.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic in the thread"))
}

// ---- operations on readiness -------------------------------------------------------------------------------------------

/// What an operation works on, opened where the kernel answers for itself.
struct Things {
    listener: Socket,
    stream: Socket,
    datagrams: Socket,
    path: PathBuf,
}

/// Runs one operation under the filter and says how it ended.
#[track_caller]
fn check(calls: &[i64], errno: i32, op: fn(&mut Bed, Things) -> Op, expected: Error) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, b"content").expect("a file");
    let listener = listen(loopback(), 1, &ListenOptions::default()).expect("a free port").remove(0);
    let stream = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    stream.connect(&listener.local_address().expect("a bound socket").into()).expect("it listens");
    let datagrams = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    datagrams.bind(&loopback().into()).expect("a free port");
    let things = Things { listener, stream: stream.into(), datagrams: datagrams.into(), path };
    let ended = apart(|| {
        fail_from_here(calls, errno);
        let mut bed = Bed::new(Rung::epoll(), PoolSize { head_buffers: 4, bulk_buffers: 1, bytes: 1 << 20 });
        let op = op(&mut bed, things);
        let (name, handle) = (op.name(), op.handle());
        let error = bed.run(op).map(|outcome| format!("{name}: {outcome:?}"));
        bed.close_all(handle);
        bed.finish();
        error
    });
    assert_eq!(ended, Err(expected), "errno {errno}");
}

fn accept(bed: &mut Bed, things: Things) -> Op {
    Op::Accept { listener: bed.adopt(things.listener).unwrap() }
}

fn connect(bed: &mut Bed, things: Things) -> Op {
    let peer = things.listener.local_address().unwrap();
    Op::Connect { socket: bed.stream_socket(peer).unwrap(), peer }
}

fn receive(bed: &mut Bed, things: Things) -> Op {
    Op::Receive { socket: bed.adopt(things.stream).unwrap(), group: Group::Heads }
}

fn send(bed: &mut Bed, things: Things) -> Op {
    Op::Send { socket: bed.adopt(things.stream).unwrap(), data: pattern(10).into(), zero_copy: false }
}

fn send_list(bed: &mut Bed, things: Things) -> Op {
    let mut list = Box::new(BufList::new());
    list.push(Buf::Static(b"content")).expect("there is room");
    Op::SendList { socket: bed.adopt(things.stream).unwrap(), list }
}

fn receive_message(bed: &mut Bed, things: Things) -> Op {
    Op::ReceiveMessage { socket: bed.adopt(things.datagrams).unwrap(), group: Group::Heads }
}

fn send_message(bed: &mut Bed, things: Things) -> Op {
    let socket = bed.adopt(things.datagrams).unwrap();
    let peer = bed.local_address(socket).ok();
    Op::SendMessage {
        socket,
        message: Box::new(Datagram { peer, data: pattern(10), segment: None, ecn: 0, source: None }),
    }
}

fn open(_: &mut Bed, things: Things) -> Op {
    Op::Open {
        file: Box::new(OpenFile {
            path: things.path,
            beneath: None,
            read: true,
            write: true,
            create: true,
            truncate: false,
        }),
    }
}

fn opened(bed: &mut Bed, things: Things) -> Handle {
    let op = open(bed, things);
    match bed.run(op) {
        Ok(Outcome::Opened(file)) => file,
        other => panic!("{other:?}"),
    }
}

fn read(bed: &mut Bed, things: Things) -> Op {
    let into = bed.pool().lease(100).unwrap();
    Op::Read { file: opened(bed, things), offset: 0, into }
}

fn write(bed: &mut Bed, things: Things) -> Op {
    Op::Write { file: opened(bed, things), offset: 0, data: pattern(10).into() }
}

fn sync(bed: &mut Bed, things: Things) -> Op {
    Op::Sync { file: opened(bed, things) }
}

fn stat(bed: &mut Bed, things: Things) -> Op {
    Op::Stat { file: opened(bed, things) }
}

const STAT_CALLS: [i64; 3] = [libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx];

#[test]
fn what_only_a_filter_provokes_has_its_name() {
    check(&[libc::SYS_accept4], libc::ECONNABORTED, accept, Error::Aborted);
    check(&[libc::SYS_connect], libc::ECONNRESET, connect, Error::Reset);
    check(&[libc::SYS_connect], libc::EHOSTUNREACH, connect, Error::Unreachable);
    check(&[libc::SYS_sendto], libc::ENOTCONN, send, Error::NotConnected);
    check(&[libc::SYS_sendmsg], libc::ENOTCONN, send_list, Error::NotConnected);
    check(&[libc::SYS_sendmsg], libc::EHOSTUNREACH, send_message, Error::Unreachable);
    check(&[libc::SYS_sendmsg], libc::EPERM, send_message, Error::Denied);
    check(&[libc::SYS_openat], libc::ENOSPC, open, Error::NoSpace);
    check(&[libc::SYS_openat], libc::ENFILE, open, Error::OutOfDescriptors);
    check(&[libc::SYS_pwrite64], libc::EDQUOT, write, Error::NoSpace);
    check(&[libc::SYS_fsync], libc::ENOSPC, sync, Error::NoSpace);
    check(&[libc::SYS_fsync], libc::EIO, sync, Error::Os(libc::EIO));
    check(&STAT_CALLS, libc::EACCES, stat, Error::Denied);
}

#[test]
fn a_kernel_without_memory_has_its_name_for_every_operation() {
    for errno in [libc::ENOMEM, libc::ENOBUFS] {
        check(&[libc::SYS_accept4], errno, accept, Error::OutOfMemory);
        check(&[libc::SYS_connect], errno, connect, Error::OutOfMemory);
        check(&[libc::SYS_recvfrom], errno, receive, Error::OutOfMemory);
        check(&[libc::SYS_sendto], errno, send, Error::OutOfMemory);
        check(&[libc::SYS_sendmsg], errno, send_list, Error::OutOfMemory);
        check(&[libc::SYS_recvmmsg], errno, receive_message, Error::OutOfMemory);
        check(&[libc::SYS_sendmsg], errno, send_message, Error::OutOfMemory);
        check(&[libc::SYS_openat], errno, open, Error::OutOfMemory);
        check(&[libc::SYS_pread64], errno, read, Error::OutOfMemory);
        check(&[libc::SYS_pwrite64], errno, write, Error::OutOfMemory);
        check(&[libc::SYS_fsync], errno, sync, Error::OutOfMemory);
        check(&STAT_CALLS, errno, stat, Error::OutOfMemory);
    }
}

#[test]
fn a_descriptor_that_cannot_be_watched_ends_what_waits_for_it() {
    for (errno, expected) in [(libc::ENOMEM, Error::OutOfMemory), (libc::ENOSPC, Error::NoSpace)] {
        apart(|| {
            let mut bed = Bed::new(Rung::epoll(), PoolSize { head_buffers: 4, bulk_buffers: 1, bytes: 1 << 20 });
            let (client, server) = bed.pair();
            bed.settle(2);
            fail_from_here(&[libc::SYS_epoll_ctl], errno);
            let receive = bed.receive(server);
            assert_eq!(bed.end(receive).unwrap_err(), expected);
            // What need not wait goes on.
            bed.send(client, b"now");
            let receive = bed.receive(server);
            assert_eq!(bed.read(&receive, 3), b"now");
            assert_eq!(bed.end(receive).unwrap_err(), expected);
            bed.close_all([client, server]);
            bed.finish();
        });
    }
}

// ---- a ring's set-up ---------------------------------------------------------------------------------------------------

/// What is said where this call of a ring's set-up fails with this number: by the choice that may fall back, and by the one
/// that may not.
fn refused(call: i64, errno: i32) -> (String, SetupError) {
    apart(|| {
        fail_from_here(&[call], errno);
        let config = Config::default();
        let selection = select(Choice::Auto, &config).expect("readiness can be had everywhere");
        assert_eq!(selection.kind, BackendKind::Epoll);
        let error = select(Choice::Force(BackendKind::Uring), &config).expect_err("it was asked for by name");
        let unparker = Unparker::new(BackendKind::Uring).expect("an eventfd");
        if call != libc::SYS_io_uring_enter {
            let opened = Reactor::open(BackendKind::Uring, &config, &unparker).expect_err("nor can a shard open one");
            assert_eq!(opened, error);
        }
        Reactor::open(selection.kind, &config, &unparker).expect("what was chosen can be had");
        (selection.why, error)
    })
}

#[track_caller]
fn check_refused(call: i64, errno: i32, texts: &[&str]) {
    if call != libc::SYS_io_uring_setup && Rung::uring().is_none() {
        // A host that sets up no ring does not come to this call.
        return;
    }
    let (why, error) = refused(call, errno);
    assert!(texts.iter().all(|text| why.contains(text)), "{texts:?} in {why:?}");
    assert!(!why.contains('\n') && why.ends_with('.'), "one line, in sentences: {why:?}");
    assert_eq!(error.to_string(), format!("the uring backend cannot be had here: {why}"));
}

#[test]
fn memory_that_may_not_be_locked_is_named_with_the_remedy() {
    check_refused(libc::SYS_io_uring_setup, libc::ENOMEM, &["ENOMEM", "RLIMIT_MEMLOCK", "LimitMEMLOCK="]);
    check_refused(libc::SYS_io_uring_register, libc::ENOMEM, &["ENOMEM", "RLIMIT_MEMLOCK"]);
    // Tried again for a while, and then believed.
    check_refused(libc::SYS_io_uring_enter, libc::ENOMEM, &["ENOMEM"]);
}

#[test]
fn a_ring_that_cannot_be_had_says_why_and_what_to_do() {
    check_refused(libc::SYS_io_uring_setup, libc::EPERM, &["security policy", "EPERM", "io_uring_setup"]);
    check_refused(libc::SYS_io_uring_setup, libc::EACCES, &["security policy", "io_uring_setup"]);
    check_refused(libc::SYS_io_uring_setup, libc::ENOSYS, &["no io_uring", "ENOSYS", "5.19"]);
    check_refused(libc::SYS_io_uring_setup, libc::EINVAL, &["EINVAL", "5.19"]);
    check_refused(libc::SYS_io_uring_setup, libc::EMFILE, &["RLIMIT_NOFILE"]);
    check_refused(libc::SYS_io_uring_setup, libc::EIO, &["os error 5"]);
    // A profile that admits only some of the calls, and a kernel without rings of provided buffers.
    check_refused(libc::SYS_io_uring_enter, libc::EPERM, &["security policy", "io_uring_enter"]);
    check_refused(libc::SYS_io_uring_register, libc::EPERM, &["security policy", "io_uring_register"]);
    check_refused(libc::SYS_io_uring_register, libc::EINVAL, &["EINVAL", "5.19"]);
}
