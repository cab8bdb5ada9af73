//! Coroutines: switching, ending in every way, and that stacks come home.

use std::rc::Rc;

use super::*;

fn stacks(count: usize) -> Stacks {
    Stacks::new(StackSize { count, ..StackSize::default() })
}

fn coroutine<R>(stacks: &Stacks, body: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    Coroutine::new(stacks.take().expect("a stack"), body)
}

/// Counts its drops.
struct Counts(Rc<Cell<u32>>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn it_goes_on_where_it_was() {
    let stacks = stacks(1);
    assert!(!is_on_coroutine());
    let mut sum = coroutine(&stacks, || {
        assert!(is_on_coroutine());
        (0..10).fold(0, |sum, term| {
            suspend();
            sum + term
        })
    });
    for _ in 0..10 {
        assert_eq!(sum.resume(), None);
        assert!(!is_on_coroutine() && !sum.has_ended());
    }
    assert_eq!(stacks.stats(), StackStats { mapped: 1, used: 1, refused: 0 });
    assert_eq!(sum.resume(), Some(45));
    assert!(sum.has_ended());
    assert_eq!(stacks.stats().used, 0);
}

#[test]
fn the_innermost_is_suspended() {
    let stacks = stacks(2);
    let (outer, inner) = (stacks.clone(), Rc::new(Cell::new(0)));
    let seen = Rc::clone(&inner);
    let mut outer = coroutine(&stacks, move || {
        let mut inner = coroutine(&outer, move || {
            for _ in 0..3 {
                seen.set(seen.get() + 1);
                suspend();
            }
        });
        while inner.resume().is_none() {
            suspend();
        }
    });
    for round in 1..=3 {
        assert_eq!(outer.resume(), None);
        assert_eq!(inner.get(), round);
    }
    assert_eq!(outer.resume(), Some(()));
    assert_eq!(stacks.stats(), StackStats { mapped: 2, used: 0, refused: 0 });
}

#[test]
fn a_bound_that_is_reached_is_an_error() {
    let stacks = stacks(2);
    let one = stacks.take().unwrap();
    let two = stacks.take().unwrap();
    assert_eq!(stacks.take().map(drop), Err(Error::Full));
    drop(one);
    let three = stacks.take();
    assert!(three.is_ok());
    assert_eq!(stacks.take().map(drop), Err(Error::Full));
    drop((two, three));
    assert_eq!(stacks.stats(), StackStats { mapped: 2, used: 0, refused: 2 });
}

#[test]
fn more_than_an_address_space_is_refused() {
    let stacks = Stacks::new(StackSize { bytes: usize::MAX / 4, count: 1 });
    assert_eq!(stacks.take().map(drop), Err(Error::OutOfMemory));
    assert_eq!(stacks.stats().mapped, 0);
}

#[test]
fn a_panic_comes_through_and_the_stack_goes_home() {
    let stacks = stacks(1);
    let mut panics = coroutine(&stacks, || {
        suspend();
        panic!("of the coroutine");
    });
    panics.resume();
    let caught = catch_unwind(AssertUnwindSafe(|| panics.resume())).expect_err("it panics");
    assert_eq!(caught.downcast_ref(), Some(&"of the coroutine"));
    assert!(panics.has_ended());
    assert_eq!(stacks.stats().used, 0);
}

#[test]
fn what_lives_on_a_suspended_stack_is_dropped_with_it() {
    let (stacks, dropped) = (stacks(1), Rc::new(Cell::new(0)));
    for resumes in 0..4 {
        dropped.set(0);
        let (captured, local) = (Counts(Rc::clone(&dropped)), Rc::clone(&dropped));
        let mut suspended = coroutine(&stacks, move || {
            let _captured = captured;
            suspend();
            let _local = Counts(Rc::clone(&local));
            suspend();
            let _second = Counts(local);
            suspend();
        });
        for _ in 0..resumes {
            suspended.resume();
        }
        drop(suspended);
        assert_eq!(dropped.get(), resumes.max(1), "after {resumes} resumes");
        assert_eq!(stacks.stats(), StackStats { mapped: 1, used: 0, refused: 0 });
    }
}

#[test]
fn an_unwinding_that_is_caught_goes_on_at_the_next_suspension() {
    let (stacks, caught) = (stacks(1), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&caught);
    let mut stubborn = coroutine(&stacks, move || {
        while catch_unwind(suspend).is_err() && counted.get() < 3 {
            counted.set(counted.get() + 1);
        }
        "returned"
    });
    stubborn.resume();
    assert!(stubborn.unwind().is_ok());
    assert_eq!(caught.get(), 3);
    assert!(stubborn.has_ended() && stubborn.unwind().is_ok());
    assert_eq!(stacks.stats().used, 0);
}

#[test]
fn a_panic_while_it_is_unwound_comes_back() {
    let stacks = stacks(1);
    let mut panics = coroutine(&stacks, || {
        let _ = catch_unwind(suspend);
        panic!("instead");
    });
    panics.resume();
    let payload = panics.unwind().expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"instead"));
    assert_eq!(stacks.stats().used, 0);

    let mut panics = coroutine(&stacks, || {
        let _ = catch_unwind(suspend);
        panic!("from a drop");
    });
    panics.resume();
    let caught = catch_unwind(AssertUnwindSafe(|| drop(panics))).expect_err("it panics");
    assert_eq!(caught.downcast_ref(), Some(&"from a drop"));
    assert_eq!(stacks.stats().used, 0);
}

#[test]
fn a_thread_that_unwinds_drops_its_coroutines() {
    let (stacks, dropped) = (stacks(1), Rc::new(Cell::new(0)));
    let counts = Counts(Rc::clone(&dropped));
    let mut suspended = coroutine(&stacks, move || {
        let _counts = counts;
        suspend();
    });
    suspended.resume();
    let thread = catch_unwind(AssertUnwindSafe(move || {
        let _suspended = suspended;
        panic!("of the thread");
    }));
    assert_eq!(thread.expect_err("it panics").downcast_ref(), Some(&"of the thread"));
    assert_eq!((dropped.get(), stacks.stats().used), (1, 0));
}

#[test]
fn the_pool_may_go_first() {
    let stacks = stacks(1);
    let mut last = coroutine(&stacks, || {
        suspend();
        7
    });
    drop(stacks);
    last.resume();
    assert_eq!(last.resume(), Some(7));
}

#[test]
#[should_panic(expected = "only a coroutine can be suspended")]
fn a_threads_own_stack_is_not_suspended() {
    suspend();
}

#[test]
#[should_panic(expected = "has ended is not resumed")]
fn one_that_has_ended_is_not_resumed() {
    let mut ended = coroutine(&stacks(1), || ());
    ended.resume();
    ended.resume();
}

#[test]
fn ten_thousand_in_sequence_and_many_at_once() {
    let stacks = stacks(64);
    for number in 0..10_000 {
        let mut one = coroutine(&stacks, move || {
            suspend();
            number
        });
        assert_eq!(one.resume(), None);
        assert_eq!(one.resume(), Some(number));
    }
    assert_eq!(stacks.stats().mapped, 1, "the same stack again");
    let mut all: Vec<_> = (0..64).map(|_| coroutine(&stacks, || (0..100).for_each(|_| suspend()))).collect();
    for _ in 0..100 {
        assert!(all.iter_mut().all(|one| one.resume().is_none()));
    }
    assert!(all.iter_mut().all(|one| one.resume().is_some()));
    assert_eq!(stacks.stats(), StackStats { mapped: 64, used: 0, refused: 0 });
}

#[test]
fn what_was_captured_and_never_ran_cannot_suspend() {
    struct Suspends(Rc<Cell<bool>>);

    impl Drop for Suspends {
        fn drop(&mut self) {
            self.0.set(catch_unwind(suspend).is_err());
        }
    }

    let (stacks, refused) = (stacks(1), Rc::new(Cell::new(false)));
    let captured = Suspends(Rc::clone(&refused));
    drop(coroutine(&stacks, move || drop(captured)));
    assert!(refused.get());
    assert_eq!(stacks.stats().used, 0);
}
