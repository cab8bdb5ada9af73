//! Clause by clause: a table of request fields and what they are answered with.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;

use super::*;

/// `Tue, 10 Nov 2009 23:00:00 GMT`, when the representation changed, and half a second.
const MODIFIED: u64 = 1_257_894_000;

/// Evaluates fields, as lines, against a thousand bytes tagged `"v1"`, an hour after they changed.
#[track_caller]
fn check(method: Method, lines: &[&str], expect: Decision) {
    check_at(method, lines, 1000, MODIFIED + 3600, expect);
}

#[track_caller]
fn check_at(method: Method, lines: &[&str], bytes: u64, now: u64, expect: Decision) {
    let headers = lines.iter().map(|line| {
        let (name, value) = line.split_once(':').expect("a line has a name");
        (name.as_bytes(), value.as_bytes())
    });
    let modified = UNIX_EPOCH + Duration::from_millis(MODIFIED * 1000 + 500);
    let facts = Facts { bytes, tag: b"\"v1\"", modified };
    assert_eq!(evaluate(&method, headers, &facts, UNIX_EPOCH + Duration::from_secs(now)), expect, "{lines:?}");
}

#[track_caller]
fn get(line: &str, expect: Decision) {
    check(Method::GET, &[line], expect);
}

#[track_caller]
fn range(set: &str, expect: Decision) {
    get(&format!("Range: {set}"), expect);
}

use Decision::{Failed, NotModified, Range, Ranges, Unsatisfiable, Whole};

const SAME: &str = "Tue, 10 Nov 2009 23:00:00 GMT";
const BEFORE: &str = "Tue, 10 Nov 2009 22:59:59 GMT";
const AFTER: &str = "Tue, 10 Nov 2009 23:00:01 GMT";

#[test]
fn without_conditions_it_is_the_whole() {
    check(Method::GET, &[], Whole);
    check(Method::HEAD, &[], Whole);
}

/// RFC 9110 section 13.1.1.
#[test]
fn if_match_compares_strongly() {
    get("If-Match: \"v1\"", Whole);
    get("if-match: \"v0\" , \"v1\"", Whole);
    get("If-Match: *", Whole);
    get("If-Match: \"v0\"", Failed);
    get("If-Match: W/\"v1\"", Failed);
    get("If-Match: v1", Failed);
    get("If-Match: ", Failed);
    get("If-Match: \"v0,\", \"v,1\"", Failed);
    check(Method::GET, &["If-Match: \"v0\"", "If-Match: \"v1\""], Whole);
    check(Method::PUT, &["If-Match: \"v0\""], Failed);
    check(Method::PUT, &["If-Match: \"v1\""], Whole);
}

/// RFC 9110 section 13.1.2.
#[test]
fn if_none_match_compares_weakly() {
    get("If-None-Match: \"v1\"", NotModified);
    get("If-None-Match: W/\"v1\"", NotModified);
    get("If-None-Match: \"v0\",,W/\"v1\"", NotModified);
    get("If-None-Match: \"v0,\"\t,\"v1\"", NotModified);
    get("If-None-Match: *", NotModified);
    get("If-None-Match: \"v0\"", Whole);
    get("If-None-Match: v1", Whole);
    get("If-None-Match: \"v1", Whole);
    get("If-None-Match: w/\"v1\"", Whole);
    get("If-None-Match: junk, \"v1\"", Whole);
    check(Method::GET, &["If-None-Match: \"v0\"", "If-None-Match: \"v1\""], NotModified);
    check(Method::HEAD, &["If-None-Match: \"v1\""], NotModified);
    check(Method::PUT, &["If-None-Match: *"], Failed);
    check(Method::DELETE, &["If-None-Match: \"v0\""], Whole);
}

/// RFC 9110 section 13.1.3.
#[test]
fn if_modified_since_counts_whole_seconds() {
    get(&format!("If-Modified-Since: {BEFORE}"), Whole);
    get(&format!("If-Modified-Since: {SAME}"), NotModified);
    get(&format!("If-Modified-Since: {AFTER}"), NotModified);
    get("If-Modified-Since: Tuesday, 10-Nov-09 23:00:00 GMT", NotModified);
    get("If-Modified-Since: Tue Nov 10 23:00:00 2009", NotModified);
    get("If-Modified-Since: yesterday", Whole);
    get("If-Modified-Since: 1257894000", Whole);
    check(Method::HEAD, &[&format!("If-Modified-Since: {SAME}")], NotModified);
    check(Method::POST, &[&format!("If-Modified-Since: {SAME}")], Whole);
    let line = format!("If-Modified-Since: {SAME}");
    check(Method::GET, &[&line, &line], Whole);
}

/// RFC 9110 section 13.1.4.
#[test]
fn if_unmodified_since_fails_what_has_changed() {
    get(&format!("If-Unmodified-Since: {BEFORE}"), Failed);
    get(&format!("If-Unmodified-Since: {SAME}"), Whole);
    get(&format!("If-Unmodified-Since: {AFTER}"), Whole);
    get("If-Unmodified-Since: never", Whole);
    check(Method::PUT, &[&format!("If-Unmodified-Since: {BEFORE}")], Failed);
}

/// RFC 9110 section 13.2.2: tags go before dates, `If-Match` before `If-None-Match`, both before ranges.
#[test]
fn conditions_are_asked_in_order() {
    let check = |lines: &[&str], expect| check(Method::GET, lines, expect);
    let unmodified_since = format!("If-Unmodified-Since: {BEFORE}");
    let modified_since = format!("If-Modified-Since: {SAME}");
    check(&["If-Match: \"v1\"", &unmodified_since], Whole);
    check(&["If-None-Match: \"v0\"", &modified_since], Whole);
    check(&["If-None-Match: \"v1\"", &format!("If-Modified-Since: {BEFORE}")], NotModified);
    check(&["If-None-Match: \"v1\"", "If-Match: \"v0\""], Failed);
    check(&["If-None-Match: \"v1\"", "If-Match: \"v1\""], NotModified);
    check(&[&unmodified_since, &modified_since], Failed);
    check(&["Range: bytes=0-9", "If-None-Match: \"v1\""], NotModified);
    check(&["Range: bytes=5000-", "If-None-Match: \"v1\""], NotModified);
    check(&["Range: bytes=5000-", "If-Match: \"v0\""], Failed);
    check(&["Range: bytes=0-9", "If-None-Match: \"v0\""], Range(0..10));
    check(&["Range: bytes=0-9", "If-Match: \"v1\""], Range(0..10));
}

/// RFC 9110 section 13.1.5.
#[test]
fn if_range_asks_for_a_strong_validator() {
    let check = |lines: &[&str], expect| check(Method::GET, lines, expect);
    check(&["Range: bytes=0-9", "If-Range: \"v1\""], Range(0..10));
    check(&["Range: bytes=0-9", "If-Range: \"v0\""], Whole);
    check(&["Range: bytes=0-9", "If-Range: W/\"v1\""], Whole);
    check(&["Range: bytes=0-9", "If-Range: \"v1\", \"v0\""], Whole);
    check(&["Range: bytes=0-9", "If-Range: *"], Whole);
    check(&["Range: bytes=0-9", "If-Range: \"v1\"", "If-Range: \"v1\""], Whole);
    check(&["Range: bytes=0-9", &format!("If-Range: {SAME}")], Range(0..10));
    check(&["Range: bytes=0-9", &format!("If-Range: {AFTER}")], Whole);
    check(&["Range: bytes=0-9", &format!("If-Range: {BEFORE}")], Whole);
    check(&["If-Range: \"v0\""], Whole);
    check(&["Range: bytes=5000-", "If-Range: \"v1\""], Whole);
    let lines = ["Range: bytes=0-9", &format!("If-Range: {SAME}")];
    check_at(Method::GET, &lines, 1000, MODIFIED, Whole);
    check_at(Method::GET, &lines, 1000, MODIFIED + 1, Range(0..10));
}

/// RFC 9110 section 14.1.2.
#[test]
fn ranges_of_bytes_select_parts() {
    range("bytes=0-0", Range(0..1));
    range("bytes=0-999", Range(0..1000));
    range("bytes=0-1000", Range(0..1000));
    range("bytes=0-", Range(0..1000));
    range("bytes=999-", Range(999..1000));
    range("bytes=1000-", Unsatisfiable);
    range("bytes=-1", Range(999..1000));
    range("bytes=-1000", Range(0..1000));
    range("bytes=-5000", Range(0..1000));
    range("bytes=-0", Unsatisfiable);
    range("BYTES=1-2", Range(1..3));
    range("bytes=18446744073709551615-", Unsatisfiable);
    range("bytes=99999999999999999999999-", Unsatisfiable);
    range("bytes=5-99999999999999999999999", Range(5..1000));
    range("bytes=-99999999999999999999999", Range(0..1000));
}

#[test]
fn a_set_that_is_not_well_formed_is_ignored() {
    for set in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes =0-1",
        "bytes=0-1;",
        "bytes=1 - 2",
        "bytes=--1",
        "lines=0-1",
        "bytes:0-1",
        "bytes=0-1,x",
        "bytes=\u{b2}-3",
    ] {
        range(set, Whole);
    }
    check(Method::GET, &["Range: bytes=0-1", "Range: bytes=2-3"], Whole);
}

#[test]
fn several_ranges_come_in_the_order_asked_for() {
    range("bytes=0-0,-1", Ranges(vec![0..1, 999..1000]));
    range("bytes= 500-599 ,\t0-9,", Ranges(vec![500..600, 0..10]));
    range("bytes=0-9,10-19", Ranges(vec![0..10, 10..20]));
    range("bytes=0-9,5000-", Range(0..10));
    range("bytes=5000-,6000-", Unsatisfiable);
}

/// The "range attack": many or overlapping ranges get the whole, once.
#[test]
fn costly_sets_are_answered_by_the_whole() {
    range("bytes=0-,0-", Whole);
    range("bytes=0-9,9-10", Whole);
    range("bytes=0-,-1", Whole);
    let many = |count: usize| (0..count).map(|at| format!("{}-{}", at * 10, at * 10)).collect::<Vec<_>>().join(",");
    let expect = (0..RANGES_MAX as u64).map(|at| at * 10..at * 10 + 1).collect();
    range(&format!("bytes={}", many(RANGES_MAX)), Ranges(expect));
    range(&format!("bytes={}", many(RANGES_MAX + 1)), Whole);
    range(&format!("bytes={}", "5000-,".repeat(RANGES_MAX + 1)), Whole);
}

/// RFC 9110 section 14.2: "GET is the only method for which range handling is defined".
#[test]
fn ranges_are_for_get() {
    check(Method::HEAD, &["Range: bytes=0-9"], Whole);
    check(Method::HEAD, &["Range: bytes=5000-"], Whole);
}

#[test]
fn what_is_empty_has_no_part() {
    let check = |set: &str, expect| check_at(Method::GET, &[&format!("Range: {set}")], 0, MODIFIED + 9, expect);
    check("bytes=-5", Whole);
    check("bytes=0-", Unsatisfiable);
    check("bytes=0-0", Unsatisfiable);
    check("bytes=-0", Unsatisfiable);
}

#[test]
fn the_edges_of_numbers_are_kept() {
    let check = |set: &str, expect| check_at(Method::GET, &[&format!("Range: {set}")], u64::MAX, MODIFIED + 9, expect);
    check("bytes=4294967295-4294967296", Range(4_294_967_295..4_294_967_297));
    check("bytes=0-18446744073709551615", Range(0..u64::MAX));
    check("bytes=18446744073709551614-", Range(u64::MAX - 1..u64::MAX));
    check("bytes=18446744073709551615-", Unsatisfiable);
}

#[test]
fn last_modified_is_never_in_the_future_and_can_always_be_said() {
    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(last_modified(time(MODIFIED), time(MODIFIED + 9)), SAME);
    assert_eq!(last_modified(time(MODIFIED + 9), time(MODIFIED)), SAME);
    assert_eq!(last_modified(UNIX_EPOCH - Duration::from_secs(9), time(9)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(last_modified(time(1 << 40), time(1 << 41)), "Fri, 31 Dec 9999 23:59:59 GMT");
}
