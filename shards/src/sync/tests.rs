//! Order, fairness, and that a future dropped at any point takes nothing with it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::mpsc::TrySendError;
use super::{Closed, Mutex, Notify, Semaphore, TryAcquireError, mpsc, oneshot, watch};
use crate::{Shard, Simulation, yield_now};

fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(test);
}

/// Polls once, as a task that is not woken again would.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_notification_is_kept_for_the_next_once() {
    on_a_shard(async |_| {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        assert!(poll_once(pin!(notify.notified())).is_pending(), "kept once, however often");
    });
}

#[test]
fn all_that_wait_are_notified_and_nobody_else() {
    let notify = Notify::new();
    {
        let (mut first, mut second) = (pin!(notify.notified()), pin!(notify.notified()));
        assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
        notify.notify_all();
        let mut late = pin!(notify.notified());
        assert!(poll_once(late.as_mut()).is_pending());
        assert!(poll_once(first).is_ready());
        // The second is dropped after it was released: that is nobody else's.
    }
    assert!(poll_once(pin!(notify.notified())).is_pending());
}

#[test]
fn a_chosen_waiter_that_is_dropped_passes_it_on() {
    let notify = Notify::new();
    let mut first = Box::pin(notify.notified());
    let mut second = Box::pin(notify.notified());
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    notify.notify_one();
    drop(first);
    assert!(poll_once(second.as_mut()).is_ready());
}

#[test]
fn permits_go_to_who_came_first() {
    let semaphore = Semaphore::new(3);
    let all = semaphore.try_acquire(3).unwrap();
    let mut many = Box::pin(semaphore.acquire(2));
    let mut one = Box::pin(semaphore.acquire(1));
    assert!(poll_once(many.as_mut()).is_pending() && poll_once(one.as_mut()).is_pending());
    assert_eq!(semaphore.waiting(), 2);
    semaphore.add(1);
    assert_eq!(semaphore.try_acquire(1).unwrap_err(), TryAcquireError::NoPermits, "nobody overtakes");
    assert!(poll_once(one.as_mut()).is_pending(), "two are wanted by the one in front");
    drop(many);
    let Poll::Ready(Ok(permit)) = poll_once(one.as_mut()) else { panic!("the way is free") };
    assert_eq!((permit.count(), semaphore.available()), (1, 0));
    drop((permit, all, one));
    assert_eq!(semaphore.available(), 4);
}

#[test]
fn granted_permits_of_a_dropped_future_go_to_the_next() {
    let semaphore = Semaphore::new(0);
    let mut first = Box::pin(semaphore.acquire(1));
    let mut second = Box::pin(semaphore.acquire(1));
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    semaphore.add(1);
    drop(first);
    assert!(matches!(poll_once(second.as_mut()), Poll::Ready(Ok(_))));
}

#[test]
fn a_closed_semaphore_sends_everyone_away() {
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire(1).unwrap();
    let mut waiting = Box::pin(semaphore.acquire(1));
    assert!(poll_once(waiting.as_mut()).is_pending());
    semaphore.close();
    assert!(matches!(poll_once(waiting.as_mut()), Poll::Ready(Err(Closed))));
    drop(permit);
    assert_eq!(semaphore.try_acquire(1).unwrap_err(), TryAcquireError::Closed);
    assert!(matches!(poll_once(pin!(semaphore.acquire(1))), Poll::Ready(Err(Closed))));
}

#[test]
fn a_mutex_is_held_across_awaits() {
    on_a_shard(async |shard| {
        let (shared, busy) = (Rc::new(Mutex::new(0)), Rc::new(Cell::new(false)));
        let spawn = |number: u64| {
            let (shared, busy, shard_inside) = (Rc::clone(&shared), Rc::clone(&busy), shard.clone());
            let add = async move {
                let mut value = shared.lock().await;
                assert!(!busy.replace(true), "one at a time");
                let seen = *value;
                shard_inside.sleep(Duration::from_millis(number % 3)).await;
                *value = seen + 1;
                busy.set(false);
            };
            shard.spawn(add).unwrap()
        };
        for task in (0..20).map(spawn).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(*shared.try_lock().unwrap(), 20);
    });
}

#[test]
fn a_channel_bounds_what_waits_in_it() {
    let (sender, mut receiver) = mpsc::channel(2);
    assert_eq!((sender.try_send(1), sender.try_send(2)), (Ok(()), Ok(())));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    let mut blocked = Box::pin(sender.send(4));
    assert!(poll_once(blocked.as_mut()).is_pending());
    assert_eq!(receiver.try_recv(), Some(1));
    assert_eq!(sender.try_send(5), Err(TrySendError::Full(5)), "the room is promised to who waits");
    assert_eq!(poll_once(blocked.as_mut()), Poll::Ready(Ok(())));
    drop(blocked);
    assert_eq!([receiver.try_recv(), receiver.try_recv(), receiver.try_recv()], [Some(2), Some(4), None]);
    drop(receiver);
    assert_eq!(sender.try_send(6), Err(TrySendError::Closed(6)));
    assert_eq!(poll_once(pin!(sender.send(7))), Poll::Ready(Err(7)));
}

#[test]
fn a_slot_whose_receiver_has_gone_takes_nothing_and_leaks_nothing() {
    let (sender, receiver) = mpsc::channel(1);
    let Poll::Ready(Ok(slot)) = poll_once(pin!(sender.reserve())) else { panic!("there is room") };
    drop(receiver);
    let value = Rc::new(());
    slot.send(Rc::clone(&value));
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn the_last_sender_ends_a_channel() {
    on_a_shard(async |shard| {
        let (sender, mut receiver) = mpsc::channel(1);
        let other = sender.clone();
        let task = shard.spawn(async move {
            sender.send(1).await.unwrap();
            drop(sender);
            yield_now().await;
            other.send(2).await.unwrap();
        });
        assert_eq!([receiver.recv().await, receiver.recv().await, receiver.recv().await], [Some(1), Some(2), None]);
        task.unwrap().await.unwrap();
    });
}

#[test]
fn a_oneshot_carries_one_value_or_says_that_none_comes() {
    on_a_shard(async |shard| {
        let (sender, receiver) = oneshot::channel(&shard);
        let task = shard.spawn(receiver).unwrap();
        yield_now().await;
        sender.send("value").unwrap();
        assert_eq!(task.await.unwrap(), Ok("value"));

        let (sender, receiver) = oneshot::channel::<u8>(&shard);
        drop(sender);
        assert_eq!(receiver.await, Err(Closed));

        let (sender, receiver) = oneshot::channel(&shard);
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(1), Err(1));

        // A used pair is empty when it is used again.
        let (sender, mut receiver) = oneshot::channel::<u8>(&shard);
        assert_eq!(receiver.try_recv(), None);
        drop(sender);
    });
}

#[test]
fn a_watched_value_is_the_latest() {
    on_a_shard(async |shard| {
        let (sender, mut receiver) = watch::channel(0);
        let mut other = receiver.clone();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let task = {
            let seen = Rc::clone(&seen);
            shard.spawn(async move {
                while receiver.changed().await.is_ok() {
                    seen.borrow_mut().push(*receiver.get());
                }
            })
        };
        yield_now().await;
        sender.send(1);
        sender.send(2);
        yield_now().await;
        let held = sender.get();
        sender.send(3);
        assert_eq!((*held, *sender.get()), (2, 3), "what someone holds does not change");
        drop(sender);
        task.unwrap().await.unwrap();
        assert_eq!(*seen.borrow(), [2, 3], "the latest each time it looked");
        assert!(other.has_changed() && other.changed().await.is_ok());
        assert_eq!(other.changed().await, Err(Closed));
    });
}

/// Tasks acquire, are dropped in the middle, send and receive at random; at the end everything is there.
#[test]
fn nothing_is_lost_whatever_is_dropped() {
    for seed in 0..100 {
        Simulation::new(seed).run(async move |shard: Shard| {
            let semaphore = Semaphore::new(5);
            let (sender, mut receiver) = mpsc::channel::<u64>(3);
            let (sent, received) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let mut tasks = Vec::new();
            for _ in 0..30 {
                let (semaphore, sender, sent, inner) =
                    (semaphore.clone(), sender.clone(), Rc::clone(&sent), shard.clone());
                let work = async move {
                    for _ in 0..10 {
                        let patience = Duration::from_millis(inner.random() % 5);
                        let work = async {
                            let _permit = semaphore.acquire(1 + inner.random() as usize % 3).await.unwrap();
                            inner.sleep(Duration::from_millis(inner.random() % 4)).await;
                            let slot = sender.reserve().await.unwrap();
                            slot.send(1);
                            sent.set(sent.get() + 1);
                        };
                        let _ = inner.timeout(patience, work).await;
                    }
                };
                tasks.push(shard.spawn(work).unwrap());
            }
            drop(sender);
            let counter = {
                let (received, inner) = (Rc::clone(&received), shard.clone());
                shard.spawn(async move {
                    loop {
                        match inner.timeout(Duration::from_millis(1), receiver.recv()).await {
                            Ok(Some(count)) => received.set(received.get() + count),
                            Ok(None) => return,
                            Err(_) => {}
                        }
                    }
                })
            };
            for task in tasks {
                task.await.unwrap();
            }
            counter.unwrap().await.unwrap();
            assert_eq!((semaphore.available(), semaphore.waiting()), (5, 0), "seed {seed}");
            assert_eq!(received.get(), sent.get(), "seed {seed}");
            assert!(sent.get() > 0, "seed {seed}");
        });
    }
}

/// A loop over operations that are always ready lets others run: they take from the poll's budget.
#[test]
fn what_is_always_ready_gives_way() {
    on_a_shard(async |shard| {
        let turns = Rc::new(Cell::new(0));
        let other = {
            let turns = Rc::clone(&turns);
            shard.spawn(poll_fn(move |cx| {
                turns.set(turns.get() + 1);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }))
        };
        let semaphore = Semaphore::new(1);
        for _ in 0..1000 {
            let _permit = semaphore.acquire(1).await.unwrap();
        }
        assert!(turns.get() > 3, "{}", turns.get());
        drop(other);
    });
}
