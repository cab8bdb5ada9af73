use std::time::Duration;

use super::{Elsewhere, Report, Shares};
use crate::limits::REPORT_FRESH;
use crate::outlier::Tally;
use crate::testing::start;

fn report(id: u64, outstanding: u32) -> Report {
    Report { id, outstanding, latency: None, ejected_until: None, tally: Tally::default() }
}

#[test]
fn sums_what_all_shards_said_last() {
    let now = start();
    let mut shares = Shares::default();
    assert_eq!(shares.elsewhere(1, now), Elsewhere::default());
    shares.hear(3, &[report(2, 5), report(1, 1)], now);
    shares.hear(0, &[report(1, 2)], now);
    assert_eq!(shares.elsewhere(1, now).outstanding, Some(3));
    assert_eq!(shares.elsewhere(2, now).outstanding, Some(5));
    assert_eq!(shares.elsewhere(9, now).outstanding, Some(0), "nobody has anything to do with it");
    shares.hear(3, &[report(1, 7)], now);
    assert_eq!(shares.elsewhere(1, now).outstanding, Some(9));
    assert_eq!(shares.elsewhere(2, now).outstanding, Some(0));
    shares.hear(0, &[report(1, u32::MAX)], now);
    assert_eq!(shares.elsewhere(1, now).outstanding, Some(u32::MAX));
}

#[test]
fn forgets_a_shard_that_is_silent() {
    let now = start();
    let mut shares = Shares::default();
    shares.hear(0, &[report(1, 2)], now);
    shares.hear(1, &[report(1, 3)], now + REPORT_FRESH / 2);
    let both = shares.elsewhere(1, now + REPORT_FRESH);
    assert_eq!((both.outstanding, both.as_of), (Some(5), Some(now + REPORT_FRESH / 4)));
    assert_eq!(shares.elsewhere(1, now + REPORT_FRESH * 5 / 4).outstanding, Some(3));
    assert_eq!(shares.elsewhere(1, now + REPORT_FRESH * 2).outstanding, None);
}

#[test]
fn believes_the_fastest_and_the_most_careful() {
    let now = start();
    let ms = Duration::from_millis;
    let mut shares = Shares::default();
    shares.hear(0, &[Report { latency: Some(ms(9)), ejected_until: Some(now + ms(10)), ..report(1, 0) }], now);
    shares.hear(1, &[Report { latency: Some(ms(4)), ejected_until: Some(now + ms(30)), ..report(1, 0) }], now);
    shares.hear(2, &[report(1, 0)], now);
    let all =
        Elsewhere { outstanding: Some(0), as_of: Some(now), latency: Some(ms(4)), ejected_until: Some(now + ms(30)) };
    assert_eq!(shares.elsewhere(1, now), all);
}
