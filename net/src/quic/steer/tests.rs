//! Datagrams as anybody may send them.

use super::super::cid::tests::{id, ids};
use super::*;

const KEY: u8 = 9;

fn short(id: &[u8]) -> Vec<u8> {
    [&[0x41], id, &[0; 30]].concat()
}

fn long(id: &[u8]) -> Vec<u8> {
    [&[0xe0, 0, 0, 0, 1, id.len() as u8], id, &[0; 30]].concat()
}

/// What shard 2 of generation 5 says to both forms of an id.
#[track_caller]
fn check(id: [u8; ID_BYTES], expect: Whose) {
    let ids = ids(KEY, 2, 5);
    assert_eq!((whose(&ids, &short(&id)), whose(&ids, &long(&id))), (expect, expect));
}

#[test]
fn an_id_leads_to_its_shard_and_process() {
    check(id(KEY, 2, 5, 1), Whose::Mine);
    check(id(KEY, 2, 5 + 64, 1), Whose::Mine);
    check(id(KEY, 0, 5, 1), Whose::Shard(0));
    check(id(KEY, 700, 5, 1), Whose::Shard(700));
    check(id(KEY, 2, 4, 1), Whose::Predecessor(2));
    check(id(KEY, 900, 63, 1), Whose::Predecessor(900));
    check(id(KEY, 2, 6, 1), Whose::Successor(2));
}

#[test]
fn nothing_is_passed_on_that_we_have_not_made() {
    let mine = ids(KEY, 2, 5);
    for (shard, generation) in [(0, 5), (2, 4), (2, 6)] {
        check(id(KEY + 1, shard, generation, 1), Whose::Unknown);
    }
    // One that looks like this shard's is looked up, and answered by nobody.
    let made_up = id(KEY + 1, 2, 5, 1);
    assert_eq!(whose(&mine, &short(&made_up)), Whose::Mine);
    assert_eq!(whose(&mine, &long(&made_up)), Whose::Unknown, "a client may begin with any id");
    for length in [0, 1, 8, 9, 11, 20] {
        assert_eq!(whose(&mine, &long(&vec![2; length])), Whose::Unknown);
    }
}

#[test]
fn no_datagram_is_too_short() {
    let mine = ids(KEY, 2, 5);
    let id = id(KEY, 0, 5, 1);
    for (whole, needs) in [(short(&id), 1 + ID_BYTES), (long(&id), 6 + ID_BYTES)] {
        for len in 0..whole.len() {
            let expect = if len < needs { Whose::Unknown } else { Whose::Shard(0) };
            assert_eq!(whose(&mine, &whole[..len]), expect, "{len} bytes");
        }
    }
}
