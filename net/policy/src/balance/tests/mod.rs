mod rules;
mod simulation;

use std::time::Instant;

use super::{Ask, Balancer, Entry, Rule, Settings};
use crate::testing::{Random, start};

const ALL_RULES: [Rule; 6] =
    [Rule::RoundRobin, Rule::Weighted, Rule::LeastRequests, Rule::PeakEwma, Rule::RING, Rule::MAGLEV];

/// A balancer of members 0, 1, 2 and so on, what chance it has, and a time that stands still.
struct Set {
    balancer: Balancer,
    random: Random,
    now: Instant,
}

impl Set {
    fn new(settings: Settings, weights: &[f32], seed: u64) -> Set {
        let (now, mut random) = (start(), Random::new(seed));
        let mut balancer = Balancer::new(settings).unwrap();
        assert_eq!(balancer.set(&entries(weights), now, &mut || random.next()), 0);
        Set { balancer, random, now }
    }

    fn of(rule: Rule, count: usize, seed: u64) -> Set {
        Set::new(Settings { rule, ..Settings::default() }, &vec![1.0; count], seed)
    }

    fn pick(&mut self, ask: Ask<'_>) -> Option<usize> {
        let place = self.balancer.pick(ask, self.now, &mut || self.random.next())?;
        assert_eq!(self.balancer.members()[place.index].id(), place.id);
        Some(place.index)
    }

    /// How often each is picked of so many times.
    fn counts(&mut self, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; self.balancer.members().len()];
        for _ in 0..picks {
            counts[self.pick(Ask::default()).unwrap()] += 1;
        }
        counts
    }

    /// The member of each key.
    fn by_key(&mut self, keys: u64) -> Vec<u64> {
        (0..keys)
            .map(|key| {
                let at = self.pick(Ask { key: Some(key), tried: &[] }).unwrap();
                self.balancer.members()[at].id()
            })
            .collect()
    }

    fn fail(&mut self, ids: impl IntoIterator<Item = u64>) {
        ids.into_iter().for_each(|id| self.balancer.judge(id, self.now, |health| health.is_failing = true));
    }
}

fn entries(weights: &[f32]) -> Vec<Entry> {
    weights.iter().enumerate().map(|(id, weight)| Entry { weight: *weight, ..Entry::new(id as u64) }).collect()
}

#[track_caller]
fn assert_near(count: usize, expect: f64, tolerance: f64) {
    assert!((count as f64 - expect).abs() <= expect * tolerance, "{count} is not within {tolerance} of {expect}");
}
