use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::{Algorithm, Config, Limiter, Sample};
use crate::testing::{Random, for_seeds, start};

/// A server with so many workers, before which calls wait in order, and clients who come by chance and are turned away beyond the
/// limit. Time is in nanoseconds.
struct Model {
    limiter: Limiter,
    start: Instant,
    random: Random,
    now: u64,
    workers: usize,
    /// What the work for a call takes, in seconds, on average.
    service: f64,
    /// How much that varies: 0 is always the same, 1 as an exponential distribution does.
    varies: f64,
    /// Calls that come each second.
    offered: f64,
    in_flight: u32,
    waiting: VecDeque<(u64, u32)>,
    busy: usize,
    /// When which calls end: their end, their beginning, and how many were under way then.
    ends: BinaryHeap<Reverse<(u64, u64, u32)>>,
}

/// What a time has shown.
struct Report {
    /// The limit, on average and at the end.
    limit: f64,
    /// Answers each second.
    answered: f64,
    /// What one took on average, in seconds.
    time: f64,
}

impl Model {
    fn new(config: Config, workers: usize, varies: f64, seed: u64) -> Model {
        Model {
            limiter: Limiter::new(config, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            start: start(),
            random: Random::new(seed),
            now: 0,
            workers,
            service: 0.020,
            varies,
            offered: 0.0,
            in_flight: 0,
            waiting: VecDeque::new(),
            busy: 0,
            ends: BinaryHeap::new(),
        }
    }

    /// What the server can answer each second.
    fn capacity(&self) -> f64 {
        self.workers as f64 / self.service
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.unit()).ln()
    }

    fn run(&mut self, seconds: f64) -> Report {
        let end = self.now + (seconds * 1e9) as u64;
        let mut arrival = self.now + self.pause();
        let (mut answered, mut times, mut limits) = (0u32, 0.0, 0.0);
        loop {
            match self.ends.peek() {
                Some(&Reverse((at, since, in_flight))) if at <= arrival => {
                    if at >= end {
                        break;
                    }
                    self.now = at;
                    self.ends.pop();
                    self.busy -= 1;
                    self.in_flight -= 1;
                    let time = Duration::from_nanos(at - since);
                    let now = self.start + Duration::from_nanos(at);
                    limits += f64::from(self.limiter.sample(Sample { time, in_flight, dropped: false }, now));
                    answered += 1;
                    times += time.as_secs_f64();
                }
                _ => {
                    if arrival >= end {
                        break;
                    }
                    self.now = arrival;
                    if self.in_flight < self.limiter.limit() {
                        self.in_flight += 1;
                        self.waiting.push_back((self.now, self.in_flight));
                    }
                    arrival += self.pause();
                }
            }
            self.serve();
        }
        self.now = end;
        let answers = f64::from(answered.max(1));
        Report { limit: limits / answers, answered: f64::from(answered) / seconds, time: times / answers }
    }

    fn pause(&mut self) -> u64 {
        (self.exponential(1.0 / self.offered) * 1e9) as u64
    }

    fn serve(&mut self) {
        while self.busy < self.workers {
            let Some((since, in_flight)) = self.waiting.pop_front() else {
                return;
            };
            self.busy += 1;
            let takes = self.service * (1.0 - self.varies) + self.exponential(self.service * self.varies);
            self.ends.push(Reverse((self.now + (takes * 1e9) as u64, since, in_flight)));
        }
    }
}

const BOTH: [Algorithm; 2] = [Algorithm::Gradient, Algorithm::Vegas];

/// Three times as much as the server can do, for two minutes and more.
#[test]
fn under_overload_it_stays_near_what_the_server_can_do() {
    for algorithm in BOTH {
        for varies in [0.0, 0.5, 1.0] {
            for_seeds(3, |random| {
                let config = Config { algorithm, min: 1, ..Config::default() };
                let mut model = Model::new(config, 40, varies, random.next());
                model.offered = 3.0 * model.capacity();
                model.run(120.0);
                let report = model.run(60.0);
                let context =
                    format!("{algorithm:?}, {varies}: {:.0}, {:.0}, {:.4}", report.limit, report.answered, report.time);
                assert!(report.limit >= 36.0 && report.limit <= 100.0, "{context}");
                let least = if algorithm == Algorithm::Gradient { 0.95 } else { 0.85 };
                assert!(report.answered >= least * model.capacity(), "{context}");
                assert!(report.time <= 2.5 * model.service, "{context}");
            });
        }
    }
}

#[test]
fn it_falls_when_the_server_slows_and_rises_when_it_recovers() {
    for algorithm in BOTH {
        for_seeds(3, |random| {
            let config = Config { algorithm, min: 1, ..Config::default() };
            let mut model = Model::new(config, 80, 0.3, random.next());
            model.offered = 1.5 * model.capacity();
            model.run(70.0);
            let before = model.run(20.0);
            // Three quarters of its workers hang: the same time for each call, but a quarter of them at a time.
            model.workers = 20;
            model.run(20.0);
            let slow = model.run(10.0);
            model.workers = 80;
            model.run(60.0);
            let after = model.run(20.0);
            let context = format!("{algorithm:?}: {:.0}, {:.0}, {:.0}", before.limit, slow.limit, after.limit);
            assert!(slow.limit <= before.limit / 2.0, "{context}");
            assert!(slow.answered >= 0.9 * 20.0 / model.service, "{context}");
            assert!(after.answered >= 0.9 * model.capacity(), "{context}");
        });
    }
}

/// With every call a server takes twice as long from now on, and has no queue: that is what is normal now.
#[test]
fn a_server_that_has_changed_for_good_is_learned_anew() {
    for algorithm in BOTH {
        for_seeds(3, |random| {
            let config = Config { algorithm, min: 1, ..Config::default() };
            let mut model = Model::new(config, 40, 0.3, random.next());
            model.offered = 1.5 * model.capacity();
            model.run(70.0);
            model.service *= 3.0;
            model.run(130.0);
            let report = model.run(30.0);
            let context = format!("{algorithm:?}: {:.0}, {:.0}", report.limit, report.answered);
            assert!(report.answered >= 0.85 * model.capacity(), "{context}");
        });
    }
}

#[test]
fn a_limit_that_nobody_reaches_stays_where_it_is() {
    for algorithm in BOTH {
        for_seeds(3, |random| {
            let mut model = Model::new(Config { algorithm, ..Config::default() }, 100, 0.3, random.next());
            // Less than one call at a time, on average.
            model.offered = 20.0;
            let report = model.run(600.0);
            assert!((report.answered - 20.0).abs() < 2.0, "{:.1}", report.answered);
            assert_eq!(report.limit, 20.0, "{algorithm:?}");
        });
    }
}

#[test]
fn the_bounds_hold_whatever_is_sampled() {
    for_seeds(300, |random| {
        let (min, max) = (random.below(50) as u32, 50 + random.below(500) as u32);
        let algorithm = BOTH[random.below(2) as usize];
        let first = random.below(1000) as u32;
        let config = Config { algorithm, first, min, max, probe_every: Duration::from_secs(2), ..Config::default() };
        let mut limiter = Limiter::new(config, random.next());
        let mut now = start();
        for _ in 0..3000 {
            now += Duration::from_micros(random.below(20_000));
            let time = match random.below(10) {
                0 => Duration::ZERO,
                1 => Duration::MAX,
                _ => Duration::from_micros(random.below(1_000_000)),
            };
            let in_flight = if random.chance(0.01) { u32::MAX } else { random.below(600) as u32 };
            let limit = limiter.sample(Sample { time, in_flight, dropped: random.chance(0.02) }, now);
            assert_eq!(limit, limiter.limit());
            assert!(limit >= min.max(1) && limit <= max, "{min} <= {limit} <= {max}");
        }
    });
}

#[test]
fn drops_alone_shrink_it_to_its_least() {
    for algorithm in BOTH {
        let config = Config { algorithm, first: 500, min: 3, probe_every: Duration::MAX, ..Config::default() };
        let mut limiter = Limiter::new(config, u64::MAX);
        let start = start();
        for millis in 0..100_000 {
            let sample = Sample { time: Duration::ZERO, in_flight: 500, dropped: true };
            limiter.sample(sample, start + Duration::from_millis(millis));
        }
        assert_eq!(limiter.limit(), 3, "{algorithm:?}");
    }
}

#[test]
fn a_probe_ends_without_answers_too() {
    let config = Config { first: 100, probe_every: Duration::from_secs(10), ..Config::default() };
    let mut limiter = Limiter::new(config, 0);
    let start = start();
    let mut at = |millis, in_flight| {
        let now = start + Duration::from_millis(millis);
        limiter.sample(Sample { time: Duration::from_millis(1), in_flight, dropped: false }, now)
    };
    for millis in 0..=5_001 {
        at(millis, 10);
    }
    assert_eq!(at(5_010, 10), 50, "it has begun, half way to the first");
    assert_eq!(at(5_019, 100), 50, "too many under way to tell anything");
    assert_eq!(at(5_020, 100), 100);
}

/// One that has seen answers of ten milliseconds for five seconds, and begins to probe.
fn about_to_probe(start: Instant) -> Limiter {
    let config = Config { first: 100, probe_every: Duration::from_secs(10), ..Config::default() };
    let mut limiter = Limiter::new(config, 0);
    for millis in 0..=5_000 {
        let sample = Sample { time: Duration::from_millis(10), in_flight: 40, dropped: false };
        limiter.sample(sample, start + Duration::from_millis(millis));
    }
    assert_eq!(limiter.limit(), 50);
    limiter
}

#[test]
fn a_probe_counts_calls_that_had_little_before_them_and_time_to_end() {
    let check = |counted: u32, expect: f64| {
        let start = start();
        let mut limiter = about_to_probe(start);
        let mut sample = |at: u64, time: u64, in_flight, dropped| {
            let sample = Sample { time: Duration::from_millis(time), in_flight, dropped };
            limiter.sample(sample, start + Duration::from_millis(at));
        };
        for _ in 0..20 {
            sample(5_010, 1_000, 10, false);
            sample(5_060, 60, 51, false);
            sample(5_060, 60, 10, true);
            sample(5_150, 1, 10, false);
        }
        (0..counted).for_each(|_| sample(5_150, 50, 50, false));
        sample(5_200, 1, 10, false);
        assert_eq!(limiter.limit(), 100, "it has lasted twenty times as long as an answer");
        let unhurried = limiter.unhurried.unwrap();
        assert!((unhurried - expect).abs() < 1e-6, "{unhurried}");
    };
    check(10, 0.050);
    check(9, 0.010);
}

#[test]
fn between_probes_the_time_is_learned_where_the_limit_is_not_reached() {
    let start = start();
    let run = |first: u64, then: u64, in_flight, windows: u32| {
        let config = Config { first: 50, max: 50, min: 50, probe_every: Duration::MAX, ..Config::default() };
        let mut limiter = Limiter::new(config, u64::MAX);
        for at in 0..=10 * (windows + 1) {
            let time = Duration::from_millis(if at <= 10 { first } else { then });
            limiter.sample(Sample { time, in_flight, dropped: false }, start + Duration::from_millis(10) * at);
        }
        limiter.unhurried.unwrap()
    };
    assert!((run(10, 20, 50, 600) - 0.010).abs() < 1e-6, "it may be our own queue");
    let usual = run(10, 20, 49, 600);
    assert!((0.0185..0.0190).contains(&usual), "of the difference, e⁻² is left: {usual}");
    let usual = run(100, 10, 50, 10);
    assert!(usual < 0.040, "what is much too long is unlearned quickly: {usual}");
}

#[test]
fn odd_bounds_do_no_harm() {
    let check = |first, min, max, expect| {
        let limiter = Limiter::new(Config { first, min, max, ..Config::default() }, 0);
        assert_eq!(limiter.limit(), expect);
    };
    check(0, 0, 0, 1);
    check(10, 20, 5, 20);
    check(u32::MAX, 0, u32::MAX, u32::MAX);
}
