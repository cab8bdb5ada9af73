use super::{dropped, next};

/// Of `limit` calls, so many wait.
#[track_caller]
fn check(limit: f64, queue: f64, expect: f64) {
    let next = next(limit, limit / (limit - queue));
    assert!((next - expect).abs() < 1e-9, "{next}, not {expect}");
}

#[test]
fn it_grows_shrinks_and_stays() {
    // The logarithm of a hundred is two.
    check(100.0, -10.0, 112.0);
    check(100.0, 0.0, 112.0);
    check(100.0, 1.9, 112.0);
    check(100.0, 2.1, 102.0);
    check(100.0, 5.9, 102.0);
    check(100.0, 6.1, 100.0);
    check(100.0, 11.9, 100.0);
    check(100.0, 12.1, 98.0);
    check(100.0, 99.0, 98.0);
    // One below one is one.
    check(4.0, 0.0, 10.0);
    check(4.0, 3.5, 4.0);
    assert_eq!((dropped(100.0), dropped(4.0)), (98.0, 3.0));
}
