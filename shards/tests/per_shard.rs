//! One value on each shard, reachable from all: on simulated shards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shardwise_shards::{CallError, Part, PerShard, Program, Shard, Simulation};

/// Runs `main` on simulated shards until nothing is left to happen.
#[track_caller]
fn simulate(count: usize, main: impl AsyncFn(Shard) + 'static) -> (Simulation, Program<String>) {
    let mut simulation = Simulation::new(1);
    let program = simulation.start(count, async move |shard| {
        main(shard).await;
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    (simulation, program)
}

#[track_caller]
fn check(count: usize, main: impl AsyncFn(Shard) + 'static) {
    let (_simulation, program) = simulate(count, main);
    assert!(program.has_ended(), "{:?}", program.results());
}

/// A part that cannot be sent.
struct Counts {
    home: usize,
    counts: RefCell<BTreeMap<String, u64>>,
    _local: Rc<()>,
}

impl Counts {
    #[track_caller]
    fn on(shard: &Shard) -> PerShard<Counts> {
        let home = shard.number();
        PerShard::new(shard, || Counts { home, counts: RefCell::default(), _local: Rc::default() })
    }
}

#[test]
fn a_closure_finds_the_part_of_the_shard_it_is_sent_to() {
    check(3, async |shard| {
        let counts = Counts::on(&shard);
        for number in 0..3 {
            assert_eq!(counts.on(number, |part| part.home).await, Ok(number));
            assert_eq!(counts.on_mut(number, |part| part.home).await, Ok(number));
            let later = async |part: Part<Counts>| {
                shardwise_shards::yield_now().await;
                part.with(|part| part.home).unwrap()
            };
            assert_eq!(counts.on_async(number, later).await, Ok(number));
        }
        assert_eq!(counts.here(|part| part.home), Ok(shard.number()));
        assert_eq!(counts.on(3, |_| ()).await, Err(CallError::NoShard));
        assert_eq!(counts.on_all(|part| part.home).await, Ok(vec![0, 1, 2]));
        assert_eq!(counts.map_reduce(|part| part.home, |one, other| one + other).await, Ok(3));
    });
}

#[test]
fn a_key_is_counted_on_one_shard_whoever_asks() {
    const ROUNDS: u64 = 50;
    check(4, async |shard| {
        let counts = Counts::on(&shard);
        for round in 0..ROUNDS {
            for key in ["ada", "bob", "eve", ""] {
                let count = counts.at_key_mut(key, move |part| {
                    let mut counts = part.counts.borrow_mut();
                    let count = counts.entry(key.to_owned()).or_default();
                    *count += 1;
                    *count
                });
                let count = count.await.unwrap();
                assert!(count > round && count <= 4 * ROUNDS);
            }
        }
        shard.sleep(Duration::from_secs(1)).await;
        for key in ["ada", "bob", "eve", ""] {
            let owner = counts.owner(key);
            let count = |part: &Counts| (part.home, part.counts.borrow()[key]);
            assert_eq!(counts.at_key(key, count).await, Ok((owner, 4 * ROUNDS)));
            let later = async |part: Part<Counts>| part.with(|part| part.home).unwrap();
            assert_eq!(counts.at_key_async(key, later).await, Ok(owner));
        }
    });
}

#[test]
fn a_program_may_place_keys_by_itself() {
    check(3, async |shard| {
        let counts = Counts::on(&shard).placed_by(|_, shards| shards - 1);
        assert_eq!(counts.at_key(&17, |part| part.home).await, Ok(2));
    });
}

#[test]
fn calls_wait_until_every_shard_has_its_part() {
    check(3, async |shard| {
        let begin = shard.now();
        shard.sleep(Duration::from_secs(shard.number() as u64)).await;
        let counts = Counts::on(&shard);
        assert_eq!(counts.on(1, |part| part.home).await, Ok(1));
        assert!(shard.now() - begin >= Duration::from_secs(2), "the last one came then");
    });
}

#[test]
fn parts_of_one_line_belong_together_in_the_order_made() {
    check(2, async |shard| {
        // At different times, and with other parts of the same line and another type in between.
        let make = |number| (PerShard::new(&shard, || number), PerShard::new(&shard, || Rc::new(number)));
        let (first, first_shared) = make(1);
        shard.sleep(Duration::from_secs(1 - shard.number() as u64)).await;
        let (second, second_shared) = make(2);
        for number in 0..2 {
            assert_eq!(first.on(number, |value| *value).await, Ok(1));
            assert_eq!(second.on(number, |value| *value).await, Ok(2));
            assert_eq!(first_shared.on(number, |value| **value).await, Ok(1));
            assert_eq!(second_shared.on(number, |value| **value).await, Ok(2));
        }
    });
}

#[test]
fn whoever_waits_for_a_part_that_never_comes_is_told() {
    let (_simulation, program) = simulate(3, async |shard| {
        if shard.number() == 1 {
            return shard.sleep(Duration::from_secs(1)).await;
        }
        if shard.number() == 2 {
            shard.sleep(Duration::from_secs(2)).await;
            shard.scope().cancel("enough");
            return std::future::pending().await;
        }
        let counts = Counts::on(&shard);
        assert_eq!(counts.on(0, |part| part.home).await, Err(CallError::Stopped));
        assert_eq!(counts.here(|part| part.home), Ok(0), "its own is there");
    });
    assert_eq!(program.results()[0], Some(Ok(())));
}

#[test]
fn shards_that_differ_in_their_parts_do_not_serve() {
    check(2, async |shard| {
        if shard.number() == 0 {
            Counts::on(&shard);
        }
        let address = "10.0.0.1:80".parse().unwrap();
        let here = std::panic::Location::caller();
        let error = shardwise_shards::listen(&shard, address, &Default::default(), here).await.unwrap_err().to_string();
        assert!(error.contains("shard 1 listens on 10.0.0.1:80") && error.contains("per_shard.rs"), "{error}");
    });
}

#[test]
fn a_nested_borrow_is_an_error_and_not_a_panic() {
    check(2, async |shard| {
        let counts = Counts::on(&shard);
        let nested = move |_: &mut Counts| (counts.here(|_| ()), counts.here_mut(|_| ()));
        let both = (Err(CallError::Nested), Err(CallError::Nested));
        for number in 0..2 {
            assert_eq!(counts.on_mut(number, nested).await, Ok(both.clone()));
            let shared = move |_: &Counts| (counts.here(|_| ()), counts.here_mut(|_| ()));
            assert_eq!(counts.on(number, shared).await, Ok((Ok(()), Err(CallError::Nested))));
        }
        // The own shard's turn does not come in between, so a call of its own is nested too.
        assert_eq!(counts.here_mut(|_| poll_once(counts.on(shard.number(), |_| ()))), Ok(Some(Err(CallError::Nested))));
        assert_eq!(counts.here(|part| part.home), Ok(shard.number()), "and all is well afterwards");
    });
}

fn poll_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(work).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_panic_leaves_the_part_to_others() {
    check(2, async |shard| {
        let counts = Counts::on(&shard);
        for number in 0..2 {
            let panics = counts.on_mut(number, |_| std::panic::resume_unwind(Box::new("as it must")));
            let panics: Result<(), CallError> = panics.await;
            assert_eq!(panics, Err(CallError::Panicked("as it must".to_owned())));
            assert_eq!(counts.on_mut(number, |part| part.home).await, Ok(number));
        }
    });
}

#[test]
fn one_way_closures_change_a_part() {
    check(2, async |shard| {
        let sums = PerShard::new(&shard, || 0);
        for number in 0..1_000 {
            sums.post(number % 2, move |sum: &mut usize| *sum += number).await.unwrap();
        }
        shard.sleep(Duration::from_secs(1)).await;
        assert_eq!(sums.map_reduce(|sum| *sum, |one, other| one + other).await, Ok(2 * 499_500));
    });
}

#[test]
fn a_handle_is_of_use_on_its_own_shards_only() {
    let kept = Rc::new(Cell::new(None));
    let keep = Rc::clone(&kept);
    let (mut simulation, _program) = simulate(2, async move |shard| keep.set(Some(PerShard::new(&shard, || 1))));
    let numbers = kept.get().expect("made");
    let off_shard = async move || {
        assert_eq!(numbers.here(|_| ()), Err(CallError::OffShard));
        assert_eq!(numbers.on(0, |_| ()).await, Err(CallError::OffShard));
        assert_eq!(numbers.post(0, |_| ()).await, Err(CallError::OffShard));
        assert_eq!(numbers.on_all(|_| ()).await, Err(CallError::OffShard));
    };
    assert_eq!(poll_once(off_shard()), Some(()), "off any shard");
    simulation.run(async move |_| off_shard().await);
    // A handle is a plain value for any thread.
    fn sent_to_a_thread(_: impl Copy + Send + Sync + 'static) {}
    sent_to_a_thread(numbers);
}

#[test]
fn parts_are_dropped_with_their_shard_and_may_use_the_mesh_meanwhile() {
    struct Leaving(Shard, Rc<Cell<u32>>);
    impl Drop for Leaving {
        fn drop(&mut self) {
            assert_eq!(self.0.try_post(0, |_| ()), Err(CallError::Stopped));
            self.1.set(self.1.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let seen = Rc::clone(&dropped);
    let (simulation, program) = simulate(3, async move |shard| {
        let leaving = PerShard::new(&shard, || Leaving(shard.clone(), Rc::clone(&seen)));
        assert_eq!(leaving.on_all(|_| ()).await.map(|all| all.len()), Ok(3));
    });
    assert!(program.has_ended());
    assert_eq!(dropped.get(), 0);
    drop(simulation);
    assert_eq!(dropped.get(), 3);
}
