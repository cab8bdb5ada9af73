//! Every bound and every default of these machines, with its reason and where it comes from.

use std::time::Duration;

// ---- balancing and health

/// Members of one balancer. Those beyond are left out, and the caller is told how many: counting them anew when one falls ill
/// should not be felt, and a shard that asks so many wants a subset.
pub const MEMBERS_MAX: usize = 4_096;

/// Members that a call has tried and that a pick is told of; it looks at no more. They are compared one by one, and no call is
/// tried so often.
pub const TRIED_MAX: usize = 8;

/// Weights below count as this, so that whoever is in the set is asked now and then.
pub const WEIGHT_MIN: f32 = 0.001;

/// Weights above count as this.
pub const WEIGHT_MAX: f32 = 65_536.0;

/// Random draws for one choice before it goes through the members in order. While at least half of them fit, as the panic
/// threshold has it, fewer than one pick in 65,000 comes to that.
pub const DRAWS_MAX: u32 = 16;

/// Steps of a ring or a table that a pick walks on before it goes through the members in order. The walk costs a cache line
/// each, and while half of the members fit it needs two steps.
pub const WALK_MAX: usize = 64;

/// Points of a member of average weight on a ring. Ketama's 40 digests of 4 points: shares differ by about a twelfth
/// (1 / sqrt 160).
pub const RING_POINTS: u32 = 160;

/// Points of a whole ring, 12 bytes each. Members have half as many points, and half of that, until all fit. Envoy's default of
/// eight million (`maximum_ring_size`) would be 96 MiB for each shard.
pub const RING_POINTS_MAX: usize = 65_536;

/// Entries of a Maglev table, a prime, two bytes each. Envoy's, "Maglev" in "Supported load balancers", and one of two in section
/// 5.3 of the Maglev paper (Eisenbud et al., NSDI 2016).
pub const MAGLEV_TABLE: u32 = 65_537;

/// The largest Maglev table that may be asked for, as in Envoy (`table_size`): it takes ten megabytes for each shard.
pub const MAGLEV_TABLE_MAX: u32 = 5_000_011;

/// Below this share of usable members, in per cent, all are asked: the rest would go down under the load. Envoy's, "Panic
/// threshold".
pub const PANIC_PERCENT: u8 = 50;

/// Healthy members take so many per cent of their even share before degraded ones are asked too. Envoy's overprovisioning factor.
pub const OVERPROVISION_PERCENT: u32 = 140;

/// How soon an observed latency is forgotten. Finagle's (`Balancers.p2cPeakEwma`).
pub const EWMA_DECAY: Duration = Duration::from_secs(10);

/// What a call to an endpoint seems to cost while another waits there and none has been answered yet: more than any latency.
/// Finagle's `Long.MaxValue >> 16` nanoseconds.
pub const EWMA_PENALTY: Duration = Duration::from_nanos((i64::MAX >> 16) as u64);

/// Envoy has no default; its documentation's example takes a minute.
pub const SLOW_START_WINDOW: Duration = Duration::from_secs(60);

/// The weight grows evenly. Envoy's.
pub const SLOW_START_AGGRESSION: f64 = 1.0;

/// The least part of its weight that a member has. Envoy's `min_weight_percent`, 10 %.
pub const SLOW_START_FLOOR: f64 = 0.1;

/// An endpoint that has just come counts as so old. Envoy's `max(TimeSinceStartInSeconds, 1)`.
pub const SLOW_START_STEP: Duration = Duration::from_secs(1);

/// Errors in a row that eject a member. Envoy's `consecutive_5xx`.
pub const OUTLIER_ERRORS: u32 = 5;

/// How often success rates are compared. Envoy's `interval`.
pub const OUTLIER_INTERVAL: Duration = Duration::from_secs(10);

/// The first ejection's time; the n-th takes n times as long. Envoy's `base_ejection_time`.
pub const EJECTION_BASE: Duration = Duration::from_secs(30);

/// No ejection takes longer. Envoy's `max_ejection_time`.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);

/// So much of the members may be ejected at a time, in per cent; one always may. Envoy's `max_ejection_percent`.
pub const EJECTED_PERCENT_MAX: u8 = 10;

/// Success rates are compared if so many members have been asked often enough. Envoy's `success_rate_minimum_hosts`; among fewer
/// than 5, nobody can lie 1.9 standard deviations below the mean (the most is the square root of one less than their count).
pub const SUCCESS_RATE_MEMBERS_MIN: usize = 5;

/// Often enough: so many calls in an interval. Envoy's `success_rate_request_volume`.
pub const SUCCESS_RATE_REQUESTS_MIN: u32 = 100;

/// So many standard deviations below the mean is an outlier. Envoy's `success_rate_stdev_factor` of 1900 thousandths.
pub const SUCCESS_RATE_DEVIATIONS: f64 = 1.9;

/// Between two probes of an endpoint. HAProxy's `inter`.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// A probe that takes longer has failed. Half of the interval, so that the next one never meets it.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The part of an interval that chance adds to it, so that the probes of many endpoints drift apart.
pub const PROBE_JITTER: f64 = 0.1;

/// Probes in a row that must pass before an endpoint counts as up again. HAProxy's `rise`.
pub const PROBE_PASSES: u32 = 2;

/// Probes in a row that must fail before an endpoint counts as down. HAProxy's `fall`.
pub const PROBE_FAILURES: u32 = 3;

/// Endpoints that a shard asks at the least. Finagle's `minDeterministicAperture`: with 4, choices of two keep to their weights;
/// with 12, it is unlikely that none of them is well.
pub const SUBSET_MIN: usize = 12;

/// Shards of all processes together that share endpoints out among themselves. Working out a subset looks at each of them.
pub const SUBSET_PEERS_MAX: usize = 65_536;

/// What a shard has told of its calls counts for so long: ten of the longest periods after which it is told anew (100 ms), so
/// that a few lost reports change nothing and a shard that hangs is soon forgotten.
pub const REPORT_FRESH: Duration = Duration::from_secs(1);
