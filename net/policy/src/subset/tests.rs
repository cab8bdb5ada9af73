use super::{Part, Peer, subset};
use crate::limits::SUBSET_PEERS_MAX;
use crate::testing::{Random, for_seeds};

fn endpoints(count: usize, random: &mut Random, is_weighted: bool) -> Vec<(u64, f32)> {
    (0..count).map(|_| (random.next(), if is_weighted { 0.5 + 3.5 * random.unit() as f32 } else { 1.0 })).collect()
}

fn peers(shards: usize, instances: usize) -> impl Iterator<Item = Peer> {
    (0..instances).flat_map(move |instance| (0..shards).map(move |shard| Peer { shard, shards, instance, instances }))
}

/// What each endpoint is asked for each unit of its weight, the mean being 1, if each peer has the same to ask.
fn asked(endpoints: &[(u64, f32)], shards: usize, instances: usize, min: usize) -> Vec<f64> {
    let mut asked = vec![0.0; endpoints.len()];
    for peer in peers(shards, instances) {
        let parts = subset(peer, endpoints, min);
        assert!(parts.len() >= min.min(endpoints.len()), "{} of {min}", parts.len());
        assert!(parts.iter().all(|part| part.share > 0.0 && part.share <= 1.0));
        assert!(parts.is_sorted_by(|one, next| one.index < next.index));
        let due = |part: &Part| f64::from(part.share) * f64::from(endpoints[part.index].1);
        let whole: f64 = parts.iter().map(due).sum();
        parts.iter().for_each(|part| asked[part.index] += due(part) / whole);
    }
    let weights: f64 = endpoints.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let mean = (shards * instances) as f64 / weights;
    endpoints.iter().zip(asked).map(|((_, weight), asked)| asked / f64::from(*weight) / mean).collect()
}

#[test]
fn all_together_ask_all_endpoints_by_their_weight() {
    for_seeds(200, |random| {
        let is_weighted = random.chance(0.5);
        let endpoints = endpoints(1 + random.below(60) as usize, random, is_weighted);
        let (shards, instances) = (1 + random.below(40) as usize, 1 + random.below(3) as usize);
        for asked in asked(&endpoints, shards, instances, 1 + random.below(20) as usize) {
            assert!((asked - 1.0).abs() < 0.002, "{asked}");
        }
    });
}

#[test]
fn is_as_small_as_asked_for_and_the_step_between_peers_allows() {
    for_seeds(100, |random| {
        let (count, shards) = (1 + random.below(100) as usize, 1 + random.below(64) as usize);
        let min = 1 + random.below(20) as usize;
        let endpoints = endpoints(count, random, false);
        for peer in peers(shards, 1) {
            let parts = subset(peer, &endpoints, min);
            assert!(
                parts.len() <= min + count.div_ceil(shards) + 2,
                "{} for {min} of {count}, {shards} shards",
                parts.len()
            );
        }
    });
}

#[test]
fn thirty_two_shards_and_twenty_endpoints_make_far_fewer_pairs() {
    let endpoints = endpoints(20, &mut Random::new(1), false);
    let pairs: usize = peers(32, 1).map(|peer| subset(peer, &endpoints, 4).len()).sum();
    assert!(pairs <= 32 * 6, "{pairs} of {}", 32 * 20);
}

/// The others' pieces of the ring are moved along by less than the width of one, so that the edges of an arc meet other ones,
/// and the arc may become a step longer or shorter.
#[test]
fn changes_little_when_an_endpoint_leaves_and_is_as_before_when_it_returns() {
    for_seeds(30, |random| {
        let before = endpoints(60, random, false);
        let gone = random.below(60) as usize;
        let mut after = before.clone();
        after.remove(gone);
        let mut changed = 0;
        for peer in peers(32, 1) {
            let ids = |endpoints: &[(u64, f32)]| -> Vec<u64> {
                subset(peer, endpoints, 12).iter().map(|part| endpoints[part.index].0).collect()
            };
            let (old, new) = (ids(&before), ids(&after));
            let gains = new.iter().filter(|id| !old.contains(id)).count();
            let losses = old.iter().filter(|id| !new.contains(id) && **id != before[gone].0).count();
            assert!(gains <= 3 && losses <= 3, "{gains} {losses}");
            changed += gains + losses;
            assert_eq!(ids(&before), old);
        }
        assert!(changed <= 32 * 3, "{changed}");
    });
}

#[test]
fn is_the_same_however_endpoints_are_listed() {
    for_seeds(30, |random| {
        let one = endpoints(20, random, true);
        let mut other = one.clone();
        other.rotate_left(random.below(20) as usize);
        let of = |endpoints: &[(u64, f32)]| {
            let parts = subset(Peer::shard(3, 8), endpoints, 5);
            let mut parts: Vec<(u64, f32)> = parts.iter().map(|part| (endpoints[part.index].0, part.share)).collect();
            parts.sort_by_key(|(id, _)| *id);
            parts
        };
        assert_eq!(of(&one), of(&other));
    });
}

#[test]
fn odd_peers_and_endpoints_do_no_harm() {
    assert_eq!(subset(Peer::shard(0, 4), &[], 12), []);
    assert_eq!(subset(Peer::shard(9, 0), &[(1, 1.0)], 0), [Part { index: 0, share: 1.0 }]);
    let odd = [(1, f32::NAN), (1, -1.0), (2, f32::INFINITY), (3, 0.0)];
    assert_eq!(subset(Peer { shard: 7, shards: 3, instance: 9, instances: 0 }, &odd, 4).len(), 4);
    let many = Peer { shard: 1, shards: usize::MAX, instance: 1, instances: usize::MAX };
    assert_eq!(many.number().1, SUBSET_PEERS_MAX);
    assert_eq!(subset(Peer::shard(5, 64), &[(1, 1.0), (2, 1.0)], 12).len(), 2);
}
