use crate::atomics::model::{Arc, explore, spawn};
use crate::atomics::{AtomicU64, Ordering};

use super::Sleep;

/// One receiver looks at an inbox and wants to sleep, while some senders publish to it. Whatever the interleaving: if
/// the receiver sleeps, somebody wakes it; and no more than one of the senders pays for that.
fn check(senders: u64) {
    explore(move || {
        let sleep = Arc::new(Sleep::new());
        let inbox = Arc::new(AtomicU64::new(0));
        let senders: Vec<_> = (0..senders)
            .map(|_| {
                let (sleep, inbox) = (sleep.clone(), inbox.clone());
                spawn(move || {
                    inbox.fetch_add(1, Ordering::Relaxed);
                    sleep.wake()
                })
            })
            .collect();
        let count = senders.len();
        let sleeps = sleep.prepare(|| inbox.load(Ordering::Relaxed) == 0);
        let unparks = senders.into_iter().map(|sender| sender.join().unwrap()).filter(|&woke| woke).count();
        assert!(unparks <= 1, "{unparks} of {count} senders unpark");
        if sleeps {
            assert_eq!(unparks, 1, "the receiver sleeps and nobody unparks it");
        }
        sleep.awake();
    });
}

#[test]
fn loom_one_sender_is_seen_or_wakes() {
    check(1);
}

#[test]
fn loom_of_two_senders_one_wakes() {
    check(2);
}

/// A receiver that sleeps, is woken, and sleeps again, while one sender publishes twice: the second publication is not
/// lost either, although the first one's wake may still be on its way.
#[test]
fn loom_the_second_sleep_is_woken_too() {
    explore(|| {
        let sleep = Arc::new(Sleep::new());
        let inbox = Arc::new(AtomicU64::new(0));
        let sender = {
            let (sleep, inbox) = (sleep.clone(), inbox.clone());
            spawn(move || {
                [1, 2].map(|value| {
                    inbox.store(value, Ordering::Relaxed);
                    sleep.wake()
                })
            })
        };
        let mut taken = 0;
        let mut sleeps = 0;
        let mut up = true;
        for _ in 0..2 {
            taken = inbox.load(Ordering::Relaxed);
            up = !sleep.prepare(|| inbox.load(Ordering::Relaxed) == taken);
            if up {
                continue;
            }
            sleeps += 1;
            if sleeps == 1 {
                // Sleeps may end by themselves.
                sleep.awake();
            }
        }
        let unparks = sender.join().unwrap();
        // Asleep at the end with something new: one of the two wakes must have said so.
        if !up && sleeps == 2 && inbox.load(Ordering::Relaxed) != taken {
            assert!(unparks[0] || unparks[1]);
        }
    });
}

#[test]
fn an_awake_receiver_costs_no_unpark() {
    let sleep = Sleep::new();
    assert!(!sleep.wake());
    assert!(!sleep.prepare(|| false), "something is pending");
    assert!(!sleep.wake(), "so the receiver is up");
    assert!(sleep.prepare(|| true));
    assert!(sleep.wake());
    assert!(!sleep.wake(), "one unpark is enough");
    assert!(sleep.prepare(|| true));
    sleep.awake();
    assert!(!sleep.wake());
}
