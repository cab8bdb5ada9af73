//! Virtual time, deadlines, and what follows from the seed.

use super::*;

#[test]
fn a_virtual_hour_costs_nothing_and_is_never_short() {
    let mut fixture = Fixture::new(15, Plan::CALM);
    let (start, date) = (fixture.machine.now(), fixture.machine.wall_clock());
    let hours = [3, 1, 2].map(|hours| {
        let until = start + Duration::from_secs(3600 * hours);
        (until, fixture.start(CLIENT, Op::Sleep { until }))
    });
    for (until, token) in [&hours[1], &hours[2], &hours[0]] {
        assert!(matches!(fixture.result(CLIENT, token), Ok(Outcome::Elapsed)));
        assert_eq!(fixture.machine.now(), *until);
    }
    assert_eq!(fixture.machine.wall_clock(), date + Duration::from_secs(3 * 3600));
    let past = fixture.run(CLIENT, Op::Sleep { until: start });
    assert!(matches!(past, Ok(Outcome::Elapsed)) && fixture.machine.elapsed().as_secs() == 3 * 3600);
    fixture.finish(&[]);
}

#[test]
fn a_shards_deadline_is_an_event() {
    let machine = Machine::new(16);
    let mut shards = [0, 1].map(|_| Reactor::simulated(&machine, &Config::default()));
    let start = machine.now();
    let deadlines = [Duration::from_secs(5), Duration::from_secs(2)];
    let mut woken = Vec::new();
    for (shard, deadline) in shards.iter_mut().zip(deadlines) {
        shard.enter(Wait::Until(start + deadline), &mut woken);
    }
    assert_eq!(machine.next_event(), Some(start + deadlines[1]));
    assert!(machine.advance_to_next());
    assert_eq!(machine.elapsed(), deadlines[1]);
    shards[1].enter(Wait::Forever, &mut woken);
    assert_eq!(machine.next_event(), Some(start + deadlines[0]));
    machine.advance(start + Duration::from_secs(9));
    assert_eq!(machine.next_event(), Some(start + Duration::from_secs(9)), "long past, and not yet turned");
    shards[0].enter(Wait::No, &mut woken);
    assert_eq!(machine.next_event(), None);
    machine.advance(start);
    assert_eq!(machine.elapsed(), Duration::from_secs(9), "time does not run backwards");
    shards[0].enter(Wait::Until(start + Duration::from_secs(99)), &mut woken);
    drop(shards);
    assert!(!machine.advance_to_next() && woken.is_empty());
}

#[test]
fn randomness_and_dates_follow_from_the_seed() {
    let draw = |seed| {
        let machine = Machine::new(seed);
        let mut shards = [0, 1].map(|_| Reactor::simulated(&machine, &Config::default()));
        let drawn: Vec<u64> = shards.iter_mut().flat_map(|shard| [shard.random(), shard.random()]).collect();
        (drawn, machine.wall_clock())
    };
    let (drawn, date) = draw(17);
    assert_eq!((drawn.clone(), date), draw(17));
    let (other, other_date) = draw(18);
    assert!(drawn.iter().all(|number| !other.contains(number)) && date != other_date);
}

#[test]
fn the_wall_clock_jumps_and_the_other_does_not() {
    let every = Duration::from_secs(10);
    let machine = Machine::with_plan(30, Plan { wall_jump_every: every, ..Plan::CALM });
    machine.keep_log();
    let (start, date) = (machine.now(), machine.wall_clock());
    let (mut ahead, mut behind) = (0, 0);
    for second in 1..=1000 {
        let to = start + Duration::from_secs(second);
        machine.advance(to);
        assert_eq!(machine.now(), to, "only what the operator sees jumps");
        let true_date = date + Duration::from_secs(second);
        ahead += u32::from(machine.wall_clock() > true_date);
        behind += u32::from(machine.wall_clock() < true_date);
        let error = machine.wall_clock().duration_since(true_date).unwrap_or_else(|error| error.duration());
        assert!(error <= Plan::CALM.wall_jump, "{error:?}");
    }
    let jumps = machine.log().matches("wall-jump").count();
    assert!((50..200).contains(&jumps) && ahead > 100 && behind > 100, "{jumps} jumps, {ahead} {behind}");
}

/// After a suspended machine everything that was due in between is late, and still comes in order.
#[test]
fn time_leaps_and_nothing_is_skipped() {
    let mut fixture = Fixture::new(31, Plan { leap_every: Duration::from_secs(10), ..Plan::CALM });
    let start = fixture.machine.now();
    let sleeps: Vec<_> = (1..=100)
        .map(|second| {
            let until = start + Duration::from_secs(second);
            (until, fixture.start(CLIENT, Op::Sleep { until }))
        })
        .collect();
    let (mut late, mut last) = (0, start);
    for (until, token) in &sleeps {
        assert!(matches!(fixture.result(CLIENT, token), Ok(Outcome::Elapsed)));
        let now = fixture.machine.now();
        assert!(now >= *until && now >= last, "never early, never backwards");
        late += u32::from(now > *until);
        last = now;
    }
    assert!(fixture.count("leap") > 0 && late > 0, "{late} are late");
    fixture.finish(&[]);
}

#[test]
fn an_event_that_is_called_off_leaves_no_trace() {
    let mut fixture = Fixture::new(32, Plan::CALM);
    let far = fixture.machine.now() + Duration::from_secs(3600);
    for _ in 0..3 * limits::CALLED_OFF_MAX {
        let sleep = fixture.start(CLIENT, Op::Sleep { until: far });
        fixture.turn();
        fixture.shards[CLIENT].cancel(&sleep);
        assert!(matches!(fixture.result(CLIENT, &sleep), Err(Error::Cancelled)));
    }
    assert_eq!(fixture.machine.next_event(), None);
    fixture.finish(&[]);
}
