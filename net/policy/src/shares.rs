//! What shards tell each other of the endpoints that they ask.
//!
//! The one idea: each shard says what is so at its own, a short [`Report`] for each member, ten to a hundred times a second, and
//! keeps the last that each other shard has said. The sum is what happens elsewhere. A report that is lost is made up by the
//! next, and one that is too old counts no more, so that a shard that hangs does not weigh on an endpoint for ever.

use std::time::{Duration, Instant};

use crate::limits::REPORT_FRESH;
use crate::outlier::Tally;

/// What one shard says of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of whom.
    pub id: u64,
    /// Its calls that are under way.
    pub outstanding: u32,
    /// How long answers take, as it sees it, if it has seen any.
    pub latency: Option<Duration>,
    /// Whether, and until when, it has ejected it, by what it has [seen itself](crate::outlier::Outlier::ejected_here_until).
    pub ejected_until: Option<Instant>,
    /// What it has counted since its last report.
    pub tally: Tally,
}

/// What other shards do with a member, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Their calls under way; none if nothing is known.
    pub outstanding: Option<u32>,
    /// When that was so: the mean of their reports' times.
    pub as_of: Option<Instant>,
    /// The least latency that any of them sees: a shard whose calls are slow for reasons of its own convinces nobody.
    pub latency: Option<Duration>,
    /// The latest time until which any of them has ejected it.
    pub ejected_until: Option<Instant>,
}

/// The last reports of all shards but one's own.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::outlier::Tally;
/// use shardwise_policy::shares::{Report, Shares};
///
/// let now = Instant::now();
/// let report = |outstanding| Report { id: 7, outstanding, latency: None, ejected_until: None, tally: Tally::default() };
/// let mut shares = Shares::default();
/// shares.hear(1, &[report(3)], now);
/// shares.hear(2, &[report(1)], now);
/// assert_eq!(shares.elsewhere(7, now).outstanding, Some(4));
/// shares.hear(1, &[report(0)], now);
/// assert_eq!(shares.elsewhere(7, now).outstanding, Some(1));
/// assert_eq!(shares.elsewhere(7, now + Duration::from_secs(2)).outstanding, None);
/// ```
#[derive(Debug, Default)]
pub struct Shares {
    /// By shard.
    told: Vec<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// By id.
    reports: Vec<Report>,
}

impl Shares {
    /// A shard has told all that it has to tell, at `now`. What it said before is forgotten. Allocates if it has more to tell
    /// than ever before.
    pub fn hear(&mut self, shard: usize, reports: &[Report], now: Instant) {
        if self.told.len() <= shard {
            self.told.resize_with(shard + 1, Told::default);
        }
        let told = &mut self.told[shard];
        told.at = Some(now);
        told.reports.clear();
        told.reports.extend_from_slice(reports);
        told.reports.sort_unstable_by_key(|report| report.id);
    }

    /// What others do with a member. It costs a search in the reports of each shard.
    pub fn elsewhere(&self, id: u64, now: Instant) -> Elsewhere {
        let mut all = Elsewhere::default();
        let (mut ages, mut shards) = (Duration::ZERO, 0);
        for told in &self.told {
            let Some(age) = told.at.map(|at| now.saturating_duration_since(at)).filter(|age| *age <= REPORT_FRESH)
            else {
                continue;
            };
            ages += age;
            shards += 1;
            // A shard that has nothing to say of a member has nothing to do with it.
            let report = told.reports.binary_search_by_key(&id, |report| report.id).ok().map(|at| told.reports[at]);
            let outstanding = report.map_or(0, |report| report.outstanding);
            all.outstanding = Some(all.outstanding.unwrap_or(0).saturating_add(outstanding));
            let latencies = [all.latency, report.and_then(|report| report.latency)];
            all.latency = latencies.into_iter().flatten().min();
            all.ejected_until = all.ejected_until.max(report.and_then(|report| report.ejected_until));
        }
        all.as_of = (shards > 0).then(|| now.checked_sub(ages / shards.max(1))).flatten();
        all
    }
}

#[cfg(test)]
mod tests;
