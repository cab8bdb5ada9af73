use super::{dropped, next};

#[track_caller]
fn check(slowdown: f64, expect: f64) {
    let next = next(100.0, slowdown);
    assert!((next - expect).abs() < 1e-9, "{next}, not {expect}");
}

#[test]
fn it_grows_and_shrinks() {
    // As fast as usual, or nearly: four calls more, of which a fifth is believed.
    check(0.5, 100.8);
    check(1.0, 100.8);
    check(1.5, 100.8);
    // Twice as slow: three quarters and four calls.
    check(2.0, 100.0 + (75.0 + 4.0 - 100.0) * 0.2);
    // However slow: a half, no less.
    check(1e9, 100.0 + (50.0 + 4.0 - 100.0) * 0.2);
    assert_eq!(dropped(100.0), 90.0);
}
