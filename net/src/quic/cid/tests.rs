//! What ids say, and which are none.

use super::*;

pub(in super::super) fn ids(key: u8, shard: usize, generation: u64) -> Ids {
    Ids::new(hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]), Origin::new(shard, generation))
}

pub(in super::super) fn id(key: u8, shard: usize, generation: u64, chance: u32) -> [u8; ID_BYTES] {
    ids(key, shard, generation).make(chance)
}

#[test]
fn an_id_says_where_it_was_made() {
    for shard in [0, 1, 3, 255, 256, 1023] {
        for generation in [0, 1, 63, 64, 1000] {
            let id = id(1, shard, generation, 0xdead_beef);
            assert_eq!(Origin::of(&id), Origin { shard, generation: (generation % 64) as u8 });
            assert_eq!(usize::from(id[0]), shard % 256, "where the kernel looks");
            assert!(ids(1, 0, 0).has_made(&id), "any shard knows it");
            assert!(!ids(2, shard, generation).has_made(&id), "whoever has another key does not");
        }
    }
}

#[test]
fn no_bit_of_an_id_may_be_another() {
    let (ids, id) = (ids(7, 2, 5), id(7, 2, 5, 99));
    for bit in 0..ID_BYTES * 8 {
        let mut other = id;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!ids.has_made(&other), "bit {bit}");
    }
}

#[test]
fn only_ids_of_the_line_are_answered_by_resets() {
    let ids = ids(7, 2, 5);
    let validate = |id: &[u8]| ids.validate(&ConnectionId::new(id)).is_ok();
    assert!(validate(&id(7, 2, 5, 1)));
    assert!(validate(&id(7, 1, 5, 1)), "another shard's, which has not been passed on");
    assert!(validate(&id(7, 2, 6, 1)), "another process's, which is gone");
    assert!(!validate(&id(8, 2, 5, 1)), "made up");
    assert!(!validate(&id(7, 2, 5, 1)[..9]) && !validate(&[]) && !validate(&[0; 20]), "of another length");
}

#[test]
fn ids_of_a_shard_are_not_the_same_twice() {
    shards::Simulation::new(3).run(async |shard: Shard| {
        let mut ids = Ids::of(&shard);
        let made: std::collections::BTreeSet<_> = (0..1000).map(|_| ids.generate_cid().to_vec()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.len() == ids.cid_len() && ids.validate(&ConnectionId::new(id)).is_ok()));
    });
}
