//! What each rule promises, and what is decided before all of them.

use std::time::Duration;

use super::super::{Ask, Balancer, Entry, Rule, Settings, maglev};
use super::{ALL_RULES, Set, assert_near, entries};
use crate::limits::{MAGLEV_TABLE, MEMBERS_MAX};
use crate::place::Place;
use crate::slow_start::SlowStart;
use crate::testing::{for_seeds, start};

#[test]
fn round_robin_asks_each_in_turn_and_who_follows_an_ill_one_gets_no_more() {
    let mut set = Set::of(Rule::RoundRobin, 5, 1);
    assert_eq!(set.counts(500), [100; 5]);
    set.fail([2]);
    assert_eq!(set.counts(400), [100, 100, 0, 100, 100]);
}

#[test]
fn weighted_turns_are_as_many_as_weights_say_and_evenly_spread() {
    for_seeds(20, |random| {
        let mut set =
            Set::new(Settings { rule: Rule::Weighted, ..Settings::default() }, &[5.0, 1.0, 1.0, 0.5], random.next());
        for _ in 0..10 {
            let counts = set.counts(75);
            counts
                .iter()
                .zip([50, 10, 10, 5])
                .for_each(|(count, expect)| assert!(count.abs_diff(expect) <= 1, "{counts:?}"));
        }
        let picks: Vec<usize> = (0..200).map(|_| set.pick(Ask::default()).unwrap()).collect();
        assert!(picks.windows(4).all(|picks| picks.contains(&0)), "{picks:?}");
    });
}

#[test]
fn weighted_turns_of_an_ill_member_are_not_made_up_for() {
    for_seeds(20, |random| {
        let mut set =
            Set::new(Settings { rule: Rule::Weighted, ..Settings::default() }, &[3.0, 2.0, 1.0], random.next());
        set.fail([0]);
        let counts = set.counts(300);
        assert_eq!(counts[0], 0);
        assert!(counts[1].abs_diff(200) <= 1, "{counts:?}");
        set.balancer.judge(0, set.now, |health| health.is_failing = false);
        let counts = set.counts(60);
        assert!(counts[0].abs_diff(30) <= 2, "{counts:?}");
    });
}

/// Calls that never end, ten for each of a thousand members. By chance alone the most that one has is about
/// 10 + sqrt(2 * 10 * ln 1000) = 22; of two choices, 10 + log2(ln 1000) and a little (Berenbrink et al., "Balanced allocations:
/// the heavily loaded case").
#[test]
fn of_two_choices_nobody_gets_many_more_than_others() {
    for_seeds(20, |random| {
        let mut set = Set::of(Rule::LeastRequests, 1_000, random.next());
        let mut by_chance = vec![0; 1_000];
        for _ in 0..10_000 {
            let place = set.balancer.pick(Ask::default(), set.now, &mut || set.random.next()).unwrap();
            set.balancer.begin(place);
            by_chance[random.below(1_000) as usize] += 1;
        }
        let most = set.balancer.members().iter().map(|member| member.outstanding()).max().unwrap();
        let most_by_chance = *by_chance.iter().max().unwrap();
        assert!(most <= 14, "{most}");
        assert!(most_by_chance >= 19, "{most_by_chance}");
    });
}

#[test]
fn two_choices_keep_to_weights_with_and_without_load() {
    for rule in [Rule::LeastRequests, Rule::PeakEwma] {
        let weights = [4.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 4.0, 1.0, 1.0, 1.0, 1.0];
        let mut set = Set::new(Settings { rule, ..Settings::default() }, &weights, 5);
        for id in 0..weights.len() {
            let place = Place { index: id, id: id as u64 };
            set.balancer.begin(place);
            set.balancer.end(place, Some(Duration::from_millis(5)), set.now);
        }
        for (count, weight) in set.counts(200_000).into_iter().zip(weights) {
            assert_near(count, 10_000.0 * f64::from(weight), 0.05);
        }
        for _ in 0..20_000 {
            let place = set.balancer.pick(Ask::default(), set.now, &mut || set.random.next()).unwrap();
            set.balancer.begin(place);
        }
        for (member, weight) in set.balancer.members().iter().zip(weights) {
            assert_near(member.outstanding() as usize, 1_000.0 * f64::from(weight), 0.02);
        }
    }
}

#[test]
fn peak_ewma_asks_the_unknown_once_and_leaves_the_slow_alone() {
    let mut set = Set::of(Rule::PeakEwma, 2, 3);
    let [fast, slow] = [0, 1].map(|id| Place { index: id, id: id as u64 });
    set.balancer.begin(fast);
    set.balancer.end(fast, Some(Duration::from_millis(5)), set.now);
    assert_eq!(set.counts(50), [0, 50], "nothing is known of it");
    set.balancer.begin(slow);
    assert_eq!(set.counts(50), [50, 0], "nothing is known of it yet");
    set.balancer.end(slow, Some(Duration::from_millis(50)), set.now);
    for _ in 0..8 {
        set.balancer.begin(fast);
    }
    assert_eq!(set.counts(50), [50, 0], "nine of 5 ms are less than one of 50");
    set.balancer.begin(fast);
    set.balancer.begin(fast);
    assert_eq!(set.counts(50), [0, 50]);
}

#[test]
fn calls_of_other_shards_count_as_ones_own() {
    let mut set = Set::of(Rule::LeastRequests, 2, 3);
    let [one, other] = [0, 1].map(|id| Place { index: id, id: id as u64 });
    set.balancer.hear(one, Some(3), None, set.now);
    set.balancer.hear(other, Some(0), None, set.now);
    set.balancer.begin(other);
    assert_eq!(set.counts(50), [0, 50]);
    set.balancer.hear(one, None, None, set.now);
    assert_eq!(set.counts(50), [50, 0]);
}

#[test]
fn news_of_other_shards_is_believed_the_less_the_older_it_is() {
    let mut set = Set::of(Rule::LeastRequests, 2, 3);
    let [one, other] = [0, 1].map(|id| Place { index: id, id: id as u64 });
    for _ in 0..1_000 {
        set.balancer.observe(one, Duration::from_millis(20), set.now);
    }
    set.balancer.hear(one, Some(3), None, set.now);
    set.balancer.hear(other, Some(0), None, set.now);
    set.balancer.begin(other);
    assert_eq!(set.counts(50), [0, 50]);
    set.now += Duration::from_millis(20);
    assert_near(set.counts(20_000)[1], 20_000.0 / std::f64::consts::E, 0.05);
    set.now += Duration::from_millis(480);
    assert_eq!(set.counts(50), [50, 0]);
}

#[test]
fn a_ring_is_about_even_and_only_the_keys_of_who_leaves_move() {
    for_seeds(20, |random| {
        let ids: Vec<Entry> = (0..20).map(|_| Entry::new(random.next())).collect();
        let mut set = Set::of(Rule::RING, 0, random.next());
        set.balancer.set(&ids, set.now, &mut || 0);
        let before = set.by_key(20_000);
        for entry in &ids {
            let count = before.iter().filter(|id| **id == entry.id).count();
            assert_near(count, 1_000.0, 0.4);
        }
        set.balancer.set(&ids[1..], set.now, &mut || 0);
        let after = set.by_key(20_000);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert_eq!(moved, before.iter().filter(|id| **id == ids[0].id).count());
        assert!(moved <= 1_400, "{moved} of 20,000");
    });
}

#[test]
fn a_member_that_is_ill_gives_its_keys_to_all_others_and_no_other_key_moves() {
    for rule in [Rule::RING, Rule::MAGLEV] {
        let mut set = Set::of(rule, 20, 1);
        let before = set.by_key(20_000);
        set.fail([7]);
        let after = set.by_key(20_000);
        let mut heirs = vec![0; 20];
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == 7);
            heirs[*after as usize] += usize::from(*before == 7);
        }
        assert_eq!(heirs[7], 0);
        assert!(heirs.iter().filter(|count| **count > 0).count() >= 15, "{heirs:?}");
    }
}

/// A load of a few keys that everybody asks for.
#[test]
fn bounded_loads_hold() {
    for_seeds(20, |random| {
        let bound = 1.0 + random.unit() as f32;
        let rules = [Rule::Ring { points: 160, bound: Some(bound) }, Rule::Maglev { table: 2_039, bound: Some(bound) }];
        for rule in rules {
            let weights: Vec<f32> = (0..20).map(|at| if at < 10 { 1.0 } else { 2.0 }).collect();
            let mut set = Set::new(Settings { rule, ..Settings::default() }, &weights, random.next());
            for calls in 1..=1_000 {
                let ask = Ask { key: Some(random.below(4)), tried: &[] };
                let place = set.balancer.pick(ask, set.now, &mut || set.random.next()).unwrap();
                set.balancer.begin(place);
                let member = &set.balancer.members()[place.index];
                let most = (f64::from(bound) * f64::from(calls) * f64::from(member.weight()) / 30.0).ceil();
                assert!(f64::from(member.outstanding()) <= most, "{} of {calls}, at most {most}", member.outstanding());
            }
        }
    });
}

#[test]
fn a_key_whose_member_has_room_stays_there() {
    let mut set = Set::of(Rule::Ring { points: 160, bound: Some(1.5) }, 20, 1);
    let first = set.by_key(100);
    let mut places: Vec<Place> = Vec::new();
    for key in 0..100 {
        let place = set.balancer.pick(Ask { key: Some(key), tried: &[] }, set.now, &mut || 0).unwrap();
        set.balancer.begin(place);
        places.push(place);
    }
    places.iter().for_each(|place| set.balancer.end(*place, None, set.now));
    assert_eq!(set.by_key(100), first);
}

/// "At most a 1 % difference" for a table of more than 100 entries for each (section 3.4): here, one entry.
#[test]
fn a_maglev_table_is_shared_evenly_to_one_entry() {
    for_seeds(10, |random| {
        let count = 1 + random.below(400) as usize;
        let members: Vec<Entry> = (0..count).map(|_| Entry::new(random.next())).collect();
        let counts = entries_of(MAGLEV_TABLE, &members);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{least} to {most}");
        assert_eq!(counts.iter().sum::<usize>(), MAGLEV_TABLE as usize);
    });
    let weighted = entries_of(MAGLEV_TABLE, &entries(&[1.0, 2.0]));
    assert!(weighted[0].abs_diff(21_846) <= 1, "Envoy's example: {weighted:?}");
    let uneven = entries_of(MAGLEV_TABLE, &entries(&[100.0, 1.0, 0.5]));
    assert!(uneven[1].abs_diff(646) <= 1 && uneven[2].abs_diff(323) <= 1, "{uneven:?}");
}

fn entries_of(table: u32, members: &[Entry]) -> Vec<usize> {
    let mut set = Set::of(Rule::Maglev { table, bound: None }, 0, 1);
    set.balancer.set(members, set.now, &mut || 0);
    let mut rule = maglev::Maglev::new(table);
    rule.build(set.balancer.members());
    rule.counts()
}

/// Besides the keys of who leaves, which is one in N, few move: about as many again, says Envoy's documentation.
#[test]
fn few_keys_move_when_a_member_leaves_a_maglev_table() {
    for_seeds(10, |random| {
        let count = 10 + random.below(90) as usize;
        let members: Vec<Entry> = (0..count).map(|_| Entry::new(random.next())).collect();
        let mut set = Set::of(Rule::MAGLEV, 0, 1);
        set.balancer.set(&members, set.now, &mut || 0);
        let before = set.by_key(50_000);
        set.balancer.set(&members[1..], set.now, &mut || 0);
        let after = set.by_key(50_000);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved <= 50_000 * 5 / 2 / count, "{moved} of 50,000, {count} members");
    });
}

#[test]
fn keys_fall_the_same_in_whatever_order_members_are_given() {
    for rule in [Rule::RING, Rule::MAGLEV] {
        let mut one = Set::of(rule, 12, 1);
        let mut other = Set::of(rule, 0, 2);
        let mut members = entries(&[1.0; 12]);
        members.reverse();
        other.balancer.set(&members, other.now, &mut || 0);
        assert_eq!(one.by_key(2_000), other.by_key(2_000));
    }
}

#[test]
fn keys_without_hash_and_calls_without_key_are_spread() {
    for rule in [Rule::RING, Rule::MAGLEV] {
        for count in Set::of(rule, 10, 1).counts(20_000) {
            assert_near(count, 2_000.0, 0.4);
        }
    }
}

#[test]
fn another_is_tried_where_there_is_one() {
    for rule in ALL_RULES {
        for_seeds(20, |random| {
            let mut set = Set::of(rule, 4, random.next());
            set.fail([3]);
            let key = Some(random.next());
            let ask = |tried| Ask { key, tried };
            assert_eq!(set.pick(ask(&[0, 2])), Some(1), "{rule:?}");
            let last = set.pick(ask(&[0, 1, 2])).unwrap();
            assert!(last < 3, "{rule:?}: rather one who was tried than one who is ill");
        });
    }
}

#[test]
fn below_the_panic_threshold_all_are_asked() {
    for rule in ALL_RULES {
        let mut set = Set::of(rule, 10, 4);
        set.fail(0..5);
        assert!(!set.balancer.is_panicking());
        assert_eq!(set.counts(2_000)[..5], [0; 5], "{rule:?}");
        set.fail([5]);
        assert!(set.balancer.is_panicking());
        assert!(set.counts(2_000).iter().all(|count| *count > 80), "{rule:?}");
        set.fail(6..10);
        assert!(set.counts(2_000).iter().all(|count| *count > 80), "{rule:?}: though nobody is well");
    }
}

#[test]
fn without_a_panic_nobody_who_is_ill_is_asked() {
    for rule in ALL_RULES {
        let mut set = Set::new(Settings { rule, panic_percent: 0, ..Settings::default() }, &[1.0; 10], 4);
        set.fail(0..9);
        assert_eq!(set.counts(100)[9], 100, "{rule:?}");
        set.fail([9]);
        assert_eq!(set.pick(Ask::default()), None, "{rule:?}");
    }
}

#[test]
fn barred_members_are_not_asked_even_in_a_panic() {
    for rule in ALL_RULES {
        let mut set = Set::of(rule, 3, 4);
        for id in 0..2 {
            set.balancer.judge(id, set.now, |health| health.is_barred = true);
        }
        assert!(set.balancer.is_panicking());
        assert_eq!(set.counts(100), [0, 0, 100], "{rule:?}");
        set.balancer.judge(2, set.now, |health| health.is_barred = true);
        assert_eq!(set.pick(Ask::default()), None, "{rule:?}");
        set.balancer.judge(0, set.now, |health| health.is_barred = false);
        assert_eq!(set.pick(Ask { tried: &[0], ..Ask::default() }), Some(0), "{rule:?}");
    }
}

/// Envoy's table in "Degraded endpoints".
#[test]
fn degraded_members_get_what_the_well_ones_cannot_take() {
    for rule in ALL_RULES {
        for (well, degraded, expect) in [(100, 0, 1.0), (71, 0, 1.0), (71, 29, 0.994), (25, 65, 0.35), (5, 0, 1.0)] {
            let mut set = Set::new(Settings { rule, panic_percent: 0, ..Settings::default() }, &[1.0; 100], 4);
            for id in well..well + degraded {
                set.balancer.judge(id, set.now, |health| health.is_degraded = true);
            }
            set.fail(well + degraded..100);
            let counts = set.counts(10_000);
            let to_well: usize = counts[..well as usize].iter().sum();
            assert!((to_well as f64 / 10_000.0 - expect).abs() < 0.02, "{rule:?} {well} {degraded}: {to_well}");
            assert_eq!(counts[(well + degraded) as usize..].iter().sum::<usize>(), 0);
        }
    }
}

#[test]
fn who_has_just_come_is_asked_little_then_more() {
    for rule in [Rule::RoundRobin, Rule::Weighted, Rule::LeastRequests, Rule::PeakEwma] {
        let settings = Settings { rule, slow_start: Some(SlowStart::default()), ..Settings::default() };
        let mut set = Set::new(settings, &[1.0; 9], 4);
        set.now += Duration::from_secs(100);
        set.balancer.set(&entries(&[1.0; 10]), set.now, &mut || 0);
        for index in 0..10 {
            set.balancer.end(Place { index, id: index as u64 }, Some(Duration::from_millis(2)), set.now);
        }
        let mut check = |age, factor: f64| {
            set.now += age;
            let count = set.counts(50_000)[9];
            assert!((count as f64 - 50_000.0 * factor / (9.0 + factor)).abs() < 150.0, "{rule:?} {factor}: {count}");
        };
        check(Duration::ZERO, 0.1);
        check(Duration::from_secs(30), 0.5);
        check(Duration::from_secs(30), 1.0);
    }
}

#[test]
fn who_passes_its_probes_again_starts_slowly_and_who_was_ejected_does_not() {
    let settings = Settings { slow_start: Some(SlowStart::default()), ..Settings::default() };
    let mut set = Set::new(settings, &[1.0; 2], 4);
    let came = set.now;
    set.now += Duration::from_secs(100);
    for is_over in [false, true] {
        set.balancer.judge(0, set.now, |health| health.is_failing = !is_over);
        set.balancer.judge(1, set.now, |health| health.is_ejected = !is_over);
    }
    assert_eq!(set.balancer.members().iter().map(|member| member.since()).collect::<Vec<_>>(), [set.now, came]);
}

#[test]
fn what_is_known_stays_with_an_id_when_the_set_changes() {
    for rule in ALL_RULES {
        let mut set = Set::of(rule, 3, 4);
        let places = [0, 1, 2].map(|id| Place { index: id, id: id as u64 });
        places.iter().for_each(|place| set.balancer.begin(*place));
        set.fail([1]);
        set.balancer.set(&[Entry::new(9), Entry::new(1), Entry::new(0)], set.now, &mut || 0);
        let members = set.balancer.members();
        assert_eq!(members.iter().map(|member| member.outstanding()).collect::<Vec<_>>(), [0, 1, 1]);
        assert!(members[1].health().is_failing);
        set.balancer.end(places[0], None, set.now);
        set.balancer.end(places[2], None, set.now);
        assert_eq!(set.balancer.members().iter().map(|member| member.outstanding()).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!((set.balancer.find(places[0]), set.balancer.find(places[2])), (Some(2), None));
    }
}

#[test]
fn an_empty_set_has_nobody_to_ask_and_a_huge_one_is_cut() {
    for rule in ALL_RULES {
        assert_eq!(Set::of(rule, 0, 1).pick(Ask::default()), None);
        let mut set = Set::of(rule, 1, 1);
        assert_eq!(set.counts(3), [3]);
        assert_eq!(set.balancer.set(&entries(&[1.0; MEMBERS_MAX + 2]), set.now, &mut || 0), 2);
        assert!(set.pick(Ask::default()).is_some());
    }
}

#[test]
fn odd_weights_do_no_harm() {
    for rule in ALL_RULES {
        let mut set = Set::new(Settings { rule, ..Settings::default() }, &[f32::NAN, 0.0, -1.0, f32::INFINITY, 1.0], 1);
        let counts = set.counts(1_000);
        assert!(counts[3] >= 200, "{rule:?} {counts:?}");
    }
}

#[test]
fn refuses_what_makes_no_sense() {
    let rules = |rule| Settings { rule, ..Settings::default() };
    ALL_RULES.iter().for_each(|rule| assert_eq!(rules(*rule).check(), Ok(())));
    for wrong in [
        rules(Rule::Ring { points: 0, bound: None }),
        rules(Rule::Ring { points: 65_537, bound: None }),
        rules(Rule::Ring { points: 160, bound: Some(0.9) }),
        rules(Rule::Maglev { table: 65_537, bound: Some(f32::NAN) }),
        rules(Rule::Maglev { table: 65_536, bound: None }),
        rules(Rule::Maglev { table: 1, bound: None }),
        rules(Rule::Maglev { table: 4_294_967_291, bound: None }),
        Settings { panic_percent: 101, ..Settings::default() },
        Settings { slow_start: Some(SlowStart { floor: 0.0, ..SlowStart::default() }), ..Settings::default() },
    ] {
        assert!(Balancer::new(wrong).is_err(), "{wrong:?}");
    }
}

/// Sets, health and calls at random: whoever is picked may be picked, and somebody is where somebody is usable.
#[test]
fn picks_only_who_fits_at_random() {
    for rule in ALL_RULES
        .into_iter()
        .chain([Rule::Ring { points: 3, bound: Some(1.0) }, Rule::Maglev { table: 13, bound: Some(1.2) }])
    {
        for_seeds(30, |random| {
            let slow_start = random.chance(0.5).then(SlowStart::default);
            let panic_percent = random.below(101) as u8;
            let mut balancer =
                Balancer::new(Settings { rule, slow_start, panic_percent, ..Settings::default() }).unwrap();
            let mut now = start();
            let mut calls: Vec<Place> = Vec::new();
            for _ in 0..2_000 {
                now += Duration::from_millis(random.below(300));
                match random.below(40) {
                    0 => {
                        let set: Vec<Entry> = (0..20)
                            .filter_map(|id| {
                                let (weight, share) = (4.0 * random.unit() as f32, random.unit() as f32);
                                random.chance(0.7).then_some(Entry { id, weight, share })
                            })
                            .collect();
                        balancer.set(&set, now, &mut || random.next());
                    }
                    1..8 => balancer.judge(random.below(20), now, |health| {
                        health.is_failing = random.chance(0.3);
                        health.is_ejected = random.chance(0.1);
                        health.is_degraded = random.chance(0.2);
                        health.is_barred = random.chance(0.1);
                    }),
                    8..12 => {
                        let place = Place { index: random.below(20) as usize, id: random.below(20) };
                        let elsewhere = random.chance(0.8).then(|| random.below(9) as u32);
                        balancer.hear(place, elsewhere, Some(Duration::from_micros(random.below(9_000))), now);
                    }
                    12..24 if !calls.is_empty() => {
                        let place = calls.swap_remove(random.below(calls.len() as u64) as usize);
                        balancer.end(
                            place,
                            random.chance(0.9).then(|| Duration::from_micros(random.below(90_000))),
                            now,
                        );
                    }
                    _ => {
                        let tried: Vec<u64> = (0..random.below(4)).map(|_| random.below(20)).collect();
                        let ask = Ask { key: random.chance(0.5).then(|| random.next()), tried: &tried };
                        let Some(place) = balancer.pick(ask, now, &mut || random.next()) else {
                            assert_eq!(balancer.usable(), 0, "{rule:?}");
                            continue;
                        };
                        let picked = &balancer.members()[place.index];
                        let health = picked.health();
                        assert!(!health.is_barred);
                        assert!(balancer.is_panicking() || !(health.is_failing || health.is_ejected));
                        let untried = balancer.members().iter().any(|member| {
                            let health = member.health();
                            let is_well =
                                !(health.is_failing || health.is_ejected || health.is_barred || health.is_degraded);
                            is_well && !tried.contains(&member.id())
                        });
                        assert!(!untried || !tried.contains(&place.id), "{rule:?}");
                        balancer.begin(place);
                        calls.push(place);
                    }
                }
            }
        });
    }
}
