use std::time::{Duration, Instant};

use super::{Event, Outcome, Outlier, Reason, Settings, Tally};
use crate::place::Place;
use crate::testing::{for_seeds, start};

const SECOND: Duration = Duration::from_secs(1);

/// Twenty members, of whom two may be ejected.
struct Watch {
    outlier: Outlier,
    start: Instant,
}

impl Watch {
    fn new(settings: Settings) -> Watch {
        let start = start();
        let mut outlier = Outlier::new(settings, start).unwrap();
        outlier.set(&(0..20).collect::<Vec<u64>>());
        Watch { outlier, start }
    }

    fn place(&self, id: u64) -> Place {
        self.outlier.place(id).unwrap()
    }

    /// So many calls to a member end so; the last one's event.
    fn record(&mut self, id: u64, outcome: Outcome, count: u32, at: Duration) -> Option<Event> {
        let place = self.place(id);
        (0..count).filter_map(|_| self.outlier.record(place, outcome, self.start + at, || 0)).last()
    }

    fn tick(&mut self, at: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        self.outlier.tick(self.start + at, &mut || 0, |event| events.push(event));
        events
    }

    fn ejected(&self, id: u64, reason: Reason, until: Duration) -> Event {
        Event::Ejected { id, until: self.start + until, reason }
    }
}

#[test]
fn errors_in_a_row_eject_and_a_success_in_between_does_not() {
    let mut watch = Watch::new(Settings::default());
    assert_eq!(watch.record(1, Outcome::Error, 4, SECOND), None);
    assert_eq!(watch.record(1, Outcome::Success, 1, SECOND), None);
    assert_eq!(watch.record(1, Outcome::GatewayError, 4, SECOND), None);
    assert_eq!(watch.record(1, Outcome::Error, 1, SECOND), Some(watch.ejected(1, Reason::Errors, 31 * SECOND)));
    assert_eq!(watch.record(1, Outcome::Error, 9, SECOND), None, "it is ejected already");
    assert_eq!(watch.outlier.ejected(), 1);
}

#[test]
fn errors_of_the_gateways_kind_eject_if_asked_to() {
    let mut watch = Watch::new(Settings { errors: None, gateway_errors: Some(3), ..Settings::default() });
    assert_eq!(watch.record(1, Outcome::GatewayError, 2, SECOND), None);
    assert_eq!(watch.record(1, Outcome::Error, 9, SECOND), None);
    assert_eq!(watch.record(1, Outcome::GatewayError, 2, SECOND), None);
    let ejected = watch.ejected(1, Reason::GatewayErrors, 31 * SECOND);
    assert_eq!(watch.record(1, Outcome::GatewayError, 1, SECOND), Some(ejected));
}

#[test]
fn ejections_grow_by_the_base_up_to_the_longest_and_shrink_with_health() {
    let mut watch = Watch::new(Settings::default());
    let mut now = Duration::ZERO;
    let mut times = Vec::new();
    for _ in 0..12 {
        let Some(Event::Ejected { until, .. }) = watch.record(1, Outcome::Error, 5, now) else { panic!("not ejected") };
        times.push((until - watch.start - now).as_secs());
        now = until - watch.start;
        assert_eq!(watch.tick(now), [Event::Returned { id: 1 }]);
    }
    assert_eq!(times, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);

    // It takes the tenth step of 300 seconds; each interval of health is a step back.
    for _ in 0..9 {
        now += 10 * SECOND;
        assert_eq!(watch.tick(now), []);
    }
    assert_eq!(watch.record(1, Outcome::Error, 5, now), Some(watch.ejected(1, Reason::Errors, now + 60 * SECOND)));
}

#[test]
fn no_more_than_a_tenth_is_ejected_but_one_always_may_be() {
    let mut watch = Watch::new(Settings::default());
    let ejected: Vec<u64> = (0..20).filter(|id| watch.record(*id, Outcome::Error, 5, SECOND).is_some()).collect();
    assert_eq!(ejected, [0, 1]);
    // When one returns, another that still fails takes its place.
    assert_eq!(watch.tick(31 * SECOND).len(), 2);
    assert!(watch.record(7, Outcome::Error, 1, 31 * SECOND).is_some());

    let mut three = Watch::new(Settings { ejected_percent_max: 0, ..Settings::default() });
    three.outlier.set(&[1, 2, 3]);
    assert!(three.record(1, Outcome::Error, 5, SECOND).is_some());
    assert!(three.record(2, Outcome::Error, 5, SECOND).is_none());
}

#[test]
fn a_success_rate_far_below_the_mean_ejects_at_the_end_of_the_interval() {
    let mut watch = Watch::new(Settings { errors: None, ..Settings::default() });
    for id in 0..10 {
        watch.record(id, Outcome::Success, if id == 4 { 70 } else { 99 }, SECOND);
        watch.record(id, Outcome::Error, if id == 4 { 30 } else { 1 }, SECOND);
    }
    assert_eq!(watch.tick(9 * SECOND), []);
    assert_eq!(watch.outlier.next_tick(), watch.start + 10 * SECOND);
    let ejected = watch.ejected(4, Reason::SuccessRate, 40 * SECOND);
    assert_eq!(watch.tick(10 * SECOND), [ejected]);
    assert_eq!(watch.tick(20 * SECOND), [], "each interval is judged by itself");
    assert_eq!(watch.outlier.next_tick(), watch.start + 30 * SECOND);
    assert_eq!(watch.tick(40 * SECOND), [Event::Returned { id: 4 }]);
}

#[test]
fn success_rates_are_compared_only_where_enough_is_known() {
    for (members, requests, is_ejected) in [(5, 100, true), (4, 100, false), (5, 99, false)] {
        let mut watch = Watch::new(Settings { errors: None, ..Settings::default() });
        for id in 0..members {
            watch.record(id, if id == 0 { Outcome::Error } else { Outcome::Success }, requests, SECOND);
        }
        assert_eq!(watch.tick(10 * SECOND).len(), usize::from(is_ejected), "{members} members, {requests} requests");
    }
}

#[test]
fn what_other_shards_counted_is_compared_too() {
    let mut here = Watch::new(Settings { errors: None, ..Settings::default() });
    let mut there = Watch::new(Settings { errors: None, ..Settings::default() });
    for id in 0..6 {
        for watch in [&mut here, &mut there] {
            watch.record(id, if id == 2 { Outcome::Error } else { Outcome::Success }, 50, SECOND);
        }
        let place = there.place(id);
        let tally = there.outlier.take_tally(place);
        assert_eq!((tally.requests, there.outlier.take_tally(place)), (50, Tally::default()));
        here.outlier.add(place, tally);
    }
    assert_eq!(here.tick(10 * SECOND), [here.ejected(2, Reason::SuccessRate, 40 * SECOND)]);
    assert_eq!(there.tick(10 * SECOND), [], "by itself it has seen too little");
}

#[test]
fn an_ejection_elsewhere_holds_here_within_the_same_bounds() {
    let mut watch = Watch::new(Settings::default());
    let until = watch.start + 5 * SECOND;
    let adopt = |watch: &mut Watch, id| {
        let (place, start) = (watch.place(id), watch.start);
        watch.outlier.adopt(place, until, start).is_some()
    };
    assert_eq!([3, 3, 4, 5].map(|id| adopt(&mut watch, id)), [true, false, true, false]);
    assert_eq!(watch.outlier.ejected_until(watch.place(3)), Some(until));
    assert_eq!(watch.outlier.ejected_here_until(watch.place(3)), None, "it is not told back");
    assert_eq!(watch.outlier.next_tick(), until);
    assert_eq!(watch.tick(5 * SECOND).len(), 2);
    let place = watch.place(5);
    assert_eq!(watch.outlier.adopt(place, until, until), None, "it is over");
}

#[test]
fn a_passed_probe_pardons() {
    let mut watch = Watch::new(Settings::default());
    watch.record(1, Outcome::Error, 5, SECOND);
    watch.record(2, Outcome::Error, 4, SECOND);
    let places = [1, 2].map(|id| watch.place(id));
    assert_eq!(places.map(|place| watch.outlier.pardon(place)), [Some(Event::Returned { id: 1 }), None]);
    assert_eq!(watch.record(2, Outcome::Error, 4, SECOND), None, "what was counted is forgotten");
    assert_eq!(watch.outlier.ejected(), 0);
}

#[test]
fn what_is_known_stays_with_an_id_when_the_set_changes() {
    let mut watch = Watch::new(Settings::default());
    let gone = watch.place(19);
    let moved = watch.place(5);
    watch.record(5, Outcome::Error, 5, SECOND);
    watch.record(6, Outcome::Error, 4, SECOND);
    watch.outlier.set(&[6, 5, 100]);
    assert_eq!(watch.outlier.ejected_here_until(moved), Some(watch.start + 31 * SECOND));
    assert_eq!(watch.outlier.record(gone, Outcome::Error, watch.start, || 0), None);
    watch.outlier.set(&[6]);
    assert_eq!(watch.outlier.ejected(), 0);
    assert!(watch.record(6, Outcome::Error, 1, SECOND).is_some());
}

#[test]
fn jitter_is_added_to_each_ejection() {
    for_seeds(50, |random| {
        let mut watch = Watch::new(Settings { ejection_jitter: 4 * SECOND, ..Settings::default() });
        let place = watch.place(1);
        for _ in 0..4 {
            watch.outlier.record(place, Outcome::Error, watch.start, || random.next());
        }
        watch.outlier.record(place, Outcome::Error, watch.start, || random.next());
        let until = watch.outlier.ejected_until(place).unwrap() - watch.start;
        assert!((30 * SECOND..=34 * SECOND).contains(&until), "{until:?}");
    });
}

/// Whatever happens, the share that is ejected is bounded and nobody is ejected for ever.
#[test]
fn holds_its_bounds_at_random() {
    for_seeds(50, |random| {
        let mut watch = Watch::new(Settings { ejected_percent_max: 25, ..Settings::default() });
        let mut now = Duration::ZERO;
        for _ in 0..5_000 {
            now += Duration::from_millis(random.below(2_000));
            let outcome = [Outcome::Success, Outcome::Error, Outcome::GatewayError][random.below(3) as usize];
            let id = random.below(20);
            watch.record(id, outcome, 1 + random.below(4) as u32, now);
            if random.chance(0.2) {
                watch.tick(now);
            }
            assert!(watch.outlier.ejected() <= 5);
            assert_eq!(
                (0..20).filter(|id| watch.outlier.ejected_until(watch.place(*id)).is_some()).count(),
                watch.outlier.ejected()
            );
        }
        watch.tick(now + 301 * SECOND);
        assert_eq!(watch.outlier.ejected(), 0);
    });
}

#[test]
fn refuses_what_makes_no_sense() {
    let fine = Settings::default();
    assert_eq!(fine.check(), Ok(()));
    for wrong in [
        Settings { errors: Some(0), ..fine },
        Settings { gateway_errors: Some(0), ..fine },
        Settings { interval: Duration::ZERO, ..fine },
        Settings { ejection_base: Duration::ZERO, ..fine },
        Settings { ejected_percent_max: 101, ..fine },
        Settings { success_rate: Some(super::SuccessRate { deviations: 0.0, ..Default::default() }), ..fine },
    ] {
        assert!(Outlier::new(wrong, start()).is_err(), "{wrong:?}");
    }
}
