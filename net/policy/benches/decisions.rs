//! What decisions cost, in nanoseconds: `taskset -c 0 cargo bench -p shardwise-policy --bench decisions`. Each line is the median of
//! several rounds and their range. A word after `--` chooses the lines that contain it.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use shardwise_policy::balance::{Ask, Balancer, Entry, Rule, Settings};
use shardwise_policy::breaker::{self, Breaker};
use shardwise_policy::budget::Budget;
use shardwise_policy::outlier::{self, Outlier};

/// Endpoints of the service.
const ENDPOINTS: u64 = 20;

/// Between one call and the next.
const PAUSE: Duration = Duration::from_micros(10);

fn main() {
    println!("{:<56} {:>8}   range", "", "ns");
    let start = Instant::now();
    for (name, rule) in rules() {
        let mut calls = Calls::new(rule, start);
        measure(&format!("{name}: pick of 20, begin, observe, end"), |count| {
            for _ in 0..count {
                calls.balance();
            }
        });
    }
    let mut calls = Calls::new(Rule::LeastRequests, start);
    measure("a breaker's leave and its record", |count| (0..count).for_each(|_| calls.break_circuit()));
    measure("an outlier's record", |count| (0..count).for_each(|_| calls.judge(7)));
    measure("a budget's deposit", |count| (0..count).for_each(|_| calls.deposit()));
    measure("all of these for one call", |count| {
        for _ in 0..count {
            calls.deposit();
            let at = calls.balance();
            calls.break_circuit();
            calls.judge(at);
        }
    });
}

fn rules() -> [(&'static str, Rule); 6] {
    [
        ("round robin", Rule::RoundRobin),
        ("weighted", Rule::Weighted),
        ("least requests", Rule::LeastRequests),
        ("peak-EWMA", Rule::PeakEwma),
        ("ring", Rule::RING),
        ("maglev", Rule::MAGLEV),
    ]
}

/// What one shard has for one service, and calls that all succeed.
struct Calls {
    balancer: Balancer,
    breakers: Vec<Breaker>,
    outlier: Outlier,
    budget: Budget,
    now: Instant,
    random: u64,
}

impl Calls {
    fn new(rule: Rule, now: Instant) -> Self {
        let mut random = 1;
        let mut balancer = Balancer::new(Settings { rule, ..Settings::default() }).expect("they are in order");
        let entries: Vec<_> = (0..ENDPOINTS).map(|id| Entry { id, weight: 1.0, share: 1.0 }).collect();
        balancer.set(&entries, now, &mut || next(&mut random));
        let mut outlier = Outlier::new(outlier::Settings::default(), now).expect("they are in order");
        outlier.set(&entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
        let breakers = (0..ENDPOINTS).map(|_| Breaker::new(breaker::Config::default())).collect();
        Calls { balancer, breakers, outlier, budget: Budget::default(), now, random }
    }

    fn balance(&mut self) -> usize {
        self.now += PAUSE;
        let key = Some(next(&mut self.random));
        let random = &mut self.random;
        let ask = Ask { key, tried: &[] };
        let place = self.balancer.pick(black_box(ask), self.now, &mut || next(random)).expect("all are well");
        self.balancer.begin(place);
        self.balancer.observe(place, PAUSE, self.now);
        self.balancer.end(place, None, self.now);
        place.index
    }

    fn break_circuit(&mut self) {
        self.now += PAUSE;
        let breaker = &mut self.breakers[7];
        let leave = breaker.admit(self.now).expect("it is closed");
        breaker.record(leave, breaker::Outcome::Success, self.now, || self.random);
    }

    fn judge(&mut self, at: usize) {
        let place = self.outlier.place(at as u64).expect("it is watched");
        assert!(self.outlier.record(place, outlier::Outcome::Success, self.now, || self.random).is_none());
    }

    fn deposit(&mut self) {
        self.budget.deposit(black_box(self.now));
    }
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

fn measure(name: &str, mut round: impl FnMut(u64)) {
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    if word.is_some_and(|word| !name.contains(&word)) {
        return;
    }
    round(COUNT / 10);
    let mut costs: Vec<f64> = (0..11)
        .map(|_| {
            let start = Instant::now();
            round(COUNT);
            start.elapsed().as_nanos() as f64 / COUNT as f64
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!("{name:<56} {:>8.1}   {:.1}–{:.1}", costs[5], costs[0], costs[10]);
}

/// Of each round.
const COUNT: u64 = 1_000_000;
