#![allow(unsafe_code)]
//! A process that forks: its child has a copy of all memory and the same descriptors, and must not reach into what the
//! parent has in flight.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use shardwise_platform::{BackendKind, Op};

use crate::bed::Bed;

/// How long a child may live, in the seconds of alarm(2).
const CHILD_TIME_MAX: u32 = 5;

/// Does something in a child, and waits until that is dead.
fn in_a_child(work: impl FnOnce()) {
    // SAFETY: the child is a copy of this thread alone. It touches memory, which is its own copy, and the descriptors that
    // the test is about; it takes no lock that another thread may have held but the allocator's, which fork keeps whole; and
    // it ends below without running anything of the test harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "the system has room for a process");
    if child == 0 {
        // SAFETY: a plain system call, which bounds the child's life.
        unsafe { libc::alarm(CHILD_TIME_MAX) };
        // SAFETY: no handler is installed: the one that is there is taken away, so that a child dies without a long report.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let _ = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: a plain system call, which ends the child.
        unsafe { libc::_exit(0) }
    }
    let child = Pid::from_raw(child).expect("a child has a number");
    // How it has ended is its own affair: a ring's memory is not there in a child, so one that uses it dies.
    waitpid(Some(child), WaitOptions::empty()).expect("it is ours");
}

/// A child cancels what its parent waits for, and drops the whole reactor: the parent's receive stands, and so does the rest.
pub(crate) fn a_fork_does_not_share_the_ring(bed: &mut Bed) {
    if bed.rung.kind == BackendKind::Polling {
        // The epoll file under its poller is shared, and a report that a child takes is gone. Where this backend is at home,
        // a child has no poller: kqueue is not inherited, and Windows does not fork.
        return;
    }
    let (client, server) = bed.pair();
    let receive = bed.receive(server);
    let far = bed.now() + Duration::from_secs(60);
    let sleep = bed.start(Op::Sleep { until: far });
    bed.enter_for(Duration::from_millis(1));
    let restarts = bed.stats().restarts;
    in_a_child(|| {
        bed.cancel(&receive);
        bed.cancel(&sleep);
        bed.enter_for(Duration::from_millis(1));
    });
    in_a_child(|| {
        bed.tear_down();
    });
    bed.enter_for(Duration::from_millis(1));
    for token in [&receive, &sleep] {
        assert!(bed.take(token, 1).is_none(), "{}: nothing has happened to it", bed.rung.name);
    }
    // A stream that was cancelled from outside would have been started again without a word.
    assert_eq!(bed.stats().restarts, restarts, "{}: nothing has happened to it", bed.rung.name);
    bed.send(client, b"unharmed");
    assert_eq!(bed.read(&receive, 8), b"unharmed");
    bed.abandon_all([receive, sleep]);
    bed.close_all([client, server]);
}
