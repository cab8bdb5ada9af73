//! Every bound and every default, with its reason and where it is from.
//!
//! They are those that Envoy and Finagle publish, since years of other people's incidents are in them; where neither has one,
//! the next source that does. Names in brackets are sections of their documentation.

use std::time::Duration;

// ---- Bulkheads, after Envoy's circuit breakers [config.cluster.v3.CircuitBreakers.Thresholds] ----

/// Requests that wait for a connection: Envoy's `max_pending_requests`.
pub const WAITING_MAX: u32 = 1024;

/// Requests under way at one upstream: Envoy's `max_requests`.
pub const REQUESTS_MAX: u32 = 1024;

// ---- Budgets, after Finagle's `RetryBudget` [user guide, Clients, Retries] ----

/// The share of the calls that may be retried: Finagle's `percentCanRetry`; Envoy's `budget_percent`
/// [config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget] is the same.
pub const BUDGET_SHARE: f64 = 0.2;

/// Retries each second besides, for who makes few calls: Finagle's `minRetriesPerSec`.
pub const BUDGET_PER_SECOND: f64 = 10.0;

/// How long what is not used is kept: Finagle's `ttl`.
pub const BUDGET_KEPT: Duration = Duration::from_secs(10);

// ---- Retries, after Envoy [HTTP filters, Router, x-envoy-max-retries] ----

/// Tries in all: Finagle's `MethodBuilder` retries twice (`withMaxRetries`), Envoy once (`num_retries`). One retry may meet a
/// second endpoint that is down at the same time; the budget bounds what the third try costs.
pub const RETRY_TRIES_MAX: u32 = 3;

/// The longest first pause: Envoy's `upstream.base_retry_backoff_ms`.
pub const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(25);

/// The longest pause of all: Envoy's default, ten times the first.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a server may ask to be left alone: Envoy's `max_interval`
/// [config.route.v3.RetryPolicy.RateLimitedRetryBackOff]. Envoy comes back earlier than it was asked if that is more; we do not
/// come back.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How long a call may take with all its tries: Envoy's `timeout` [config.route.v3.RouteAction].
pub const RETRY_TIME_MAX: Duration = Duration::from_secs(15);

// ---- Breakers, after Finagle's `FailureAccrualPolicy` [user guide, Clients, Circuit Breaking, Failure Accrual] ----

/// Failures in a row that open a breaker: Finagle's `DefaultConsecutiveFailures`, and Envoy's `consecutive_5xx`
/// [config.cluster.v3.OutlierDetection].
pub const BREAKER_FAILURES_IN_A_ROW: u32 = 5;

/// The share of failures that opens a breaker: Finagle's `DefaultSuccessRateThreshold` asks that 80 % of the calls succeed.
pub const BREAKER_ERROR_SHARE: f64 = 0.2;

/// Which calls the share is of: Finagle's `DefaultSuccessRateWindow`.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(30);

/// Fewer calls than these say nothing: Envoy's `failure_percentage_request_volume` [config.cluster.v3.OutlierDetection].
/// Finagle is content with five, but waits for a whole window.
pub const BREAKER_CALLS_MIN: u32 = 50;

/// The shortest time that a breaker stays open: Finagle's backoff begins so.
pub const BREAKER_OPEN_FIRST: Duration = Duration::from_secs(5);

/// The longest time that a breaker stays open: Finagle's backoff ends so, and Envoy's `max_ejection_time`.
pub const BREAKER_OPEN_MAX: Duration = Duration::from_secs(300);

/// Trial calls at a time: Finagle's half-open breaker lets one pass.
pub const BREAKER_TRIALS_MAX: u32 = 1;

/// Trial calls that must succeed: one, as with Finagle.
pub const BREAKER_SUCCESSES_TO_CLOSE: u32 = 1;

/// A trial call that has not been heard of for so long has been dropped: no call takes longer than [`RETRY_TIME_MAX`].
pub const BREAKER_TRIAL_TIME: Duration = RETRY_TIME_MAX;

/// What counts as slow, once slow calls count at all: `slowCallDurationThreshold` of resilience4j's circuit breaker, since
/// neither Envoy nor Finagle has one. Whoever sets a share will want to set this too.
pub const BREAKER_SLOW_AFTER: Duration = Duration::from_secs(60);

/// Changes of state that a breaker keeps until they are taken. A call causes one at most, so who looks after each call misses
/// none; and who looks rarely learns the latest, and from their numbers how many it missed.
pub const BREAKER_EVENTS_MAX: usize = 4;

// ---- Hedges, after Dean and Barroso, "The Tail at Scale", and Finagle's `BackupRequestFilter` ----

/// Which calls are hedged: those slower than this share of the others. "The Tail at Scale" [Hedged requests] waits for the 95th
/// percentile, which bounds the extra load to about a twentieth.
pub const HEDGE_QUANTILE: f64 = 0.95;

/// The share of the calls that may be hedged: what is left beyond the quantile.
pub const HEDGE_SHARE: f64 = 0.05;

/// Hedges each second besides: as many as with Finagle's filter, whose budget is a `RetryBudget`.
pub const HEDGE_PER_SECOND: f64 = 10.0;

/// Nothing is hedged sooner: Finagle's filter counts in whole milliseconds, and does not hedge below one.
pub const HEDGE_DELAY_MIN: Duration = Duration::from_millis(1);

/// Nothing is hedged later: half of the time that a call has, so that the second try has the other half.
pub const HEDGE_DELAY_MAX: Duration = Duration::from_millis(7_500);
const _: () = assert!(HEDGE_DELAY_MAX.as_millis() * 2 == RETRY_TIME_MAX.as_millis());

/// Which calls are recent: Finagle's filter looks back as far.
pub const HEDGE_KEPT: Duration = Duration::from_secs(30);

/// Of fewer recent calls no quantile is looked for: the 95th percentile of these is the slowest but one.
pub const HEDGE_CALLS_MIN: u32 = 40;

// ---- Limits that learn, after Netflix's concurrency-limits ----

/// The limit to begin with: `initialLimit` of `Gradient2Limit` and `VegasLimit`.
pub const ADAPTIVE_FIRST: u32 = 20;

/// Never below this: `minLimit` of `Gradient2Limit`.
pub const ADAPTIVE_MIN: u32 = 20;

/// Never above this: `maxConcurrency` of `Gradient2Limit` is 200 and of `VegasLimit` 1000; Envoy's `max_concurrency_limit`
/// [extensions.filters.http.adaptive_concurrency.v3.GradientControllerConfig] is 1000.
pub const ADAPTIVE_MAX: u32 = 1000;

/// How often the limit is looked at: the interval in Envoy's example [HTTP filters, Adaptive Concurrency]; the shortest that
/// Netflix's `WindowedLimit` allows.
pub const ADAPTIVE_WINDOW: Duration = Duration::from_millis(100);

/// Fewer answers than these say nothing: `windowSize` of `WindowedLimit`.
pub const ADAPTIVE_SAMPLES_MIN: u32 = 10;

/// How often is looked what an unhurried call takes: the interval in Envoy's example [HTTP filters, Adaptive Concurrency].
pub const ADAPTIVE_PROBE_EVERY: Duration = Duration::from_secs(60);

/// How long that may take: a twelfth of the time.
pub const ADAPTIVE_PROBE_MAX: Duration = Duration::from_secs(5);

/// How many times as long as an answer a probe lasts: as calls count that begin in its first half, nearly all of them have ten
/// times as long to end.
pub const ADAPTIVE_PROBE_TIMES: f64 = 20.0;

/// What a window with dropped calls leaves of the limit: `backoffRatio` of `AIMDLimit`.
pub const ADAPTIVE_DROP: f64 = 0.9;

/// Over how many windows the time of an answer that is not kept waiting is averaged: `longWindow` of `Gradient2Limit`.
pub const ADAPTIVE_WINDOWS: f64 = 600.0;

/// What a window that was twice as fast, or faster, leaves of that time: the factor of `Gradient2Limit`.
pub const ADAPTIVE_UNLEARN: f64 = 0.9;

/// How much of a new estimate is believed: `smoothing` of `Gradient2Limit`.
pub const GRADIENT_SMOOTHING: f64 = 0.2;

/// How much slower than usual answers may be before the limit falls: `rttTolerance` of `Gradient2Limit`.
pub const GRADIENT_TOLERANCE: f64 = 1.5;

/// What a slow window leaves of the limit at the least, before smoothing: the bound of `Gradient2Limit`.
pub const GRADIENT_SHRINK_MAX: f64 = 0.5;

/// How many calls may queue at the server, which is what lets the limit grow: `queueSize` of `Gradient2Limit`.
pub const GRADIENT_QUEUE: f64 = 4.0;

/// So many calls in the server's queue are few, times the logarithm of the limit to the base of 10: `alpha` of `VegasLimit`.
pub const VEGAS_FEW: f64 = 3.0;

/// More than so many are many, times the same: `beta` of `VegasLimit`.
pub const VEGAS_MANY: f64 = 6.0;

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

/// Entries of a Maglev table, a prime, two bytes each. Envoy's, "Maglev" in "Supported load balancers", and one of two in
/// section 5.3 of the Maglev paper (Eisenbud et al., NSDI 2016).
pub const MAGLEV_TABLE: u32 = 65_537;

/// The largest Maglev table that may be asked for, as in Envoy (`table_size`): it takes ten megabytes for each shard.
pub const MAGLEV_TABLE_MAX: u32 = 5_000_011;

/// Below this share of usable members, in per cent, all are asked: the rest would go down under the load. Envoy's, "Panic
/// threshold".
pub const PANIC_PERCENT: u8 = 50;

/// Healthy members take so many per cent of their even share before degraded ones are asked too. Envoy's overprovisioning
/// factor.
pub const OVERPROVISION_PERCENT: u32 = 140;

/// How soon an observed latency is forgotten. Finagle's (`Balancers.p2cPeakEwma`).
pub const EWMA_DECAY: Duration = Duration::from_secs(10);

/// The part of a new latency in the typical one, which says how soon news of other shards' calls is old: so that it is that of the
/// last hundred or so, of whatever member.
pub const TYPICAL_PART: f64 = 1.0 / 64.0;

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

/// Success rates are compared if so many members have been asked often enough. Envoy's `success_rate_minimum_hosts`; among
/// fewer than 5, nobody can lie 1.9 standard deviations below the mean (the most is the square root of one less than their
/// count).
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

/// Endpoints that a shard asks at the least. Finagle's `minDeterministicAperture`: with 4, choices of two keep to their
/// weights; with 12, it is unlikely that none of them is well.
pub const SUBSET_MIN: usize = 12;

/// Shards of all processes together that share endpoints out among themselves. Working out a subset looks at each of them.
pub const SUBSET_PEERS_MAX: usize = 65_536;

/// What a shard has told of its calls counts for so long: ten of the longest periods after which it is told anew (100 ms), so
/// that a few lost reports change nothing and a shard that hangs is soon forgotten.
pub const REPORT_FRESH: Duration = Duration::from_secs(1);
