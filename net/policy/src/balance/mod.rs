//! Whom to ask next: one of a set of endpoints, by one of six rules.
//!
//! The one idea: a rule decides among the members that *fit*, and what fits is decided before it and the same for all rules:
//! who is well, or also who is degraded, or in a panic everyone; who has not been tried for this call yet; who is not barred. So
//! a member that falls ill costs no rule a rebuild: rules walk on to the next that fits. Only a change of the set makes them
//! build their rings and tables anew, off the path of calls.
//!
//! The rules themselves stand next door, each in a file of its own. None allocates while it picks.

mod maglev;
mod member;
mod ring;
mod round_robin;
mod two_choices;
mod weighted;

use std::time::{Duration, Instant};

use crate::chance::{mix, unit};
use crate::limits::{
    EWMA_DECAY, MAGLEV_TABLE, MEMBERS_MAX, OVERPROVISION_PERCENT, PANIC_PERCENT, RING_POINTS, RING_POINTS_MAX,
    TRIED_MAX, TYPICAL_PART,
};
use crate::place::{self, Place};
use crate::slow_start::SlowStart;
use maglev::Maglev;
use member::Standing;
pub use member::{Entry, Health, Member};
use ring::Ring;
use round_robin::RoundRobin;
use two_choices::TwoChoices;
use weighted::Weighted;

/// By which rule members are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// One after the other, whatever their weight.
    RoundRobin,
    /// One after the other, as often as their weights say, evenly spread: the earliest deadline first. Envoy's, "Weighted round
    /// robin". A pick costs about the logarithm of the count of members.
    Weighted,
    /// The one with fewer calls under way for its weight, of two drawn by weight. Envoy's, "Weighted least request"; Mitzenmacher,
    /// "The power of two choices". A pick costs the same for any count of members. The default.
    LeastRequests,
    /// The one with less to wait for, of two drawn by weight: [latency](crate::ewma) for each call under way. Finagle's `p2cPeakEwma`.
    PeakEwma,
    /// By a key, on a ring of points: the member of the first point from the key on. When one of N members leaves, only its
    /// keys move. Ketama's; Karger et al. A pick costs the logarithm of the count of points. Where shards have
    /// [subsets](crate::subset), a key's member differs from shard to shard.
    Ring {
        /// Points of a member of average weight; [`RING_POINTS`].
        points: u32,
        /// No member is given more than this times its even share of the calls under way; 1 or more, 1.25 to 2 as a rule. Keys
        /// go on to the next member with room. Mirrokni et al., "Consistent hashing with bounded loads"; Envoy's
        /// `hash_balance_factor`.
        bound: Option<f32>,
    },
    /// By a key, in a table that members share evenly. When one of N members leaves, its keys move, and few others. Eisenbud et
    /// al., "Maglev", section 3.4. A pick costs one look; building the table takes some milliseconds of one CPU.
    Maglev {
        /// Entries, a prime of at least 100 times the count of members, so that shares differ by at most one per cent;
        /// [`MAGLEV_TABLE`].
        table: u32,
        /// As that of a ring.
        bound: Option<f32>,
    },
}

impl Rule {
    /// A ring as it usually is, without a bound.
    pub const RING: Rule = Rule::Ring { points: RING_POINTS, bound: None };
    /// A table as it usually is, without a bound.
    pub const MAGLEV: Rule = Rule::Maglev { table: MAGLEV_TABLE, bound: None };

    /// Whether it looks at a call's key.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Rule::Ring { .. } | Rule::Maglev { .. })
    }
}

/// How a balancer decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// By which rule.
    pub rule: Rule,
    /// Whether, and how, members that have just come are given less; those that rules by key pick are not. Off by default, as in
    /// Envoy.
    pub slow_start: Option<SlowStart>,
    /// Below this share of usable members, in per cent, all are asked but those that are barred. At 0 nobody who is ill is
    /// asked, ever.
    pub panic_percent: u8,
    /// How soon an observed latency is forgotten.
    pub decay: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { rule: Rule::LeastRequests, slow_start: None, panic_percent: PANIC_PERCENT, decay: EWMA_DECAY }
    }
}

impl Settings {
    /// Whether a balancer can decide so; else what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let bound = match self.rule {
            Rule::Ring { points, .. } if points == 0 || points as usize > RING_POINTS_MAX => {
                return Err("a member of a ring has 1 to 65,536 points");
            }
            Rule::Maglev { table, .. } if !maglev::is_size(table) => {
                return Err("the size of a Maglev table must be a prime of at most 5,000,011, such as 65,537");
            }
            Rule::Ring { bound, .. } | Rule::Maglev { bound, .. } => bound,
            _ => None,
        };
        if bound.is_some_and(|bound| !(bound >= 1.0 && bound.is_finite())) {
            return Err("the bound on loads is a multiple of the even share and must be 1 or more");
        }
        if self.panic_percent > 100 {
            return Err("the panic threshold is a share in per cent and must be 100 or less");
        }
        self.slow_start.map_or(Ok(()), |slow_start| slow_start.check())
    }
}

/// What a pick is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// Calls with the same key go to the same member, by the rules that look at it. A hash, evenly spread or not. Without one,
    /// chance is used.
    pub key: Option<u64>,
    /// Ids of members that were tried for this call already: they are picked only if no other fits. The first
    /// [`TRIED_MAX`] count.
    pub tried: &'a [u64],
}

/// A set of members, and the rule to pick one of them by.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::balance::{Ask, Balancer, Entry, Settings};
///
/// let now = Instant::now();
/// let mut seed = 7u64;
/// let mut random = || { seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); seed };
///
/// let mut balancer = Balancer::new(Settings::default()).unwrap();
/// balancer.set(&[Entry::new(1), Entry::new(2)], now, &mut random);
///
/// // The one that is busy is left alone, and so is the one that is ill.
/// let first = balancer.pick(Ask::default(), now, &mut random).unwrap();
/// balancer.begin(first);
/// let second = balancer.pick(Ask::default(), now, &mut random).unwrap();
/// assert_ne!(first, second);
/// balancer.end(first, Some(Duration::from_millis(3)), now);
/// balancer.judge(second.id, now, |health| health.is_failing = true);
/// assert_eq!(balancer.pick(Ask::default(), now, &mut random), Some(first));
/// ```
#[derive(Debug)]
pub struct Balancer {
    settings: Settings,
    members: Vec<Member>,
    census: Census,
    /// Calls under way to members, those of other shards included.
    calls: u64,
    /// When other shards have last told of theirs.
    told: Option<Instant>,
    /// How long a call takes, of late, in seconds.
    typical: f64,
    state: State,
}

/// How many are how well.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    well: usize,
    degraded: usize,
    /// What all who are usable can take.
    weight: f64,
}

#[derive(Debug)]
enum State {
    RoundRobin(RoundRobin),
    Weighted(Weighted),
    LeastRequests(TwoChoices),
    PeakEwma(TwoChoices),
    Ring(Ring, Option<f32>),
    Maglev(Maglev, Option<f32>),
}

impl Balancer {
    /// A balancer of an empty set; an error if the settings are [no good](Settings::check).
    pub fn new(settings: Settings) -> Result<Balancer, &'static str> {
        settings.check()?;
        let state = match settings.rule {
            Rule::RoundRobin => State::RoundRobin(RoundRobin::default()),
            Rule::Weighted => State::Weighted(Weighted::default()),
            Rule::LeastRequests => State::LeastRequests(TwoChoices::default()),
            Rule::PeakEwma => State::PeakEwma(TwoChoices::default()),
            Rule::Ring { points, bound } => State::Ring(Ring::new(points), bound),
            Rule::Maglev { table, bound } => State::Maglev(Maglev::new(table), bound),
        };
        Ok(Balancer {
            settings,
            members: Vec::new(),
            census: Census::default(),
            calls: 0,
            told: None,
            typical: 0.0,
            state,
        })
    }

    /// How it decides.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The set becomes these, in their order. What is known of a member stays with its id; new ones start as well and without
    /// calls. Ids are distinct. Returns how many were left out, being more than [`MEMBERS_MAX`].
    ///
    /// This allocates and builds the rule's ring or table, if it has one.
    pub fn set(&mut self, entries: &[Entry], now: Instant, random: &mut impl FnMut() -> u64) -> usize {
        let taken = &entries[..entries.len().min(MEMBERS_MAX)];
        let decay = self.settings.decay;
        place::succeed(&mut self.members, taken.iter().map(|entry| entry.id), Member::id, |id| {
            Member::new(id, now, decay)
        });
        for (member, entry) in self.members.iter_mut().zip(taken) {
            member.weigh(entry);
        }
        self.calls = self.members.iter().map(Member::calls).sum();
        self.take_census();
        let members = &self.members;
        match &mut self.state {
            State::RoundRobin(rule) => rule.build(members, random()),
            State::Weighted(rule) => rule.build(members, random),
            State::LeastRequests(rule) | State::PeakEwma(rule) => rule.build(members),
            State::Ring(rule, _) => rule.build(members),
            State::Maglev(rule, _) => rule.build(members),
        }
        entries.len() - taken.len()
    }

    /// The set, in the order that it was given in.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where a member stands now; none if it has left.
    pub fn find(&self, place: Place) -> Option<usize> {
        place.find(&self.members, Member::id)
    }

    /// Picks a member for a call; none if there is none that may be asked. Nothing is counted yet: a call that is made
    /// [begins](Balancer::begin) and [ends](Balancer::end).
    ///
    /// One who fits and was not tried is picked if there is one; then one who is usable and was not tried; then one who was
    /// tried; in a panic, all but the barred fit.
    pub fn pick(&mut self, ask: Ask<'_>, now: Instant, random: &mut impl FnMut() -> u64) -> Option<Place> {
        let tried = &ask.tried[..ask.tried.len().min(TRIED_MAX)];
        let fitting = self.fitting(ask.key, random);
        let mut attempts =
            [(fitting, tried), (Standing::USABLE, tried), (fitting, &[]), (Standing::USABLE, &[])].into_iter();
        let at = attempts.find_map(|(standing, avoided)| self.choose(standing, avoided, ask.key, now, random));
        at.map(|index| Place { index, id: self.members[index].id() })
    }

    /// A call to a member begins.
    #[inline]
    pub fn begin(&mut self, place: Place) {
        if let Some(at) = self.find(place) {
            self.members[at].begin();
            self.calls += 1;
        }
    }

    /// A call that [began](Balancer::begin) has ended, after `latency`, or without saying anything of the endpoint's speed, as
    /// one that was given up by its caller. Whoever fails fast must not look fast: a failure is best told as the time that was
    /// allowed for it. Nothing happens if the member has left.
    #[inline]
    pub fn end(&mut self, place: Place, latency: Option<Duration>, now: Instant) {
        if let Some(at) = self.find(place) {
            let member = &mut self.members[at];
            self.calls -= member.calls();
            member.end();
            self.calls += member.calls();
        }
        if let Some(latency) = latency {
            self.observe(place, latency, now);
        }
    }

    /// A member has begun to answer after `latency`, though the call is still under way, as when the body is to come.
    #[inline]
    pub fn observe(&mut self, place: Place, latency: Duration, now: Instant) {
        if let Some(at) = self.find(place) {
            self.members[at].latency.observe(latency, now);
            self.typical += (latency.as_secs_f64() - self.typical) * TYPICAL_PART;
        }
    }

    /// Changes what speaks against a member. Nothing happens if it has left. A change costs a look at every member.
    pub fn judge(&mut self, id: u64, now: Instant, change: impl FnOnce(&mut Health)) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id() == id) {
            let mut health = member.health();
            change(&mut health);
            if health != member.health() {
                member.judge(health, now);
                self.take_census();
            }
        }
    }

    /// What other shards tell of a member, as it was at a time: their calls under way, none if nothing is known of them any more;
    /// and the latency that they see, which counts where this shard has seen none. Calls are looked at by the rules that choose
    /// of two, in fewer picks the longer ago that time is, and by bounds on loads.
    pub fn hear(&mut self, place: Place, elsewhere: Option<u32>, latency: Option<Duration>, as_of: Instant) {
        if let Some(at) = self.find(place) {
            let member = &mut self.members[at];
            self.calls -= member.calls();
            member.hear(elsewhere);
            self.calls += member.calls();
            self.told = Some(as_of);
            if let Some(latency) = latency {
                member.latency.suppose(latency, as_of);
            }
        }
    }

    /// How many members are usable: well or degraded.
    pub fn usable(&self) -> usize {
        self.census.well + self.census.degraded
    }

    /// Whether so few are usable that all are asked.
    pub fn is_panicking(&self) -> bool {
        self.usable() * 100 < usize::from(self.settings.panic_percent) * self.members.len()
    }

    /// Who is asked in this pick. Degraded members get what the well ones cannot take, who take somewhat more than their even
    /// share first. By a key the same ones are always chosen. Envoy's, "Degraded endpoints" and "Priority levels".
    #[inline]
    fn fitting(&self, key: Option<u64>, random: &mut impl FnMut() -> u64) -> Standing {
        let Census { well, degraded, .. } = self.census;
        if well == self.members.len() {
            return Standing::WELL;
        }
        if self.is_panicking() {
            return Standing::ANY;
        }
        if degraded == 0 {
            return Standing::WELL;
        }
        let capable =
            |count: usize| (count * OVERPROVISION_PERCENT as usize) as f64 / (self.members.len() * 100) as f64;
        let by_well = capable(well).min(1.0);
        let by_degraded = capable(degraded).min(1.0 - by_well);
        let chance = match key {
            Some(key) if self.settings.rule.is_keyed() => mix(!key),
            _ => random(),
        };
        if unit(chance) * (by_well + by_degraded) < by_well { Standing::WELL } else { Standing::DEGRADED }
    }

    /// One of this standing that is not avoided, by the rule.
    #[inline]
    fn choose(
        &mut self,
        standing: Standing,
        avoided: &[u64],
        key: Option<u64>,
        now: Instant,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        let slow_start = self.settings.slow_start;
        let members = &self.members;
        let fits = |at: usize| members[at].standing().is_among(standing) && !avoided.contains(&members[at].id());
        let grown = |at: usize| slow_start.map_or(1.0, |slow_start| slow_start.factor(members[at].since(), now));
        match &mut self.state {
            State::RoundRobin(rule) => rule.pick(fits, grown, random),
            State::Weighted(rule) => rule.pick(fits, grown),
            State::LeastRequests(rule) => {
                let (one, other) = rule.draw(fits, grown, random)?;
                let is_news = is_news(self.told, self.typical, now, random);
                let [of_one, of_other] = loads(&members[one], &members[other], is_news);
                Some(if of_other / grown(other) < of_one / grown(one) { other } else { one })
            }
            State::PeakEwma(rule) => {
                let (one, other) = rule.draw(fits, grown, random)?;
                if one == other {
                    return Some(one);
                }
                let is_news = is_news(self.told, self.typical, now, random);
                let [of_one, of_other] = loads(&members[one], &members[other], is_news);
                let (of_one, of_other) = (of_one / grown(one), of_other / grown(other));
                let mut load = |at: usize, outstanding| self.members[at].latency.load(outstanding, now);
                Some(if load(other, of_other) < load(one, of_one) { other } else { one })
            }
            State::Ring(rule, bound) => {
                let room = Room::new(*bound, self.calls, self.census.weight);
                let key = mix(key.unwrap_or_else(random));
                rule.pick(key, |at| fits(at) && room.is_in(&members[at])).or_else(|| rule.pick(key, fits))
            }
            State::Maglev(rule, bound) => {
                let room = Room::new(*bound, self.calls, self.census.weight);
                let key = mix(key.unwrap_or_else(random));
                rule.pick(key, |at| fits(at) && room.is_in(&members[at])).or_else(|| rule.pick(key, fits))
            }
        }
    }

    fn take_census(&mut self) {
        let mut census = Census::default();
        for member in &self.members {
            census.well += usize::from(member.standing() == Standing::WELL);
            census.degraded += usize::from(member.standing() == Standing::DEGRADED);
            if member.standing().is_among(Standing::USABLE) {
                census.weight += f64::from(member.weight());
            }
        }
        self.census = census;
    }
}

/// Whether this pick looks at what other shards have told. News is worth the less the more calls have ended and begun since:
/// shards that all believed it for as long as there is none newer would all avoid, and all ask, the same members
/// (`decisions/2026-11-26-news-fades.md`).
#[inline]
fn is_news(told: Option<Instant>, typical: f64, now: Instant, random: &mut impl FnMut() -> u64) -> bool {
    told.is_some_and(|told| {
        let age = now.saturating_duration_since(told).as_secs_f64();
        unit(random()) < (-age / typical.max(1e-6)).exp()
    })
}

/// What each of two has to do: on all shards if that is known of both, else on this one.
#[inline]
fn loads(one: &Member, other: &Member, is_news: bool) -> [f64; 2] {
    match (one.load_everywhere(), other.load_everywhere()) {
        (Some(one), Some(other)) if is_news => [one, other],
        _ => [one.load_here(), other.load_here()],
    }
}

/// Who has room for a call more, where loads are bounded: the capacity of a member is its part of all calls and of the new
/// one, times the bound, rounded up.
struct Room {
    /// For each unit of weight; endless without a bound.
    calls: f64,
}

impl Room {
    fn new(bound: Option<f32>, calls: u64, weight: f64) -> Room {
        Room { calls: bound.map_or(f64::INFINITY, |bound| f64::from(bound) * (calls + 1) as f64 / weight) }
    }

    #[inline]
    fn is_in(&self, member: &Member) -> bool {
        (member.calls() as f64) < (self.calls * f64::from(member.weight())).ceil()
    }
}

#[cfg(test)]
mod tests;
