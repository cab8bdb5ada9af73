use std::time::Duration;

use super::{Finding, Probe, Settings, Verdict};
use crate::testing::{for_seeds, start};

/// Findings: pass `+`, degraded `~`, fail `-`, refusal `!`. Verdicts after each: `u`p, `d`egraded, `_` down.
#[track_caller]
fn check(settings: Settings, findings: &str, expect: &str) {
    let now = start();
    let mut probe = Probe::new(settings, now, 0).unwrap();
    let letter = |verdict| match verdict {
        Verdict::Up => 'u',
        Verdict::Degraded => 'd',
        Verdict::Down => '_',
    };
    let verdicts: String = findings
        .chars()
        .map(|finding| {
            let before = probe.verdict();
            let finding = match finding {
                '+' => Finding::Pass,
                '~' => Finding::Degraded,
                '-' => Finding::Fail,
                _ => Finding::Refusal,
            };
            let changed = probe.tell(finding, now, 0);
            assert_eq!(changed, (probe.verdict() != before).then_some(probe.verdict()));
            letter(probe.verdict())
        })
        .collect();
    assert_eq!(verdicts, expect, "{findings}");
}

#[test]
fn verdicts_change_after_several_in_a_row() {
    let down = Settings::default();
    check(down, "+--+---+-++", "uuuuuu____u");
    check(down, "-+", "__");
    check(down, "-++", "__u");
    check(down, "!+", "__");
    check(down, "+!", "u_");
    let up = Settings { starts_up: true, ..down };
    check(up, "---", "uu_");
    check(up, "!", "_");
    let hasty = Settings { passes: 1, failures: 1, ..down };
    check(hasty, "+-+-", "u_u_");
}

#[test]
fn degraded_is_a_way_of_being_up() {
    check(Settings::default(), "+~+~--+", "ududddu");
    check(Settings::default(), "~---~~", "ddd__d");
}

#[test]
fn is_due_after_an_interval_and_some_chance() {
    for_seeds(20, |random| {
        let settings = Settings {
            interval: Duration::from_secs(10),
            interval_down: Duration::from_secs(3),
            jitter: 0.2,
            ..Settings::default()
        };
        let now = start();
        let mut probe = Probe::new(settings, now, random.next()).unwrap();
        assert!((now..=now + Duration::from_secs(2)).contains(&probe.due()));
        probe.tell(Finding::Fail, now, random.next());
        assert!((now + Duration::from_secs(3)..=now + Duration::from_millis(3_600)).contains(&probe.due()));
        probe.tell(Finding::Pass, now, random.next());
        probe.tell(Finding::Pass, now, random.next());
        assert!((now + Duration::from_secs(10)..=now + Duration::from_secs(12)).contains(&probe.due()));
    });
}

#[test]
fn refuses_what_makes_no_sense() {
    let fine = Settings::default();
    assert_eq!(fine.check(), Ok(()));
    for wrong in [
        Settings { interval: Duration::ZERO, ..fine },
        Settings { interval_down: Duration::ZERO, ..fine },
        Settings { timeout: Duration::ZERO, ..fine },
        Settings { passes: 0, ..fine },
        Settings { failures: 0, ..fine },
        Settings { jitter: 1.5, ..fine },
        Settings { jitter: f64::NAN, ..fine },
    ] {
        assert!(Probe::new(wrong, start(), 0).is_err(), "{wrong:?}");
    }
}
