//! The key-value store: its parts by themselves against simple models, and the whole of it on simulated shards, seed by seed.

#[path = "../../src/bin/kv/app.rs"]
mod app;
#[path = "../../src/bin/kv/limits.rs"]
mod limits;
#[path = "../../src/bin/kv/sieve.rs"]
mod sieve;
#[path = "../../src/bin/kv/store.rs"]
mod store;

mod of_sieve;
mod of_store;
mod served;

/// The next number of a simple sequence: what chance is in tests without a machine.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}
