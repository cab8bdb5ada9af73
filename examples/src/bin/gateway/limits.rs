//! Every bound of this server, with its reason, and what a configuration may say at the most.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How often the file is looked at, and whether SIGHUP has come: an operator who waits for it does not have to wait long, and a
/// look costs one small read on another thread.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Bytes of a configuration: tens of thousands of routes. What is larger is another file by mistake.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of a file of certificates or keys: as many as TLS admits.
pub(crate) const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;

/// Times that can be set. Longer than a day is a mistake, or means no limit, which is said by leaving the key out.
pub(crate) const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

/// Times of the same that may be none at all.
pub(crate) const TIMES_FROM_ZERO: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);

/// An endpoint's weight. Zero would be an endpoint that is none; more than this gains nothing, since weights are relative.
pub(crate) const WEIGHTS: RangeInclusive<u64> = 1..=1000;

/// Counts of connections, requests and the like: what a 32-bit counter holds with room to spare.
pub(crate) const COUNTS: RangeInclusive<u64> = 1..=1_000_000;

/// The same, where none at all is a choice.
pub(crate) const COUNTS_FROM_ZERO: RangeInclusive<u64> = 0..=1_000_000;

/// Tries of one request: beyond ten the budget would have to be all there is.
pub(crate) const TRIES: RangeInclusive<u64> = 1..=10;

/// How long an answer's head may take unless a route says otherwise: Envoy's default (`RouteAction.timeout`), which counts
/// to the answer's end; streams have no such end.
pub(crate) const ROUTE_TIME_MAX: Duration = Duration::from_secs(15);

/// Bytes of a request's body unless a route says otherwise: nginx's default (`client_max_body_size`) times ten. It streams
/// through, so that it is not memory that this bounds, but what a client may make a server behind do.
pub(crate) const BODY_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// How often a request may have come through a proxy of our name: beyond it, routes that lead to each other would pass a request
/// round until no connection is left. More than ten of a name in a row nobody has on purpose.
pub(crate) const ROUNDS_MAX: usize = 10;
