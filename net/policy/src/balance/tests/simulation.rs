//! Shards and endpoints in a time of their own: calls come at random to each shard, which picks an endpoint by what it alone
//! knows; endpoints have a queue and some workers. No clock, so that a minute of much traffic takes a moment.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::{Ask, Balancer, Entry, Member, Rule, Settings};
use crate::limits::SUBSET_MIN;
use crate::outlier::{self, Outlier};
use crate::place::Place;
use crate::shares::{Report, Shares};
use crate::subset::{Part, Peer, subset};
use crate::testing::{Random, for_seeds, start};

struct Plan {
    rule: Rule,
    shards: usize,
    /// At the least, for each shard; none if all ask all.
    subset: Option<usize>,
    /// How often shards tell each other of their calls.
    told_every: Option<Duration>,
    /// How long an endpoint works on a call, on average, each.
    work: Vec<Duration>,
    workers: usize,
    /// Calls a second, of all shards together.
    rate: f64,
    lasts: Duration,
    /// An endpoint that answers nothing but errors, at once, from then on until then.
    fails: Option<(usize, Range<Duration>)>,
}

struct Outcome {
    /// Calls that each endpoint got.
    counts: Vec<usize>,
    latencies: Vec<Duration>,
    errors: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call { shard: usize },
    Done { endpoint: usize, call: usize },
    Tell,
}

struct Shard {
    balancer: Balancer,
    outlier: Outlier,
    shares: Shares,
}

impl Shard {
    fn reports(&mut self, now: Instant) -> Vec<Report> {
        let Shard { balancer, outlier, .. } = self;
        let report = |(index, member): (usize, &Member)| {
            let place = Place { index, id: member.id() };
            Report {
                id: member.id(),
                outstanding: member.outstanding(),
                latency: member.latency().latency(now),
                ejected_until: outlier.ejected_here_until(place),
                tally: outlier.take_tally(place),
            }
        };
        balancer.members().iter().enumerate().map(report).collect()
    }

    fn hear(&mut self, from: usize, reports: &[Report], now: Instant) {
        self.shares.hear(from, reports, now);
        for report in reports {
            let Some(place) = self.outlier.place(report.id) else { continue };
            self.outlier.add(place, report.tally);
            let event = report.ejected_until.and_then(|until| self.outlier.adopt(place, until, now));
            self.follow(event, now);
        }
    }

    fn follow(&mut self, events: impl IntoIterator<Item = outlier::Event>, now: Instant) {
        for event in events {
            let (id, is_ejected) = match event {
                outlier::Event::Ejected { id, .. } => (id, true),
                outlier::Event::Returned { id } => (id, false),
            };
            self.balancer.judge(id, now, |health| health.is_ejected = is_ejected);
        }
    }
}

struct Call {
    shard: usize,
    place: Place,
    at: Duration,
}

#[derive(Default)]
struct Endpoint {
    busy: usize,
    queue: VecDeque<usize>,
}

fn run(plan: &Plan, random: &mut Random) -> Outcome {
    let start = start();
    let ids: Vec<(u64, f32)> = plan.work.iter().map(|_| (random.next(), 1.0)).collect();
    let mut shards: Vec<Shard> = (0..plan.shards).map(|shard| a_shard(plan, shard, &ids, start, random)).collect();
    let mut endpoints: Vec<Endpoint> = plan.work.iter().map(|_| Endpoint::default()).collect();
    let mut calls: Vec<Call> = Vec::new();
    let mut outcome = Outcome { counts: vec![0; ids.len()], latencies: Vec::new(), errors: 0 };
    let mut events: BinaryHeap<Reverse<(Duration, Event)>> = BinaryHeap::new();
    let exponential = |random: &mut Random, mean: Duration| mean.mul_f64(-(1.0 - random.unit()).ln());
    let between = Duration::from_secs_f64(plan.shards as f64 / plan.rate);
    for shard in 0..plan.shards {
        events.push(Reverse((exponential(random, between), Event::Call { shard })));
    }
    events.extend(plan.told_every.map(|every| Reverse((every, Event::Tell))));

    while let Some(Reverse((at, event))) = events.pop() {
        let now = start + at;
        match event {
            Event::Call { shard } if at < plan.lasts => {
                events.push(Reverse((at + exponential(random, between), Event::Call { shard })));
                let balancer = &mut shards[shard].balancer;
                let place = balancer.pick(Ask::default(), now, &mut || random.next()).unwrap();
                balancer.begin(place);
                let endpoint = ids.iter().position(|(id, _)| *id == place.id).unwrap();
                outcome.counts[endpoint] += 1;
                calls.push(Call { shard, place, at });
                endpoints[endpoint].queue.push_back(calls.len() - 1);
                work(plan, endpoint, &mut endpoints, at, &mut events, |mean| exponential(random, mean));
            }
            Event::Done { endpoint, call } => {
                let Call { shard, place, at: begun } = calls[call];
                let shard = &mut shards[shard];
                let is_error = plan.fails.as_ref().is_some_and(|(who, when)| *who == endpoint && when.contains(&at));
                let how = if is_error { outlier::Outcome::Error } else { outlier::Outcome::Success };
                outcome.errors += usize::from(is_error);
                shard.balancer.end(place, Some(at - begun), now);
                let ejected = shard.outlier.record(place, how, now, || random.next());
                shard.follow(ejected, now);
                if shard.outlier.next_tick() <= now {
                    let mut returned = Vec::new();
                    shard.outlier.tick(now, &mut || random.next(), |event| returned.push(event));
                    shard.follow(returned, now);
                }
                outcome.latencies.push(at - begun);
                endpoints[endpoint].busy -= 1;
                work(plan, endpoint, &mut endpoints, at, &mut events, |mean| exponential(random, mean));
            }
            Event::Tell if at < plan.lasts => {
                tell(&mut shards, now);
                events.extend(plan.told_every.map(|every| Reverse((at + every, Event::Tell))));
            }
            _ => {}
        }
    }
    outcome.latencies.sort_unstable();
    outcome
}

fn a_shard(plan: &Plan, shard: usize, ids: &[(u64, f32)], start: Instant, random: &mut Random) -> Shard {
    let mut balancer = Balancer::new(Settings { rule: plan.rule, ..Settings::default() }).unwrap();
    let parts = subset(Peer::shard(shard, plan.shards), ids, plan.subset.unwrap_or(ids.len()));
    let entry = |part: &Part| Entry { id: ids[part.index].0, weight: 1.0, share: part.share };
    let entries: Vec<Entry> = parts.iter().map(entry).collect();
    balancer.set(&entries, start, &mut || random.next());
    let mut outlier = Outlier::new(outlier::Settings::default(), start).unwrap();
    outlier.set(&entries.iter().map(|entry| entry.id).collect::<Vec<u64>>());
    Shard { balancer, outlier, shares: Shares::default() }
}

/// An endpoint takes on what it has workers for.
fn work(
    plan: &Plan,
    endpoint: usize,
    endpoints: &mut [Endpoint],
    at: Duration,
    events: &mut BinaryHeap<Reverse<(Duration, Event)>>,
    mut takes: impl FnMut(Duration) -> Duration,
) {
    let Endpoint { busy, queue } = &mut endpoints[endpoint];
    while *busy < plan.workers {
        let Some(call) = queue.pop_front() else { break };
        *busy += 1;
        events.push(Reverse((at + takes(plan.work[endpoint]), Event::Done { endpoint, call })));
    }
}

/// Each shard tells all others what it knows.
fn tell(shards: &mut [Shard], now: Instant) {
    let said: Vec<Vec<Report>> = shards.iter_mut().map(|shard| shard.reports(now)).collect();
    for (here, shard) in shards.iter_mut().enumerate() {
        for (there, reports) in said.iter().enumerate().filter(|(there, _)| *there != here) {
            shard.hear(there, reports, now);
        }
        for index in 0..shard.balancer.members().len() {
            let id = shard.balancer.members()[index].id();
            let elsewhere = shard.shares.elsewhere(id, now);
            let as_of = elsewhere.as_of.unwrap_or(now);
            shard.balancer.hear(Place { index, id }, elsewhere.outstanding, elsewhere.latency, as_of);
        }
    }
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// 32 shards and 20 endpoints of 4 workers, 60 % busy: 480 calls a second to each. Peak-EWMA remembers slow answers for its decay
/// time of 10 s, and is even only over a few of these.
fn even(rule: Rule, subset: Option<usize>, told_every: Option<Duration>) -> Plan {
    Plan {
        rule,
        shards: 32,
        subset,
        told_every,
        work: vec![Duration::from_millis(5); 20],
        workers: 4,
        rate: 20.0 * 4.0 * 200.0 * 0.6,
        lasts: Duration::from_secs(if rule == Rule::PeakEwma { 30 } else { 10 }),
        fails: None,
    }
}

#[track_caller]
fn check_even(rule: Rule, subset: Option<usize>, told_every: Option<Duration>) {
    for_seeds(2, |random| {
        let Outcome { counts, .. } = run(&even(rule, subset, told_every), random);
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        let off = counts.iter().map(|count| (*count as f64 / mean - 1.0).abs()).fold(0.0, f64::max);
        println!("{rule:?}, subsets of {subset:?}, told every {told_every:?}: within {:.1} % of even", off * 100.0);
        assert!(off < 0.1, "{rule:?} {subset:?}: {counts:?}");
    });
}

#[test]
fn thirty_two_shards_with_subsets_load_twenty_endpoints_evenly() {
    for rule in [Rule::RoundRobin, Rule::Weighted, Rule::LeastRequests, Rule::PeakEwma] {
        check_even(rule, Some(SUBSET_MIN), None);
    }
}

/// Latencies that a shard has seen in so few calls are too uncertain for peak-EWMA to be as even among so few endpoints.
#[test]
fn so_they_do_with_smaller_ones() {
    for rule in [Rule::RoundRobin, Rule::Weighted, Rule::LeastRequests] {
        check_even(rule, Some(4), None);
    }
}

#[test]
fn so_they_do_when_they_tell_each_other_of_their_calls() {
    let told_every = Some(Duration::from_millis(50));
    for (rule, subset) in
        [(Rule::LeastRequests, Some(4)), (Rule::LeastRequests, None), (Rule::PeakEwma, Some(SUBSET_MIN))]
    {
        check_even(rule, subset, told_every);
    }
}

/// One endpoint of 20 takes 20 times as long, and is not overloaded by that.
fn slow(rule: Rule, shards: usize, subset: Option<usize>) -> Plan {
    let mut work = vec![Duration::from_millis(5); 20];
    work[7] = Duration::from_millis(100);
    Plan {
        rule,
        shards,
        subset,
        told_every: None,
        work,
        workers: 64,
        rate: 4_000.0,
        lasts: Duration::from_secs(60),
        fails: None,
    }
}

#[test]
fn peak_ewma_keeps_the_slowest_hundredth_three_times_faster_than_round_robin() {
    for (shards, subset) in [(1, None), (32, Some(SUBSET_MIN)), (32, None)] {
        for_seeds(2, |random| {
            let [turns, ewma, least] = [Rule::RoundRobin, Rule::PeakEwma, Rule::LeastRequests]
                .map(|rule| percentile(&run(&slow(rule, shards, subset), random).latencies, 0.99));
            println!(
                "{shards} shards, subsets of {subset:?}: p99 {turns:?} by turns, {least:?} by calls, {ewma:?} by peak-EWMA"
            );
            assert!(ewma * 3 <= turns, "{ewma:?} {turns:?}");
        });
    }
}

#[test]
fn two_choices_wait_less_than_turns_do() {
    for_seeds(2, |random| {
        let [turns, least] = [Rule::RoundRobin, Rule::LeastRequests].map(|rule| {
            let plan = Plan {
                rate: 20.0 * 200.0 * 0.85,
                workers: 1,
                shards: 1,
                lasts: Duration::from_secs(60),
                ..even(rule, None, None)
            };
            percentile(&run(&plan, random).latencies, 0.99)
        });
        println!("p99 {turns:?} by turns, {least:?} by two choices");
        assert!(least * 3 <= turns * 2, "{least:?} {turns:?}");
    });
}

/// For ten seconds one endpoint of 20 answers every call with an error, and 50 calls a second of each shard would go to it.
#[test]
fn who_answers_nothing_but_errors_is_soon_left_alone_and_sooner_where_shards_tell_each_other() {
    for_seeds(2, |random| {
        let [alone, together] = [None, Some(Duration::from_millis(20))].map(|told_every| {
            let fails = Some((3, Duration::from_secs(5)..Duration::from_secs(15)));
            let plan = Plan {
                rate: 32_000.0,
                workers: 64,
                fails,
                lasts: Duration::from_secs(20),
                ..even(Rule::LeastRequests, None, told_every)
            };
            run(&plan, random).errors
        });
        println!("{alone} errors where each shard learns by itself, {together} where they tell each other");
        assert!(alone <= 32 * 6, "{alone}");
        assert!(together <= 32 * 3, "{together}");
    });
}

/// What other shards told is old before the next news comes where calls take less time than that. Shards that believed it all the
/// while waited two to three times as long as ones that know nothing of each other.
#[test]
fn what_shards_tell_each_other_helps_and_does_no_harm_where_it_comes_seldom() {
    let p99 = |rule, workers, told_every: Option<u64>| {
        let rate = 20.0 * workers as f64 * 200.0 * 0.85;
        let lasts = Duration::from_secs(5);
        let told_every = told_every.map(Duration::from_millis);
        let plan = Plan { rate, workers, lasts, ..even(rule, None, told_every) };
        let p99 = percentile(&run(&plan, &mut Random::new(1)).latencies, 0.99);
        println!("{rule:?}, {workers} workers, told every {told_every:?}: p99 {p99:?}");
        p99
    };
    for rule in [Rule::LeastRequests, Rule::PeakEwma] {
        let alone = p99(rule, 1, None);
        assert!(p99(rule, 1, Some(10)) * 10 <= alone * 9);
        assert!(p99(rule, 1, Some(100)) * 10 <= alone * 11);
        let alone = p99(rule, 8, None);
        assert!(p99(rule, 8, Some(50)) * 10 <= alone * 11);
    }
}
