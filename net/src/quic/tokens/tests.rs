use std::time::UNIX_EPOCH;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_token_is_taken_once_for_as_long_as_it_is_good() {
    let (mut used, begin) = (Used::default(), UNIX_EPOCH + 1000 * DAY);
    assert!(used.take(1, begin, DAY) && used.take(2, begin, DAY));
    for hour in 0..=24 {
        let now = begin + hour * Duration::from_secs(60 * 60);
        assert!(!used.take(1, now, DAY) && !used.take(2, now, DAY), "after {hour} hours");
    }
    // The sets take turns: one that was used late is remembered for as long again.
    assert!(used.take(3, begin + DAY, DAY));
    assert!(used.take(4, begin + DAY + Duration::from_secs(1), DAY));
    assert!(!used.take(3, begin + 2 * DAY, DAY));
    assert!(used.take(5, begin + 2 * DAY + Duration::from_secs(2), DAY));
    assert!(!used.take(4, begin + 2 * DAY + Duration::from_secs(2), DAY));
    // A clock that is set back forgets nothing.
    assert!(!used.take(5, begin, DAY));
}

#[test]
fn no_more_are_taken_than_are_remembered() {
    let (mut used, now) = (Used::default(), UNIX_EPOCH);
    assert!((0..QUIC_TOKENS_USED_MAX as u128).all(|nonce| used.take(nonce, now, DAY)));
    assert!(!used.take(u128::MAX, now, DAY));
    assert!(used.take(u128::MAX, now + 2 * DAY, DAY), "room again");
}
