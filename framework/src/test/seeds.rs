//! Which seeds a test runs, and how one of them is run again: the environment's word, read in one place.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{ExitCode, Termination};

use shards::{Shard, Simulation};

use super::Builder;

/// The seeds that a test is to run: `SHARDWISE_SEED` alone if it is set, those of `SHARDWISE_SEEDS` (a count, or a range
/// `a..b`) if that is, else the first `count`.
///
/// ```
/// for seed in shardwise::test::seeds(3) {
///     let server = shardwise::test::builder().seed(seed).start(|_| shardwise::App::new().get("/", || "hello"));
///     assert_eq!(server.get("/").text(), "hello");
/// }
/// ```
///
/// Panics if the environment says something else.
pub fn seeds(count: u64) -> Range<u64> {
    let said = |name| std::env::var(name).ok();
    choose(said(SEED), said(SEEDS), count).unwrap_or_else(|error| panic!("{error}"))
}

/// The seed that a server has of which nobody says one.
pub(super) fn default_seed() -> u64 {
    let said = std::env::var(SEED).ok();
    if said.is_some() { choose(said, None, 0).unwrap_or_else(|error| panic!("{error}")).start } else { 1 }
}

fn choose(one: Option<String>, several: Option<String>, count: u64) -> Result<Range<u64>, String> {
    if let Some(text) = one {
        let seed: Option<u64> = text.trim().parse().ok();
        let range = seed.and_then(|seed| Some(seed..seed.checked_add(1)?));
        return range.ok_or_else(|| format!("{SEED}={text} is not a seed. Write a number, as in {SEED}=17."));
    }
    let Some(text) = several else { return Ok(0..count) };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match text.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)).map(|(from, to)| from..to),
        None => number(&text).map(|count| 0..count),
    };
    range.filter(|range| !range.is_empty()).ok_or_else(|| {
        format!(
            "{SEEDS}={text} names no seeds. Write how many, as in {SEEDS}=1000, or a range, as in {SEEDS}=500..1000."
        )
    })
}

/// How to run the present test again with a seed.
pub(super) fn again(seed: u64) -> String {
    // The harness runs each test on a thread of its name; a doc test, and a test that is alone, on `main`.
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main").map(|name| format!(" {name}")).unwrap_or_default();
    format!("seed {seed}; to run it again: {SEED}={seed} cargo test{name}")
}

/// What `#[shardwise::test]` runs: a test for each of its seeds. The first that fails is named, and fails it.
pub fn run_seeds<R: Termination>(count: u64, test: impl Fn(u64) -> R) {
    for seed in seeds(count) {
        // An error is shown by `report`, as Rust's own `#[test]` has it.
        let failed = match catch_unwind(AssertUnwindSafe(|| test(seed).report())) {
            Ok(ExitCode::SUCCESS) => continue,
            Ok(_) => None,
            Err(panic) => Some(panic),
        };
        eprintln!("the test failed with {}", again(seed));
        match failed {
            Some(panic) => resume_unwind(panic),
            None => panic!("the test returned an error with seed {seed}"),
        }
    }
}

/// What `#[shardwise::test]` makes of an `async fn`: a task of a simulated shard.
pub fn on_a_shard<T: 'static>(seed: u64, test: impl AsyncFnOnce(Shard) -> T + 'static) -> T {
    Simulation::new(seed).run(test)
}

/// What a function under `#[shardwise::test]` may take: the seed itself, or a [`Builder`] that has it.
pub trait FromSeed {
    /// The argument for a seed.
    fn from_seed(seed: u64) -> Self;
}

impl FromSeed for u64 {
    fn from_seed(seed: u64) -> Self {
        seed
    }
}

impl FromSeed for Builder {
    fn from_seed(seed: u64) -> Self {
        Builder::new().seed(seed)
    }
}

const SEED: &str = "SHARDWISE_SEED";
const SEEDS: &str = "SHARDWISE_SEEDS";

#[cfg(test)]
mod tests;
