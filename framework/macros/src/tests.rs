//! What the attribute says of a `main` that cannot be one, and what it makes of one that can.

use syn::ItemFn;

// By name: a glob would bring the attribute `test` along.
use super::rewrite;

#[track_caller]
fn check(arguments: &str, item: &str, expect: &str) {
    let rewritten = rewrite(arguments.parse().expect("tokens"), item.parse().expect("tokens"));
    let told = match rewritten {
        Ok(tokens) => {
            // Whatever it makes is one function.
            syn::parse2::<ItemFn>(tokens.clone()).expect("a function");
            tokens.to_string()
        }
        Err(error) => error.to_string(),
    };
    assert!(told.contains(expect), "{told}");
}

const GOOD: &str = "async fn main(shard: Shard) -> Result<()> { Ok(()) }";

#[test]
fn a_main_that_cannot_be_one_is_refused_with_the_form_it_should_have() {
    let form = "write `async fn main(shard: Shard) -> Result<()>`";
    check("", "fn main(shard: Shard) -> Result<()> {}", &format!("`main` must be async: {form}"));
    check("", "async fn main(shard: Shard) {}", &format!("`main` must return a `Result`: {form}"));
    check("", "async fn main<T>(shard: Shard) -> Result<()> {}", &format!("`main` cannot be generic: {form}"));
    check("", "async fn serve(shard: Shard) -> Result<()> {}", "goes on the function `main`");
    check("", "async fn main(a: Shard, b: u8) -> Result<()> {}", "a second argument only with `setup = …`");
    let form = "write `async fn main(shard: Shard, value: T) -> Result<()>`";
    check("setup = load", "async fn main(a: Shard, b: u8, c: u8) -> Result<()> {}", form);
    check("", "struct Main;", "expected");
}

#[test]
fn arguments_that_are_none_are_refused_in_words() {
    check(
        "threads = 2",
        GOOD,
        "there is no argument `threads`: there are setup, shards, backend, admin and oversubscribe",
    );
    check("shards", GOOD, "write `shards = value`");
    check("shards = 1, shards = 2", GOOD, "`shards` is given twice");
    check("setup = 7", GOOD, "`setup` names a function: `setup = load`");
}

#[test]
fn arguments_set_up_the_builder() {
    check("", GOOD, "builder () . run");
    check("shards = 2", GOOD, ". shards (2)");
    check("oversubscribe = true,", GOOD, ". oversubscribe (true)");
    check("backend = \"epoll\"", GOOD, "from_str (\"epoll\")");
    check("admin = \"127.0.0.1:0\"", GOOD, ". admin (");
    check(
        "setup = config::load",
        "async fn main(a: Shard, b: C) -> Result<()> {}",
        "let value = config :: load () ? ;",
    );
    check("", "async fn main() -> Result<()> {}", "main () . await");
}
