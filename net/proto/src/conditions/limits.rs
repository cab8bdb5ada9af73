//! The bound of range requests, with its reason.

/// Ranges of one request that are looked at. A player or a reader of documents asks for two or three; many small ones cost
/// a head each, and a file of reads, for what the whole would give at once (RFC 9110 section 17.15). A set of more is
/// answered by the whole.
pub const RANGES_MAX: usize = 16;
