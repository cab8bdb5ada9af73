use std::path::Path;

use super::{parse_lines, tidy};
use crate::upstream::Endpoint;

#[track_caller]
fn check(text: &str, expect: Result<&[&str], &str>) {
    let found = parse_lines(Path::new("list"), text.as_bytes());
    let found =
        found.map(|found| found.iter().map(|endpoint| format!("{endpoint} {}", endpoint.weight)).collect::<Vec<_>>());
    let expect = expect.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect()).map_err(str::to_owned);
    assert_eq!(found, expect);
}

#[test]
fn lines_are_read() {
    check("", Ok(&[]));
    check("# none\n\n", Ok(&[]));
    check("10.0.0.1:80\n[::1]:81 7 # the big one\r\n", Ok(&["10.0.0.1:80 1", "[::1]:81 7"]));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let no_address =
        |line, word: &str| format!("list:{line}: {word:?} is no address with a port, such as 10.0.0.7:8080");
    check("10.0.0.1:80\nfoo", Err(&no_address(2, "foo")));
    check("10.0.0.1", Err(&no_address(1, "10.0.0.1")));
    check("10.0.0.1:0", Err(&no_address(1, "10.0.0.1:0")));
    check("10.0.0.1:80 0", Err("list:1: the weight is no number from 1 to 65536"));
    check("10.0.0.1:80 x", Err("list:1: the weight is no number from 1 to 65536"));
    check("\n\n10.0.0.1:80 1 2", Err("list:3: \"2\" is too much: there is an address, and perhaps its weight"));
    let found = parse_lines(Path::new("list"), b"\xff");
    assert_eq!(found.unwrap_err(), "list: it is not UTF-8");
}

#[test]
fn what_is_found_is_put_in_order() {
    let endpoint = |text| Endpoint::parse(text).unwrap();
    let found = tidy(vec![endpoint("10.0.0.2:80"), endpoint("10.0.0.1:80 3"), endpoint("10.0.0.2:80")]);
    assert_eq!(found, [endpoint("10.0.0.1:80 3"), endpoint("10.0.0.2:80")]);
    assert_eq!(tidy(vec![Endpoint { weight: 0, ..endpoint("10.0.0.1:80") }])[0].weight, 1);
}
