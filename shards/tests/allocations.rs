//! In the steady state what tasks are made of and wait for each other with costs no heap allocation: counted on a shard's own
//! thread, once for each thing that a task may do. What allocates by design stands here too, with its count.

#![allow(clippy::disallowed_methods, reason = "a thread beside the shard wakes its tasks")]
#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod counting;

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use counting::COUNT;
use shardwise_shards::combine::budget::{self, Budget};
use shardwise_shards::combine::{Backoff, all, defer, race, race_ok, retry, try_all};
use shardwise_shards::sync::{Mutex, Notify, Semaphore, mpsc, oneshot, watch};
use shardwise_shards::{Runtime, Shard, yield_now};

/// How often each thing is done while it is counted, and before that: what is made once and kept is made then.
const ROUNDS: u32 = 500;

/// Rounds of what takes a tick of the timer wheel.
const SLOW_ROUNDS: u32 = 20;

/// Tasks of a crowd.
const CROWD: usize = 50;

/// Runs `main` on one shard of a real machine: a simulated one counts its own events.
fn on_a_shard(main: impl AsyncFn(Shard) + Send + Sync + 'static) {
    let run = Runtime::builder().shards(1).oversubscribe(true).handle_signals(false).announce(false);
    let run = run.run(async move |shard: Shard| {
        main(shard).await;
        Ok::<_, String>(())
    });
    run.expect("it runs to its end");
}

/// What doing a thing so often allocates, once it has been done as often before.
async fn check_rounds(name: &str, rounds: u32, expect: u64, mut round: impl AsyncFnMut(u32)) {
    for is_counted in [false, true] {
        COUNT.set(Some(0));
        for number in 0..rounds {
            round(number).await;
        }
        // What it has left to other tasks is done now.
        yield_now().await;
        let count = COUNT.take().expect("it counts");
        assert!(!is_counted || count == expect, "{name}: {count} allocations in {rounds} rounds, and not {expect}");
    }
}

async fn check(name: &str, round: impl AsyncFnMut(u32)) {
    check_rounds(name, ROUNDS, 0, round).await;
}

#[test]
fn tasks() {
    on_a_shard(async |shard| {
        check("spawn and join", async |number| {
            assert_eq!(shard.spawn(async move { number }).unwrap().await.unwrap(), number);
        })
        .await;
        check("spawn and join, large", async |number| {
            let large = [number; 1000];
            let work = async move {
                yield_now().await;
                large[999]
            };
            assert_eq!(shard.spawn(work).unwrap().await.unwrap(), number);
        })
        .await;
        check("spawn and detach", async |_| {
            shard.spawn(async {}).unwrap().detach();
            yield_now().await;
        })
        .await;
        check("spawn and abort", async |_| {
            let task = shard.spawn(std::future::pending::<()>()).unwrap();
            yield_now().await;
            task.abort();
            assert!(task.await.is_err());
        })
        .await;
        check("a crowd at once", async |_| {
            let mut crowd: [_; CROWD] = std::array::from_fn(|number| {
                let work = async move {
                    yield_now().await;
                    number
                };
                shard.spawn(work).unwrap()
            });
            for (number, task) in crowd.iter_mut().enumerate() {
                assert_eq!(task.await.unwrap(), number);
            }
        })
        .await;
        check("lease", async |number| assert_eq!(shard.lease(async move { number }).await, number)).await;
        check("shield", async |number| assert_eq!(shard.shield(async move { number }).await.unwrap(), number)).await;
        check_rounds("what is too large for a slot", ROUNDS, u64::from(ROUNDS), async |_| {
            let huge = [7u8; 20_000];
            let work = async move {
                yield_now().await;
                huge[0]
            };
            assert_eq!(shard.spawn(work).unwrap().await.unwrap(), 7);
        })
        .await;
    });
}

#[test]
fn wakes() {
    on_a_shard(async |shard| {
        check("yield", async |_| yield_now().await).await;
        check("a waker is cloned and wakes its own task", async |_| {
            let mut kept: Option<Waker> = None;
            poll_fn(|cx| match kept.take() {
                Some(waker) => {
                    assert!(waker.will_wake(cx.waker()));
                    Poll::Ready(())
                }
                None => {
                    kept = Some(cx.waker().clone());
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
        })
        .await;
        // Another thread wakes: it is handed a waker each time, over a channel that is made once.
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Waker>(1);
        let other = std::thread::spawn(move || receiver.into_iter().for_each(Waker::wake));
        check("another thread wakes", async |_| {
            let mut is_asked = false;
            poll_fn(|cx| match std::mem::replace(&mut is_asked, true) {
                true => Poll::Ready(()),
                false => {
                    sender.send(cx.waker().clone()).expect("the thread lives");
                    Poll::Pending
                }
            })
            .await;
        })
        .await;
        drop(sender);
        other.join().expect("it only wakes");
        drop(shard);
    });
}

#[test]
fn timers() {
    let millisecond = Duration::from_millis(1);
    on_a_shard(async move |shard| {
        check_rounds("sleep", SLOW_ROUNDS, 0, async |_| shard.sleep(millisecond).await).await;
        check("an alarm that is set and dropped", async |_| {
            let mut alarm = shard.sleep(1000 * millisecond);
            poll_fn(|cx| {
                assert!(alarm.poll_rung(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        })
        .await;
        let mut alarm = shard.alarm(shard.clock() + 1000 * millisecond);
        check("an alarm that is set again and again", async |number| {
            alarm.set(shard.now() + (1000 + number % 7) * millisecond);
            poll_fn(|cx| {
                assert!(alarm.poll_rung(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        })
        .await;
        check("a timeout that does not come", async |number| {
            let work = async move {
                yield_now().await;
                number
            };
            assert_eq!(shard.timeout(1000 * millisecond, work).await, Ok(number));
        })
        .await;
        check_rounds("a timeout that comes", SLOW_ROUNDS, 0, async |_| {
            assert!(shard.timeout(millisecond, std::future::pending::<()>()).await.is_err());
        })
        .await;
        check_rounds("a crowd sleeps", SLOW_ROUNDS, 0, async |round| {
            let mut crowd: [_; CROWD] = std::array::from_fn(|number| {
                // In every other round all wake at once, as they may in any round on a machine that is held up.
                let time = (1 + (number as u32 * (round % 2) + round) % 3) * millisecond;
                let sleeper = shard.clone();
                shard.spawn(async move { sleeper.sleep(time).await }).unwrap()
            });
            for task in &mut crowd {
                task.await.unwrap();
            }
        })
        .await;
    });
}

#[test]
fn channels_and_locks() {
    on_a_shard(async |shard| {
        let (sender, mut receiver) = mpsc::channel(4);
        check("mpsc: a value at a time", async |number| {
            sender.send(number).await.unwrap();
            assert_eq!(receiver.recv().await, Some(number));
        })
        .await;
        check("mpsc: senders that wait for room", async |_| {
            let send = async |count: u32| {
                for number in 0..count {
                    sender.send(number).await.unwrap();
                }
            };
            let take = async {
                for _ in 0..30 {
                    receiver.recv().await.unwrap();
                }
            };
            all((send(10), send(10), send(10), take)).await;
        })
        .await;
        check("mpsc: a clone of the sender", async |number| {
            assert!(sender.clone().try_send(number).is_ok());
            assert_eq!(receiver.try_recv(), Some(number));
        })
        .await;
        check("oneshot", async |number| {
            let (sender, receiver) = oneshot::channel(&shard);
            let task = shard.spawn(async move { sender.send(number) }).unwrap();
            assert_eq!(receiver.await, Ok(number));
            task.await.unwrap().unwrap();
        })
        .await;
        check("oneshot: nobody sends", async |_| {
            let (sender, receiver) = oneshot::channel::<u32>(&shard);
            drop(sender);
            assert!(receiver.await.is_err());
        })
        .await;
        let (setter, mut watcher) = watch::channel(0);
        check("watch", async |number| {
            let changed = watcher.changed();
            let set = async { setter.send(number) };
            let (changed, ()) = all((changed, set)).await;
            changed.unwrap();
            assert_eq!(*setter.get(), number);
        })
        .await;
        check_rounds("watch: somebody holds the old value", ROUNDS, u64::from(ROUNDS), async |number| {
            let _old = setter.get();
            setter.send(number);
        })
        .await;
        let notify = Rc::new(Notify::new());
        check("notify one, notify all", async |_| {
            let one = async { notify.notify_one() };
            all((notify.notified(), one)).await;
            let everyone = async { notify.notify_all() };
            all((notify.notified(), notify.notified(), notify.notified(), everyone)).await;
            drop(notify.notified());
        })
        .await;
        let semaphore = Semaphore::new(2);
        check("semaphore", async |_| {
            let work = async |count: usize| {
                let _permit = semaphore.acquire(count).await.unwrap();
                yield_now().await;
            };
            all((work(1), work(2), work(1), work(2))).await;
            assert_eq!(semaphore.available(), 2);
        })
        .await;
        let mutex = Mutex::new(0);
        check("mutex", async |_| {
            let add = async || {
                let mut guard = mutex.lock().await;
                yield_now().await;
                *guard += 1;
            };
            all((add(), add(), add())).await;
        })
        .await;
    });
}

#[test]
fn scopes() {
    on_a_shard(async |shard| {
        check("a child that is dropped", async |number| {
            let child = shard.scope().child("request").unwrap().numbered(u64::from(number));
            assert!(child.check().is_ok());
        })
        .await;
        check("a family that is cancelled", async |_| {
            let child = shard.scope().child("request").unwrap();
            let grandchildren: [_; 4] = std::array::from_fn(|_| child.child("query").unwrap());
            child.cancel("the client is gone");
            assert!(grandchildren.iter().all(|grandchild| grandchild.is_cancelled()));
        })
        .await;
        check("a task in a scope", async |number| {
            let child = shard.scope().child("request").unwrap();
            assert_eq!(child.spawn(async move { number }).unwrap().await.unwrap(), Ok(number));
        })
        .await;
        check("tasks that end with their scope, and its gate", async |_| {
            let child = shard.scope().child("request").unwrap();
            let mut tasks: [_; 4] = std::array::from_fn(|_| child.spawn(std::future::pending::<()>()).unwrap());
            yield_now().await;
            child.cancel("enough");
            child.gate().await;
            for task in &mut tasks {
                assert!(task.await.unwrap().is_err());
            }
        })
        .await;
        check("work in a scope, with a deadline", async |number| {
            let child = shard.scope().child("request").unwrap();
            let child = child.with_deadline(shard.now() + Duration::from_secs(10));
            let work = async move {
                yield_now().await;
                number
            };
            assert_eq!(child.run(work).await, Ok(number));
        })
        .await;
        check("passes", async |_| {
            let child = shard.scope().child("request").unwrap();
            let (first, second) = (child.pass(), child.pass());
            let leave = async {
                drop(first);
                yield_now().await;
                drop(second);
            };
            all((child.gate(), leave)).await;
        })
        .await;
    });
}

#[test]
fn combinators() {
    on_a_shard(async |shard| {
        let branch = async |number: u32, polls: u32| {
            for _ in 0..polls {
                yield_now().await;
            }
            number
        };
        check("race of eight", async |n| {
            let first = race((
                branch(n, 9),
                branch(n, 8),
                branch(n, 7),
                branch(n, 6),
                branch(n, 5),
                branch(n, 4),
                branch(n, 3),
                branch(n, 2),
            ));
            assert_eq!(first.await, n);
        })
        .await;
        check("all of eight", async |n| {
            let every = all((
                branch(n, 9),
                branch(n, 8),
                branch(n, 7),
                branch(n, 6),
                branch(n, 5),
                branch(n, 4),
                branch(n, 3),
                branch(n, 2),
            ));
            assert_eq!(every.await.7, n);
        })
        .await;
        let fallible = async |polls: u32, fails: bool| {
            branch(polls, polls).await;
            if fails { Err(polls) } else { Ok(polls) }
        };
        check("try_all and race_ok of eight", async |_| {
            let f = &fallible;
            let none = try_all((
                f(9, false),
                f(8, true),
                f(7, false),
                f(6, false),
                f(5, false),
                f(4, true),
                f(3, false),
                f(2, false),
            ));
            assert_eq!(none.await, Err(4));
            let one = race_ok((
                f(9, true),
                f(8, false),
                f(7, true),
                f(6, true),
                f(5, true),
                f(4, true),
                f(3, true),
                f(2, true),
            ));
            assert_eq!(one.await, Ok(8));
        })
        .await;
        check("deadline", async |number| {
            let deadline = shard.now() + Duration::from_secs(10);
            assert_eq!(shard.deadline(deadline, branch(number, 2)).await, Ok(number));
        })
        .await;
        check("defer", async |_| drop(defer(|| ()))).await;
        let budget = RefCell::new(Budget::new(budget::Config { share: 2.0, ..Default::default() }));
        let at_once = Backoff { pause_first: Duration::ZERO, ..Backoff::USUAL };
        check("retry", async |_| {
            let work = async |attempt: shardwise_shards::combine::Attempt| match attempt.is_last {
                true => Ok(attempt.number),
                false => Err("not yet"),
            };
            assert_eq!(retry(&shard, at_once, Some(&budget), |_| true, work).await, Ok(3));
        })
        .await;
    });
}
