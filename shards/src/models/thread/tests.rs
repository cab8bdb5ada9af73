//! Waiting on threads: what a private shard can do, and what ends a wait in a pool's thread.

#![allow(clippy::disallowed_methods, reason = "threads of one's own are what is tested")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::sync::oneshot;
use crate::{Model, Wait, model};

const NAP: Duration = Duration::from_millis(5);

/// Runs `body` on a thread of its own, so that its private shard ends with the test.
fn on_a_thread<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn a_thread_sleeps_on_a_shard_of_its_own() {
    on_a_thread(|| {
        assert!(Shard::current().is_none());
        let shard = Shard::here();
        assert_eq!((shard.number(), shard.count(), model()), (0, 1, Model::Thread));
        for _ in 0..3 {
            let begin = Instant::now();
            assert_eq!(shard.sleep(NAP).wait(), Ok(()));
            assert!(begin.elapsed() >= NAP);
        }
        let inside = async { Shard::current().map(|shard| Rc::as_ptr(&shard.0)) };
        assert_eq!(inside.wait(), Ok(Some(Rc::as_ptr(&shard.0))), "the same one");
        assert!(Shard::current().is_none());
    });
}

#[test]
fn tasks_of_the_private_shard_run_while_their_thread_waits() {
    on_a_thread(|| {
        let shard = Shard::here();
        let (sender, receiver) = oneshot::channel(&shard);
        let sleeper = shard.clone();
        let task = shard.spawn(async move {
            sleeper.sleep(NAP).await;
            let _ = sender.send(7);
        });
        assert_eq!(receiver.wait().unwrap().ok(), Some(7));
        assert!(task.unwrap().wait().unwrap().is_ok());
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    on_a_thread(|| {
        let remote = Shard::here().remote();
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let (waker, wakers) = std::sync::mpsc::channel::<Waker>();
        let other = std::thread::spawn(move || {
            for waker in wakers {
                std::thread::sleep(NAP / 5);
                counted.fetch_add(1, Ordering::SeqCst);
                waker.wake();
            }
            remote.send(|_| ()).expect("its shard is there")
        });
        for round in 1..=20 {
            let mut sent = false;
            poll_fn(|cx| {
                if !std::mem::replace(&mut sent, true) {
                    waker.send(cx.waker().clone()).expect("it listens");
                }
                if count.load(Ordering::SeqCst) >= round { Poll::Ready(()) } else { Poll::Pending }
            })
            .wait()
            .unwrap();
        }
        drop(waker);
        other.join().unwrap();
    });
}

#[test]
fn a_panic_of_the_future_comes_through_and_the_shard_lives_on() {
    on_a_thread(|| {
        let caught = std::panic::catch_unwind(|| async { panic!("of the future") }.wait());
        let caught = caught.expect_err("it panics");
        assert_eq!(caught.downcast_ref::<&str>(), Some(&"of the future"));
        assert_eq!(Shard::here().sleep(NAP).wait(), Ok(()));
    });
}

#[test]
fn a_pools_thread_is_told_at_once_that_nobody_waits() {
    on_a_thread(|| {
        let cancel = CancelFlag::new();
        let other = cancel.clone();
        let (began, begin) = std::sync::mpsc::channel::<()>();
        let canceller = std::thread::spawn(move || {
            begin.recv().unwrap();
            std::thread::sleep(NAP);
            other.set(Cause::Asked("gone"));
            other.set(Cause::Dropped);
        });
        let gone = Err(Cancelled { cause: Cause::Asked("gone") });
        on_pool_thread(&cancel, || {
            assert_eq!(model(), Model::Offload);
            assert_eq!(Shard::here().sleep(NAP / 5).wait(), Ok(()), "not yet");
            began.send(()).unwrap();
            let start = Instant::now();
            assert_eq!(std::future::pending::<()>().wait(), gone);
            assert!(start.elapsed() < Duration::from_secs(5));
            assert_eq!(async { 1 }.wait(), gone.map(|()| 1), "every later one too");
        });
        canceller.join().unwrap();
        assert_eq!(model(), Model::Thread);
        assert_eq!(async { 1 }.wait(), Ok(1), "the thread's own waits are not cancelled");
        assert_eq!(cancel.check(), gone);
    });
}

#[test]
fn many_threads_come_and_go() {
    for _ in 0..5 {
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| Shard::here().sleep(NAP).wait())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    }
}
