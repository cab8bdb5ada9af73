//! Whatever an operation takes comes home once: with its completion, or by itself when there is none to bring it. Each
//! operation with a buffer meets each ending; the buffers count how often they are freed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shardwise_platform::{Buf, BufList, Error, Handle, NOBODY, Op, OpenFile, Outcome, PoolSize, Token, Wait};

use crate::bed::{Bed, WAIT_MAX, pattern};

/// What takes a buffer whose end can be counted. Datagrams and reads own theirs by other means: see
/// [`datagrams_and_reads_give_their_memory_back`].
const TAKERS: [Taker; 4] = [Taker::Send, Taker::ZeroCopy, Taker::List, Taker::Write];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Taker {
    Send,
    ZeroCopy,
    List,
    Write,
}

/// How an operation may end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Success,
    /// A send that nobody wants to hear of.
    Hushed,
    Error,
    CancelledWhileQueued,
    CancelledWhileRunning,
    AbandonedWhileQueued,
    AbandonedWhileRunning,
    AbandonedUnread,
    HandleClosed,
    TornDown,
}

impl Ending {
    const ALL: [Ending; 10] = [
        Ending::Success,
        Ending::Hushed,
        Ending::Error,
        Ending::CancelledWhileQueued,
        Ending::CancelledWhileRunning,
        Ending::AbandonedWhileQueued,
        Ending::AbandonedWhileRunning,
        Ending::AbandonedUnread,
        Ending::HandleClosed,
        Ending::TornDown,
    ];

    /// Whether the socket shall have no room, so that a send stays in flight.
    fn wants_to_wait(self) -> bool {
        matches!(
            self,
            Ending::CancelledWhileRunning | Ending::AbandonedWhileRunning | Ending::HandleClosed | Ending::TornDown
        )
    }
}

/// Memory that counts its end.
struct Counted {
    bytes: Vec<u8>,
    frees: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // What the kernel still reads from here would be seen to have changed.
        self.bytes.fill(0xdd);
        self.frees.fetch_add(1, Ordering::SeqCst);
    }
}

/// A buffer, and the number of times that it was freed.
fn counted(frees: &Arc<AtomicUsize>) -> Buf {
    Buf::Bytes(Bytes::from_owner(Counted { bytes: pattern(5000), frees: Arc::clone(frees) }))
}

/// The operation, with as many counted buffers as the second value says.
fn op(taker: Taker, on: Handle, frees: &Arc<AtomicUsize>) -> (Op, usize) {
    match taker {
        Taker::Send => (Op::Send { socket: on, data: counted(frees), zero_copy: false }, 1),
        Taker::ZeroCopy => (Op::Send { socket: on, data: counted(frees), zero_copy: true }, 1),
        Taker::List => {
            let mut list = Box::new(BufList::new());
            (0..3).for_each(|_| list.push(counted(frees)).expect("there is room"));
            (Op::SendList { socket: on, list }, 3)
        }
        Taker::Write => (Op::Write { file: on, offset: 0, data: counted(frees) }, 1),
    }
}

/// A file on the machine's own disk.
fn file(bed: &mut Bed, path: &Path, write: bool) -> Handle {
    let file = OpenFile { path: path.to_owned(), beneath: None, read: true, write, create: write, truncate: false };
    match bed.run(Op::Open { file: Box::new(file) }) {
        Ok(Outcome::Opened(handle)) => handle,
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// The bytes of the buffers that an outcome brings back.
fn bytes_back(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Sent { data, .. } => data.len(),
        Outcome::SentList { list, .. } => list.bytes(),
        other => panic!("a buffer comes back, not {other:?}"),
    }
}

#[track_caller]
fn check(bed: &mut Bed, path: &Path, taker: Taker, ending: Ending) {
    let name = format!("{}: {taker:?}, {ending:?}", bed.rung.name);
    let mut bed = bed.with_pool(PoolSize { head_buffers: 4, bulk_buffers: 1, bytes: 1 << 20 });
    let (client, server) = bed.pair();
    let made = file(&mut bed, path, true);
    bed.close(made);
    let disk = file(&mut bed, path, ending != Ending::Error);
    if taker != Taker::Write && ending.wants_to_wait() {
        bed.fill(client, server);
    }
    if ending == Ending::Error {
        bed.shutdown(client, std::net::Shutdown::Write).unwrap();
    }
    let frees = Arc::new(AtomicUsize::new(0));
    let freed = || frees.load(Ordering::SeqCst);
    let (op, count) = op(taker, if taker == Taker::Write { disk } else { client }, &frees);
    let token = bed.start_for(op, if ending == Ending::Hushed { NOBODY } else { 1 });
    let runs = |bed: &mut Bed, token: &Token| {
        bed.enter_for(Duration::from_micros(500));
        let waits = taker != Taker::Write && ending.wants_to_wait();
        assert!(!waits || bed.take(token, 1).is_none(), "{name}: there is no room");
        assert!(!waits || freed() == 0, "{name}: freed in flight");
    };
    match ending {
        Ending::Success => {
            let outcome = bed.end(token).expect("there is room");
            let back = bytes_back(&outcome);
            assert!(back == count * 5000 || (taker == Taker::ZeroCopy && back == 0), "{name}: {back} bytes are back");
            assert!(back == 0 || freed() == 0, "{name}: the caller has it now");
            // A kernel may give it back at once; the machine's way to the peer and back takes its time.
            assert!(bed.rung.name != "sim" || freed() == 0, "{name}: the machine still reads it");
            drop(outcome);
        }
        Ending::Hushed => {
            let deadline = bed.now() + WAIT_MAX;
            let mut landed = bed.hush(&token, 9);
            while !landed && !bed.is_spent(&token) {
                assert!(bed.now() < deadline, "{name}");
                let soon = bed.now() + Duration::from_millis(1);
                landed = !bed.enter(Wait::Until(soon)).is_empty();
            }
            bed.abandon(token);
        }
        Ending::Error => {
            let error = bed.end(token).expect_err("it cannot go");
            let expected = if taker == Taker::Write { Error::Denied } else { Error::BrokenPipe };
            assert_eq!(error, expected, "{name}");
        }
        Ending::CancelledWhileQueued => {
            bed.cancel(&token);
            assert_eq!(bed.end(token).expect_err("nothing has seen it"), Error::Cancelled, "{name}");
        }
        Ending::CancelledWhileRunning => {
            runs(&mut bed, &token);
            bed.cancel(&token);
            match bed.end(token) {
                Ok(outcome) => drop(outcome),
                Err(error) => assert_eq!(error, Error::Cancelled, "{name}"),
            }
        }
        Ending::AbandonedWhileQueued => bed.abandon(token),
        Ending::AbandonedWhileRunning => {
            runs(&mut bed, &token);
            bed.abandon(token);
        }
        Ending::AbandonedUnread => {
            bed.enter_for(Duration::from_millis(2));
            bed.abandon(token);
        }
        Ending::HandleClosed => {
            runs(&mut bed, &token);
            bed.close_all([client, disk]);
            match bed.end(token) {
                Ok(outcome) => drop(outcome),
                Err(error) => assert_eq!(error, Error::Cancelled, "{name}"),
            }
        }
        Ending::TornDown => {
            runs(&mut bed, &token);
            bed.tear_down();
            assert_eq!(freed(), count, "{name}: each buffer is freed once");
            return;
        }
    }
    bed.close_all([client, server, disk]);
    bed.finish();
    assert_eq!(freed(), count, "{name}: each buffer is freed once");
}

pub(crate) fn every_buffer_comes_home_once_in_every_ending(bed: &mut Bed) {
    let (_folder, path) = bed.scratch();
    for taker in TAKERS {
        for ending in Ending::ALL {
            check(bed, &path, taker, ending);
        }
    }
}

/// The pool and the message's own vector tell that these came back; what is given up goes home by itself, which the bed
/// finds at the end.
pub(crate) fn datagrams_and_reads_give_their_memory_back(bed: &mut Bed) {
    let (_folder, path) = bed.scratch();
    let disk = file(bed, &path, true);
    let socket = bed.datagram_socket(crate::bed::loopback()).unwrap();
    let peer = bed.local_address(socket).unwrap();
    for moment in 0..4 {
        let mut tokens = Vec::new();
        for cancelled in [false, true] {
            let into = bed.pool().lease(4000).expect("the pool has room");
            let data = pattern(100);
            let start = data.as_ptr();
            let message = shardwise_platform::Datagram { peer: Some(peer), data, segment: None, ecn: 0, source: None };
            let read = bed.start(Op::Read { file: disk, offset: 0, into });
            let send = bed.start(Op::SendMessage { socket, message: Box::new(message) });
            match moment {
                0 => {}
                1 => drop(bed.enter(Wait::No)),
                _ => bed.enter_for(Duration::from_millis(2)),
            }
            if moment == 3 {
                match bed.end(send) {
                    Ok(Outcome::SentMessage { bytes: 100, message }) => {
                        assert_eq!((message.data.as_ptr(), &message.data[..]), (start, &pattern(100)[..]));
                    }
                    other => panic!("{}: {other:?}", bed.rung.name),
                }
                assert!(matches!(bed.end(read), Ok(Outcome::Read { bytes: 0, .. })), "an empty file");
                continue;
            }
            if cancelled {
                bed.cancel(&read);
                bed.cancel(&send);
            }
            tokens.extend([read, send]);
        }
        bed.abandon_all(tokens);
        bed.settle(2);
        assert_eq!(bed.pool().stats().pooled_bytes, 0, "{}: moment {moment}", bed.rung.name);
    }
    bed.close_all([disk, socket]);
}
