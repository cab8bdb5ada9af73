//! Which endpoints a shard asks, so that shards times endpoints does not explode.
//!
//! The one idea, Finagle's deterministic aperture: endpoints lie side by side on a ring, each as wide as its weight; each peer
//! (a shard of any process) looks at an arc of it. All arcs are equally long, start one step from each other, and together go
//! round the ring a whole number of times, so that every spot lies in the arcs of equally many peers and all endpoints get what
//! is theirs, without a word between the peers. An endpoint at the edge of an arc is in it only in part: its share.
//!
//! Endpoints lie in the order of their mixed ids, the same for all peers. When one comes or goes, the others are moved along by
//! less than its width, so that a subset changes by about one endpoint at each edge.
//!
//! Source: Finagle, user guide, "Aperture Load Balancers", and `DeterministicAperture`. There all endpoints are equally wide.

use crate::chance::mix;
use crate::limits::{SUBSET_PEERS_MAX, WEIGHT_MAX, WEIGHT_MIN};

/// Whose subset it is, among how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which shard of its process.
    pub shard: usize,
    /// How many shards each process has.
    pub shards: usize,
    /// Which process, where they know of each other; 0 of 1 otherwise, which is right too, since the shards of one process do
    /// justice to all endpoints by themselves.
    pub instance: usize,
    /// How many processes there are.
    pub instances: usize,
}

impl Peer {
    /// A shard of a process that knows of no other.
    pub fn shard(shard: usize, shards: usize) -> Peer {
        Peer { shard, shards, instance: 0, instances: 1 }
    }

    /// Its number among all, and their count. Shards of one process are as far from each other as can be. Anything that makes
    /// no sense counts as the nearest that does.
    fn number(self) -> (usize, usize) {
        let shards = self.shards.clamp(1, SUBSET_PEERS_MAX);
        let instances = self.instances.clamp(1, SUBSET_PEERS_MAX / shards);
        (self.shard % shards * instances + self.instance % instances, shards * instances)
    }
}

/// An endpoint of a subset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Its position among all endpoints, as they were given.
    pub index: usize,
    /// How much of it: above 0 and up to 1.
    pub share: f32,
}

/// The endpoints that a peer asks, of all that there are, by their ids and weights: at least `min` of them, or all if there are
/// fewer; [`SUBSET_MIN`](crate::limits::SUBSET_MIN) is a good `min`. In the order of the endpoints.
///
/// Asked in proportion to share times weight by each of its peers, an endpoint is asked by all together in proportion to its
/// weight, exactly, if they have the same to ask.
///
/// This allocates, and looks at each peer a few times.
///
/// ```
/// use shardwise_policy::subset::{Peer, subset};
///
/// let endpoints: Vec<(u64, f32)> = (0..20).map(|id| (id, 1.0)).collect();
/// let mut asked = [0.0f32; 20];
/// for shard in 0..32 {
///     let parts = subset(Peer::shard(shard, 32), &endpoints, 4);
///     assert!((4..=6).contains(&parts.len()));
///     let whole: f32 = parts.iter().map(|part| part.share).sum();
///     parts.iter().for_each(|part| asked[part.index] += part.share / whole);
/// }
/// assert!(asked.iter().all(|asked| (asked - 1.6).abs() < 0.001));
/// ```
pub fn subset(peer: Peer, endpoints: &[(u64, f32)], min: usize) -> Vec<Part> {
    let (number, peers) = peer.number();
    let ring = Ring::new(endpoints, peers);
    let arc = ring.arc(min.clamp(1, endpoints.len().max(1)));
    let mut parts = ring.parts(number, arc);
    parts.sort_unstable_by_key(|part| part.index);
    parts
}

/// All lengths are whole numbers, so that peers agree to the last bit. The ring is as long as all endpoints are wide, times the
/// count of peers, and peers start a step from each other that is as long as all endpoints are wide.
struct Ring {
    /// Positions of endpoints among all, as they lie on the ring.
    order: Vec<usize>,
    /// Where each starts, and the end.
    starts: Vec<u64>,
    peers: usize,
    step: u64,
}

impl Ring {
    fn new(endpoints: &[(u64, f32)], peers: usize) -> Ring {
        let mut order: Vec<usize> = (0..endpoints.len()).collect();
        order.sort_unstable_by_key(|at| (mix(endpoints[*at].0), *at));
        let mut step = 0;
        let mut starts = vec![0];
        for at in &order {
            step += width(endpoints[*at].1);
            starts.push(step * peers as u64);
        }
        Ring { order, starts, peers, step }
    }

    /// The shortest arc, in steps, in which each peer has so many endpoints.
    fn arc(&self, min: usize) -> usize {
        let shortest = (min * self.peers).div_ceil(self.order.len().max(1)).clamp(1, self.peers);
        let (mut least, mut most) = (shortest, self.peers);
        while least < most {
            let arc = least.midpoint(most);
            let is_enough = (0..self.peers).all(|peer| self.count(peer, arc) >= min);
            (least, most) = if is_enough { (least, arc) } else { (arc + 1, most) };
        }
        least
    }

    /// How many endpoints, in whole or in part, lie in the arc from a peer's start on.
    fn count(&self, peer: usize, arc: usize) -> usize {
        let start = peer as u64 * self.step;
        let end = start + arc as u64 * self.step;
        let length = self.peers as u64 * self.step;
        let started = |spot: u64| self.starts.partition_point(|start| *start < spot);
        let first = self.starts.partition_point(|at| *at <= start);
        if end <= length { started(end) + 1 - first } else { self.order.len() + 1 - first + started(end - length) }
    }

    fn parts(&self, peer: usize, arc: usize) -> Vec<Part> {
        let start = peer as u64 * self.step;
        let end = start + arc as u64 * self.step;
        let length = self.peers as u64 * self.step;
        let part = |(at, bounds): (usize, &[u64])| {
            // Where the arc goes on past the ring's end, it covers the ring's beginning too.
            let first = end.min(bounds[1]).saturating_sub(start.max(bounds[0]));
            let again = end.saturating_sub(length).min(bounds[1]).saturating_sub(bounds[0]);
            let share = (first + again) as f64 / (bounds[1] - bounds[0]) as f64;
            (first + again > 0).then(|| Part { index: self.order[at], share: share as f32 })
        };
        self.starts.windows(2).enumerate().filter_map(part).collect()
    }
}

/// In thousandths of a weight: a million endpoints of the largest weight, for all peers, fit into a u64.
fn width(weight: f32) -> u64 {
    let weight = if weight.is_nan() { 1.0 } else { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) };
    (f64::from(weight) * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests;
