//! What the environment can say, and what a test makes of it.

use super::*;

#[track_caller]
fn check(one: Option<&str>, several: Option<&str>, expect: Result<Range<u64>, &str>) {
    let chosen = choose(one.map(str::to_owned), several.map(str::to_owned), 3);
    match expect {
        Ok(range) => assert_eq!(chosen, Ok(range)),
        Err(text) => assert!(chosen.as_ref().is_err_and(|error| error.contains(text)), "{chosen:?}"),
    }
}

#[test]
fn the_environment_says_which_seeds() {
    check(None, None, Ok(0..3));
    check(Some("17"), None, Ok(17..18));
    check(Some("17"), Some("1000"), Ok(17..18));
    check(None, Some("1000"), Ok(0..1000));
    check(None, Some("500..1000"), Ok(500..1000));
}

#[test]
fn what_it_cannot_mean_is_refused_with_a_remedy() {
    check(Some("x"), None, Err("SHARDWISE_SEED=x is not a seed. Write a number"));
    check(Some(""), None, Err("SHARDWISE_SEED=17"));
    check(Some("18446744073709551615"), None, Err("is not a seed"));
    for bad in ["", "0", "x", "5..5", "9..3", "..", "1..x"] {
        check(None, Some(bad), Err("names no seeds. Write how many"));
    }
}
