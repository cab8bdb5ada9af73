//! Two processes within one, tied by a ferry.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread::sleep;
use std::time::Duration;

use super::*;

fn stray(text: &str) -> Stray {
    let peer = "192.0.2.7:4433".parse().unwrap();
    Stray { data: Bytes::copy_from_slice(text.as_bytes()), peer, local: Some("127.0.0.1".parse().unwrap()), ecn: 2 }
}

#[test]
fn what_is_written_is_read() {
    let addresses = ["1.2.3.4:5", "[::ffff:1.2.3.4]:5", "[2001:db8::1]:65535", "[fe80::1%9]:1"];
    let locals = [None, Some("127.0.0.1".parse().unwrap()), Some("::ffff:127.0.0.1".parse().unwrap())];
    for (peer, local) in addresses.iter().flat_map(|peer| locals.map(|local| (peer, local))) {
        let stray = Stray { peer: peer.parse().unwrap(), local, ..stray("datagram") };
        let message = [&head(STRAY, 70_000, 1023, Some(&stray))[..], &stray.data].concat();
        assert_eq!(read(&message), Some((STRAY, 70_000, 1023, Some(stray))));
        // Whatever else comes is nothing, or an empty one.
        (0..HEAD_BYTES).for_each(|len| assert_eq!(read(&message[..len]), None));
    }
    assert_eq!(read(&head(OVER, 3, 0, None)), Some((OVER, 3, 0, None)));
}

#[test]
fn a_successor_begins_when_all_have_stopped_and_each_gets_what_is_its_own() {
    let (before, after) = (Arc::<Ferries>::default(), Arc::<Ferries>::default());
    let _other = before.cross(3, None, 1);
    let mut old = before.cross(4, None, 2);
    let (here, there) = Ferry::pair().unwrap();
    before.tie(Neighbour::Successor, here).unwrap();
    after.tie_to_predecessor(there).unwrap();
    // The one has other numbers than the other, and more shards.
    let new = after.cross(0, Some(4), 3);
    let fresh = after.cross(1, None, 1);
    assert!(old.iter().chain(&fresh).all(may_begin), "nobody was before them");

    assert!(!may_begin(&new[2]));
    assert!(old[0].forward(Neighbour::Successor, 2, &stray("ahead")));
    assert_eq!(next(&new[2]), stray("ahead"));
    old[0].stop();
    old[0].stop();
    assert!(new[1].forward(Neighbour::Predecessor, 0, &stray("behind")));
    assert!(new[1].forward(Neighbour::Predecessor, 9, &stray("to a shard that is not there")));
    assert!(new[2].forward(Neighbour::Predecessor, 1, &stray("behind, too")));
    assert_eq!((next(&old[0]), next(&old[1])), (stray("behind"), stray("behind, too")));
    assert!(!may_begin(&new[2]), "one shard still receives");
    let last = old.pop();
    drop(last);
    until(|| may_begin(&new[2]));
    assert!(new.iter().all(may_begin));
    assert!(!fresh[0].forward(Neighbour::Predecessor, 0, &stray("of nobody's")));
    assert!(!new[0].forward(Neighbour::Successor, 0, &stray("of nobody's")));
}

#[test]
fn without_its_predecessor_a_process_begins_at_once() {
    let ferries = Arc::<Ferries>::default();
    let (here, there) = Ferry::pair().unwrap();
    ferries.tie_to_predecessor(there).unwrap();
    let strays = ferries.cross(0, Some(0), 1).remove(0);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(strays.poll_begin(&mut Context::from_waker(&waker)).is_pending());
    drop(here);
    until(|| woken.0.load(Ordering::Acquire) > 0);
    assert!(may_begin(&strays));
    assert!(!strays.forward(Neighbour::Predecessor, 0, &stray("too late")));
    assert!(may_begin(&ferries.cross(1, Some(1), 1)[0]), "nor does one wait that comes later");
}

#[test]
fn what_nobody_takes_is_dropped_and_counted() {
    let ferries = Arc::<Ferries>::default();
    let strays = ferries.cross(0, None, 1).remove(0);
    for _ in 0..STRAYS_MAX + 5 {
        ferries.arrive(Neighbour::Successor, &[&head(STRAY, 0, 0, Some(&stray("")))[..], b"data"].concat());
    }
    assert_eq!(strays.dropped(), 5);
    for _ in 0..STRAYS_MAX {
        assert_eq!(next(&strays), stray("data"));
    }
    assert!(strays.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn may_begin(strays: &Strays) -> bool {
    strays.poll_begin(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// The next stray, which another thread brings.
#[track_caller]
fn next(strays: &Strays) -> Stray {
    let mut found = None;
    until(|| {
        match strays.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(stray) => found = Some(stray),
            Poll::Pending => {}
        }
        found.is_some()
    });
    found.expect("it has come")
}

#[allow(clippy::disallowed_methods, reason = "what is waited for is another thread")]
#[track_caller]
fn until(mut come: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if come() {
            return;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("it comes within five seconds");
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
