//! Which level follows from the environment.

use super::*;

#[test]
fn the_own_variable_decides_then_the_common_one() {
    let check = |own: Option<&str>, common: Option<&str>, expect: LevelFilter, complains: bool| {
        let (found, complaint) = level(own.map(str::to_owned), common.map(str::to_owned));
        assert_eq!((found, complaint.is_some()), (expect, complains), "{own:?} {common:?}");
    };
    check(None, None, LevelFilter::INFO, false);
    check(Some("debug"), Some("error"), LevelFilter::DEBUG, false);
    check(None, Some("warn"), LevelFilter::WARN, false);
    check(None, Some("info,other=debug"), LevelFilter::INFO, false);
    check(Some("off"), None, LevelFilter::OFF, false);
    check(Some("loud"), Some("error"), LevelFilter::INFO, true);
}
