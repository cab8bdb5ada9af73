//! What the attribute says of a test that cannot be one, and what it makes of one that can.

use super::*;

#[track_caller]
fn check(arguments: &str, item: &str, expect: &str) {
    let told = match rewrite(arguments.parse().expect("tokens"), item.parse().expect("tokens")) {
        Ok(tokens) => {
            let function = syn::parse2::<ItemFn>(tokens.clone()).expect("a function");
            assert!(function.sig.inputs.is_empty(), "what Rust's own test admits: {tokens}");
            tokens.to_string()
        }
        Err(error) => error.to_string(),
    };
    assert!(told.contains(expect), "{told}");
}

#[test]
fn a_test_that_cannot_be_one_is_refused_with_the_form_it_should_have() {
    let forms = "write `fn t(seed: u64)` or `async fn t(shard: Shard)`";
    check("", "fn t<T>(seed: T) {}", &format!("a test cannot be generic: {forms}"));
    check("", "fn t(&self) {}", &format!("a test is not a method: {forms}"));
    check("", "fn t(seed: u64, shard: Shard) {}", &format!("a test takes one argument: {forms}"));
    check("seeds = 3", "fn t() {}", &format!("a test that takes no seed runs the same each time: {forms}"));
    check("", "struct T;", "expected");
}

#[test]
fn arguments_that_are_none_are_refused_in_words() {
    check("shards = 2", "fn t(seed: u64) {}", "there is no argument `shards`: write `seeds = 20`");
    check("seeds", "fn t(seed: u64) {}", "write `seeds = value`");
    check("seeds = 1, seeds = 2", "fn t(seed: u64) {}", "`seeds` is given twice");
}

#[test]
fn a_test_runs_for_each_seed() {
    check("", "fn t(seed: u64) {}", "run_seeds (8u64 ,");
    check("seeds = 20,", "fn t(seed: u64) {}", "run_seeds (20 ,");
    check("", "fn t(seed: u64) {}", "t (:: shardwise :: test :: FromSeed :: from_seed (seed))");
    check("", "async fn t(shard: Shard) {}", "on_a_shard (seed , async move");
    check("", "async fn t(shard: Shard) {}", "t (shard) . await");
    check("seeds = 2", "async fn t() {}", "t () . await");
    check("", "#[should_panic] fn t(seed: u64) {}", ":: test] # [should_panic] fn t ()");
}

#[test]
fn a_test_without_arguments_stays_as_it_is() {
    check("", "#[ignore] fn t() { work() }", "# [:: core :: prelude :: v1 :: test] # [ignore] fn t () { work () }");
}
