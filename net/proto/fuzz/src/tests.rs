//! Every target over its seeds and over mutations of them, the same ones each time.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::cut::Random;
use crate::{TARGETS, seeds};

/// Mutations for each target; `SHARDWISE_FUZZ_RUNS` says otherwise.
const RUNS: usize = 20_000;

fn runs() -> usize {
    std::env::var("SHARDWISE_FUZZ_RUNS").ok().map_or(RUNS, |runs| runs.parse().expect("a number of runs"))
}

#[track_caller]
fn check(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let shown = |input: &[u8], from: String| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            eprintln!("{name}, {from}: b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    };
    let seeds = seeds::of(name);
    assert!(seeds.len() > 30, "{} seeds", seeds.len());
    for (index, seed) in seeds.iter().enumerate() {
        shown(seed, format!("seed {index}"));
    }
    // A conversation takes as long as many a head.
    let runs = if name.ends_with("_vs_h2") { runs() / 4 } else { runs() };
    for run in 0..runs {
        let mut random = Random(run as u64);
        let mut any = || seeds[random.below(seeds.len())].clone();
        let (input, other) = (any(), any());
        let mut random = Random(!(run as u64));
        shown(&seeds::mutate(input, &other, &mut random), format!("run {run}"));
    }
}

#[test]
fn h1_server() {
    check("h1_server");
}

#[test]
fn h1_client() {
    check("h1_client");
}

#[test]
fn h1_chunked() {
    check("h1_chunked");
}

#[test]
fn h1_head_vs_httparse() {
    check("h1_head_vs_httparse");
}

#[test]
fn h1_server_vs_hyper() {
    check("h1_server_vs_hyper");
}

#[test]
fn h2_server() {
    check("h2_server");
}

#[test]
fn h2_client() {
    check("h2_client");
}

#[test]
fn h2_frames() {
    check("h2_frames");
}

#[test]
fn h2_server_vs_h2() {
    check("h2_server_vs_h2");
}

#[test]
fn h2_client_vs_h2() {
    check("h2_client_vs_h2");
}

#[test]
fn h2_bytes_vs_h2() {
    check("h2_bytes_vs_h2");
}

#[test]
fn h3_server() {
    check("h3_server");
}

#[test]
fn h3_client() {
    check("h3_client");
}

#[test]
fn h3_frames() {
    check("h3_frames");
}

#[test]
fn hpack_decoder() {
    check("hpack_decoder");
}

#[test]
fn hpack_round_trip() {
    check("hpack_round_trip");
}

#[test]
fn qpack_decoder() {
    check("qpack_decoder");
}

#[test]
fn qpack_encoder() {
    check("qpack_encoder");
}

#[test]
fn qpack_round_trip() {
    check("qpack_round_trip");
}

#[test]
fn ws() {
    check("ws");
}

#[test]
fn proxy() {
    check("proxy");
}

#[test]
fn dns() {
    check("dns");
}
