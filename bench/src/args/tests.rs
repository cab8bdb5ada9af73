use super::Args;
use crate::Result;

/// Parses a line as a program with one number, one text and one flag would.
fn parse(line: &str) -> Result<(u32, Option<String>, bool)> {
    let mut args = Args { words: line.split_whitespace().map(String::from).collect(), usage: "usage: x" };
    let parsed = (args.value("--pairs", 20)?, args.optional("--path")?, args.flag("--fast"));
    args.finish()?;
    Ok(parsed)
}

#[track_caller]
fn check(line: &str, expect: std::result::Result<(u32, Option<&str>, bool), &str>) {
    match (parse(line), expect) {
        (Ok((pairs, path, fast)), Ok(expect)) => assert_eq!((pairs, path.as_deref(), fast), expect, "{line}"),
        (Err(error), Err(expect)) => assert!(error.to_string().starts_with(expect), "{line}: {error}"),
        (got, expect) => panic!("{line}: got {got:?}, not {expect:?}"),
    }
}

#[test]
fn parses_and_refuses() {
    check("", Ok((20, None, false)));
    check("--fast --pairs 3 --path /x", Ok((3, Some("/x"), true)));
    check("--pairs many", Err("--pairs many: invalid digit"));
    check("--pairs", Err("--pairs wants a value"));
    check("--quick", Err("unknown option --quick"));
    check("--pairs 3 4", Err("unknown option 4"));
}

#[test]
fn names_what_is_missing() {
    let mut args = Args { words: Vec::new(), usage: "usage: x" };
    let error = args.required::<u32>("--pairs").unwrap_err();
    assert!(error.to_string().starts_with("--pairs is missing"));
}
