use super::{interval, median, rank};

#[test]
fn medians() {
    assert!(median(&[]).is_nan());
    assert_eq!(median(&[3.0]), 3.0);
    assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), 3.0);
}

/// The ranks of the usual tables for the sign test's interval.
#[test]
fn ranks() {
    for (count, expect) in [
        (0, None),
        (5, None),
        (6, Some(1)),
        (9, Some(2)),
        (10, Some(2)),
        (20, Some(6)),
        (30, Some(10)),
        (100, Some(40)),
    ] {
        assert_eq!(rank(count), expect, "{count} values");
    }
}

#[test]
fn an_outlier_does_not_widen_the_interval() {
    let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
    assert_eq!(interval(&values), Some((6.0, 15.0)));
    values[19] = 1e9;
    assert_eq!(interval(&values), Some((6.0, 15.0)));
    assert_eq!(interval(&values[..5]), None);
}
