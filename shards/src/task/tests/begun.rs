//! Which of the ready tasks come first: those that go on with what they have begun, and how many begin beside them.

use super::*;
use crate::limits::{BEGINS_PER_TURN, POLLS_PER_BEGIN, POLLS_PER_CLOCK, UNDER_WAY_WARM};

/// A task that is polled once, and says so each time that it is woken, so many times; and its waker.
fn waiting(shard: &Rc<Shard>, name: u32, wakes: u32, rests: bool, order: &Rc<RefCell<Vec<u32>>>) -> Waker {
    let (waker, here, order) = (Rc::new(RefCell::new(None)), shard.clone(), order.clone());
    let (given, mut left) = (waker.clone(), wakes);
    let wait = poll_fn(move |cx| {
        if given.borrow().is_none() {
            *given.borrow_mut() = Some(cx.waker().clone());
            if rests {
                here.tasks.rest(cx.waker());
            }
            return Poll::Pending;
        }
        order.borrow_mut().push(name);
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    });
    shard.spawn(wait).detach();
    shard.run();
    waker.borrow().clone().expect("it was polled")
}

#[test]
fn who_was_at_rest_comes_behind_those_that_go_on() {
    check(|shard| {
        let order = Rc::default();
        let rest: Vec<_> = (0..3).map(|name| waiting(shard, name, 1, true, &order)).collect();
        let on: Vec<_> = (10..13).map(|name| waiting(shard, name, 1, false, &order)).collect();
        shard.tasks.enter(shard, || rest.iter().chain(&on).for_each(Waker::wake_by_ref));
        assert_eq!(shard.run(), 6);
        assert_eq!(*order.borrow(), [10, 11, 12, 0, 1, 2]);
    });
}

#[test]
fn once_many_are_under_way_few_begin_in_a_turn() {
    check(|shard| {
        let order = Rc::default();
        let wake = |wakers: &[Waker]| shard.tasks.enter(shard, || wakers.iter().for_each(Waker::wake_by_ref));
        let (warm, few) = (UNDER_WAY_WARM, BEGINS_PER_TURN);
        let all: Vec<_> = (0..warm + 3 * few).map(|name| waiting(shard, name, 2, true, &order)).collect();
        wake(&all);
        assert_eq!(shard.run(), warm);
        assert_eq!(shard.run(), few, "nobody is kept out");
        assert_eq!(*order.borrow(), (0..warm + few).collect::<Vec<_>>());
        // Those that have ended make room.
        let (first, _) = all.split_at(warm as usize);
        wake(first);
        assert_eq!(shard.run(), warm + 2 * few);
        let (_, rest) = all.split_at(warm as usize);
        wake(rest);
        assert_eq!(shard.run(), 3 * few);
    });
}

#[test]
fn those_that_stay_are_waited_for_by_none() {
    check(|shard| {
        let order = Rc::default();
        let wake = |wakers: &[Waker]| shard.tasks.enter(shard, || wakers.iter().for_each(Waker::wake_by_ref));
        let begun: Vec<_> = (0..UNDER_WAY_WARM).map(|name| waiting(shard, name, 2, true, &order)).collect();
        wake(&begun);
        assert_eq!(shard.run(), UNDER_WAY_WARM);
        begun.iter().for_each(|waker| shard.tasks.stay(waker));
        let others: Vec<_> = (0..UNDER_WAY_WARM).map(|name| waiting(shard, name, 1, true, &order)).collect();
        wake(&others);
        assert_eq!(shard.run(), UNDER_WAY_WARM);
        // They are as any other when they end.
        wake(&begun);
        assert_eq!(shard.run(), UNDER_WAY_WARM);
        assert_eq!(shard.tasks.stats().under_way, 0);
    });
}

#[test]
fn those_that_go_on_for_ever_keep_nobody_out() {
    check(|shard| {
        let order = Rc::default();
        let rest: Vec<_> = (0..3).map(|name| waiting(shard, name, 1, true, &order)).collect();
        let (stop, stopped) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (seen, told) = (stop.clone(), stopped.clone());
        let busy = async move {
            while !seen.get() {
                yield_now().await;
            }
            told.set(true);
        };
        shard.spawn(busy).detach();
        shard.tasks.enter(shard, || rest.iter().for_each(Waker::wake_by_ref));
        let mut looks = 0;
        let polls = shard.tasks.enter(shard, || {
            shard.tasks.run(|| {
                looks += 1;
                looks * POLLS_PER_CLOCK >= 4 * POLLS_PER_BEGIN
            })
        });
        assert_eq!((polls, &order.borrow()[..]), (4 * POLLS_PER_BEGIN, &[0, 1, 2][..]));
        stop.set(true);
        shard.run();
        assert!(stopped.get());
    });
}
