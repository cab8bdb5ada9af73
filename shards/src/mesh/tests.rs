use platform::spsc::{Producer, ring};

use crate::atomics::model::{Arc, explore, spawn};
use crate::park::Sleep;

/// A receiver looks at a lane as it does before it sleeps, while its peer does something to that lane and then notifies it.
/// Whatever the interleaving: it sees what was done, or is woken.
fn check(act: impl Fn(Producer<u64>) -> Option<Producer<u64>> + Copy + Send + Sync + 'static) {
    explore(move || {
        let sleep = Arc::new(Sleep::new());
        let (producer, consumer) = ring::<u64>(2);
        let peer = {
            let sleep = sleep.clone();
            spawn(move || {
                let producer = act(producer);
                let woke = sleep.wake();
                (producer, woke)
            })
        };
        let sleeps = sleep.prepare(|| consumer.is_empty() && !consumer.is_closed());
        let (_producer, woke) = peer.join().unwrap();
        assert!(!sleeps || woke, "it sleeps, and nobody wakes it");
        sleep.awake();
    });
}

#[test]
fn loom_a_message_is_seen_or_wakes() {
    check(|mut producer| {
        producer.push(1).unwrap();
        producer.publish();
        Some(producer)
    });
}

#[test]
fn loom_the_end_of_a_peer_is_seen_or_wakes() {
    check(|producer| {
        drop(producer);
        None
    });
}
