//! The bell: whoever waits for it in a reactor's place hears of everything, by level and by edge, and is left in peace
//! otherwise.

#![allow(clippy::disallowed_methods, reason = "what comes from outside comes from other threads, in real time")]

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shardwise_platform::{BackendKind, Bell, Error, Holdings, Op, Outcome, Token};

use crate::bed::{Bed, WAIT_MAX};
use crate::files::{open, open_file};

/// How a host waits for a descriptor.
trait Host {
    /// Waits until it hears the bell.
    fn hears(&self, time: Duration) -> bool;
}

/// Asks whether it is readable now.
struct Level(Bell);

impl Host for Level {
    fn hears(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap();
        let mut waited = [PollFd::new(&self.0, PollFlags::IN)];
        uninterrupted(|| poll(&mut waited, Some(&time))) > 0
    }
}

/// Is told once each time that it becomes readable.
#[cfg(target_os = "linux")]
struct Edge(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Host for Edge {
    fn hears(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap();
        let mut events = Vec::with_capacity(1);
        let mut wait = || rustix::event::epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&time));
        uninterrupted(&mut wait) > 0
    }
}

/// Waits again when a wait ends early: a ring may use a signal to have its work done.
fn uninterrupted(mut wait: impl FnMut() -> rustix::io::Result<usize>) -> usize {
    loop {
        match wait() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.unwrap(),
        }
    }
}

pub(crate) fn a_bell_is_heard_by_level(bed: &mut Bed) {
    let bell = bed.bell().expect("a bell");
    rings_for_everything(bed, &Level(bell));
}

#[cfg(target_os = "linux")]
pub(crate) fn a_bell_is_heard_by_edges(bed: &mut Bed) {
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
    let epoll = create(CreateFlags::CLOEXEC).unwrap();
    let bell = bed.bell().expect("a bell");
    add(&epoll, bell.as_fd(), EventData::new_u64(0), EventFlags::IN | EventFlags::ET).unwrap();
    rings_for_everything(bed, &Edge(epoll));
}

fn rings_for_everything(bed: &mut Bed, host: &impl Host) {
    // A connection, and bytes both ways.
    let (listener, address) = bed.listener();
    let accept = bed.start(Op::Accept { listener });
    quiet(bed, host);
    let client = bed.stream_socket(address).unwrap();
    let connect = bed.start(Op::Connect { socket: client, peer: address });
    let Outcome::Accepted(server) = comes(bed, host, &accept) else { panic!("an accept gives connections") };
    comes(bed, host, &connect);
    let at_server = bed.receive(server);
    for _ in 0..10 {
        quiet(bed, host);
        let send = bed.start(Op::Send { socket: client, data: "news".into(), zero_copy: false });
        assert!(matches!(comes(bed, host, &at_server), Outcome::Received(_)));
        comes(bed, host, &send);
    }
    // What comes from outside, and not by an operation of the reactor's own.
    let outside = std::net::TcpStream::connect(address).unwrap();
    let Outcome::Accepted(inside) = comes(bed, host, &accept) else { panic!("an accept gives connections") };
    let at_inside = bed.receive(inside);
    for _ in 0..10 {
        quiet(bed, host);
        let mut outside = outside.try_clone().unwrap();
        std::thread::spawn(move || {
            pause();
            std::io::Write::write_all(&mut outside, b"news").unwrap();
        });
        assert!(matches!(comes(bed, host, &at_inside), Outcome::Received(_)));
    }
    // Other threads' calls, also those that come before anybody waits.
    for number in 0..10 {
        quiet(bed, host);
        let unparker = bed.unparker.clone();
        match number % 2 {
            0 => unparker.unpark(),
            // By now it waits.
            _ => {
                _ = std::thread::spawn(move || {
                    pause();
                    unparker.unpark();
                })
            }
        }
        assert!(host.hears(WAIT_MAX), "{}: another thread's call is heard", bed.rung.name);
    }
    // Files, which a kernel or our own threads read aside.
    let path = crate::host::source();
    let file = open(bed, open_file(&path)).unwrap();
    for _ in 0..20 {
        quiet(bed, host);
        let into = bed.pool().lease(64).unwrap();
        let reading = bed.start(Op::Read { file, offset: 0, into });
        assert!(matches!(comes(bed, host, &reading), Outcome::Read { .. }));
    }
    // A time of the reactor's own is told by the bell or by the moment to come again.
    let until = bed.now() + Duration::from_millis(3);
    let sleep = bed.start(Op::Sleep { until });
    assert!(matches!(comes(bed, host, &sleep), Outcome::Elapsed));
    bed.abandon_all([accept, at_server, at_inside]);
    bed.close_all([listener, client, server, inside, file]);
    // What is given up is told of as well, or nobody would come to give it back.
    loop {
        let due = bed.settle_once(&mut Vec::new());
        if bed.holdings() == Holdings::default() {
            return;
        }
        let time = due.map_or(WAIT_MAX, |at| at.saturating_duration_since(bed.now()));
        assert!(host.hears(time) || due.is_some(), "{}: {:?} are left", bed.rung.name, bed.holdings());
    }
}

/// The result of an operation, by a host that comes when the bell rings and at no other time.
#[track_caller]
fn comes(bed: &mut Bed, host: &impl Host, token: &Token) -> Outcome {
    let deadline = bed.now() + WAIT_MAX;
    loop {
        if let Some(completion) = bed.take(token, 1) {
            return completion.result.expect("no error");
        }
        assert!(bed.now() < deadline, "{}: a completion is heard of", bed.rung.name);
        hear(bed, host);
    }
}

/// Settles, and waits as a host does unless somebody was woken.
fn hear(bed: &mut Bed, host: &impl Host) {
    let mut woken = Vec::new();
    let due = bed.settle_once(&mut woken);
    if woken.is_empty() {
        let time = due.map_or(WAIT_MAX, |at| at.saturating_duration_since(bed.now()));
        host.hears(time);
    }
}

/// With nothing to do it is silent, so that an idle host sleeps.
#[track_caller]
fn quiet(bed: &mut Bed, host: &impl Host) {
    for _ in 0..20 {
        let due = bed.settle_once(&mut Vec::new());
        let is_due = due.is_some_and(|at| at <= bed.now());
        if !host.hears(Duration::from_millis(1)) && !is_due {
            return;
        }
    }
    panic!("{}: the bell rings for nothing", bed.rung.name);
}

/// Long enough for whoever is about to wait.
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// A kind of backend that cannot be waited for says so.
pub(crate) fn a_simulated_machine_has_no_bell(bed: &mut Bed) {
    match bed.rung.kind {
        BackendKind::Sim => assert!(matches!(bed.bell(), Err(Error::Unsupported))),
        _ => assert!(bed.bell().is_ok()),
    }
}
