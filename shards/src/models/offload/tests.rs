//! The pool by itself, on threads of these tests' own: when threads are wanted, whose turn it is, and that all ends.

#![allow(clippy::disallowed_methods, reason = "threads and their time are what is tested")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};

use super::*;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn pool(shards: usize, threads_max: usize, queue_max: usize) -> Arc<Pool> {
    Pool::new(shards, Bounds { threads_max, queue_max, idle_time_max: SHORT })
}

fn thread(pool: &Arc<Pool>) -> JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || pool.work())
}

/// Gives a job of the first shard.
fn give<R: Send + 'static>(pool: &Arc<Pool>, job: impl FnOnce() -> R + Send + 'static) -> (Offload<R>, bool) {
    pool.give(0, &Arc::default(), None, job)
}

/// Waits for a job on this thread.
fn wait<R>(mut offload: Offload<R>) -> Result<R, OffloadError> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut offload).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park_timeout(LONG),
        }
    }
}

/// A job that runs until it is let go.
fn held() -> (impl FnOnce() + Send, Sender<()>, Receiver<()>) {
    let ((let_go, gate), (begun, begins)) = (channel(), channel());
    let job = move || {
        begun.send(()).unwrap();
        let _ = gate.recv_timeout(LONG);
    };
    (job, let_go, begins)
}

#[test]
fn threads_are_wanted_for_jobs_that_no_idle_one_is_there_for() {
    let pool = pool(1, 2, 10);
    let (first, wanted) = give(&pool, || 1);
    assert!(wanted, "there is none");
    let (second, wanted) = give(&pool, || 2);
    assert!(wanted, "one comes for the first");
    let (third, wanted) = give(&pool, || 3);
    assert!(!wanted, "there are as many as may be");
    let threads = [thread(&pool), thread(&pool)];
    assert_eq!([first, second, third].map(|job| wait(job).unwrap()), [1, 2, 3]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn idle_threads_end_and_others_start_when_jobs_come() {
    let pool = pool(1, 4, 10);
    for round in 0..3 {
        let (job, wanted) = give(&pool, move || round);
        assert!(wanted, "the last one has ended");
        let thread = thread(&pool);
        assert_eq!(wait(job).unwrap(), round);
        thread.join().unwrap();
        assert_eq!(pool.lock().threads, 0);
    }
}

#[test]
fn a_thread_that_does_not_come_is_told_as_overload_unless_others_are_there() {
    let pool = pool(1, 4, 10);
    let ran = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ran);
    let (job, wanted) = give(&pool, move || seen.store(true, Ordering::Relaxed));
    assert!(wanted);
    pool.lost_thread();
    assert!(matches!(wait(job), Err(OffloadError::Full)));
    assert_eq!((pool.lock().queued, Arc::strong_count(&ran)), (0, 1), "the job is dropped");

    let (hold, let_go, begins) = held();
    let (holding, _) = give(&pool, hold);
    let thread = thread(&pool);
    begins.recv_timeout(LONG).unwrap();
    let (job, wanted) = give(&pool, || 7);
    assert!(wanted);
    pool.lost_thread();
    let_go.send(()).unwrap();
    assert_eq!((wait(holding).is_ok(), wait(job).unwrap()), (true, 7));
    thread.join().unwrap();
    assert!(!ran.load(Ordering::Relaxed));
}

#[test]
fn shards_are_served_in_turn() {
    let pool = pool(3, 1, 100);
    let (order, stats) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
    let (hold, let_go, begins) = held();
    let (holding, _) = give(&pool, hold);
    let thread = thread(&pool);
    begins.recv_timeout(LONG).unwrap();
    // The first floods its queue before the others come.
    let jobs: Vec<_> = [0, 0, 0, 0, 0, 1, 1, 2]
        .into_iter()
        .map(|shard| {
            let order = Arc::clone(&order);
            pool.give(shard, &stats, None, move || order.lock().unwrap().push(shard)).0
        })
        .collect();
    let_go.send(()).unwrap();
    wait(holding).unwrap();
    jobs.into_iter().for_each(|job| wait(job).unwrap());
    assert_eq!(*order.lock().unwrap(), [1, 2, 0, 1, 0, 0, 0, 0]);
    assert_eq!((stats.offload_done.get(), stats.offload_queued.get(), stats.offload_running.get()), (8, 0, 0));
    thread.join().unwrap();
}

#[test]
fn a_closed_pool_lets_its_threads_go_and_says_so_to_those_who_wait() {
    let pool = pool(1, 1, 10);
    let (hold, let_go, begins) = held();
    let (holding, _) = give(&pool, hold);
    let thread = thread(&pool);
    begins.recv_timeout(LONG).unwrap();
    let (waiting, _) = give(&pool, || ());
    pool.close();
    assert!(matches!(wait(waiting), Err(OffloadError::Stopped)));
    assert!(matches!(wait(give(&pool, || ()).0), Err(OffloadError::Stopped)));
    assert_eq!(pool.wait_for_threads(SHORT), 1, "what runs goes on");
    let_go.send(()).unwrap();
    assert_eq!(pool.wait_for_threads(LONG), 0);
    assert!(wait(holding).is_ok(), "and its result is there");
    thread.join().unwrap();
}

#[test]
fn what_panics_when_it_is_dropped_harms_no_thread() {
    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    let pool = pool(1, 1, 10);
    let (hold, let_go, begins) = held();
    let (unwanted, _) = give(&pool, move || {
        hold();
        Grenade
    });
    let thread = thread(&pool);
    begins.recv_timeout(LONG).unwrap();
    drop(unwanted);
    let (mines, _) = give(&pool, {
        let mine = Grenade;
        move || drop(mine)
    });
    let_go.send(()).unwrap();
    assert!(matches!(wait(mines), Err(OffloadError::Panicked(_))));
    assert_eq!(wait(give(&pool, || 5).0).unwrap(), 5);
    thread.join().unwrap();
    assert_eq!(pool.lock().running, 0);
}
