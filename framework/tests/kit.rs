//! The test kit as its users see it: `#[test]` stays Rust's own beside the prelude, and `#[shardwise::test]` runs seeds.

use std::time::Duration;

use shardwise::prelude::*;
use shardwise::test::{Builder, Plan};

fn app() -> App {
    App::new().get("/hello/{name}", |Path(name): Path<String>| async move { format!("hello {name}") })
}

/// Were this not Rust's own attribute, the prelude would have taken its name.
#[test]
fn the_prelude_leaves_rusts_own_test_alone() {
    let response = shardwise::test::run(app()).get("/hello/ada");
    assert_eq!(response.text(), "hello ada");
}

#[shardwise::test(seeds = 5)]
fn a_seed_decides_everything(seed: u64) {
    let run = || {
        let server = shardwise::test::builder().seed(seed).shards(2).plan(Plan::CHOPPY).start(|_| app());
        assert_eq!(server.get("/hello/ada").text(), "hello ada");
        server.end()
    };
    assert_eq!(run(), run());
}

#[shardwise::test]
fn a_builder_has_the_seed(builder: Builder) {
    assert_eq!(builder.start(|_| app()).get("/hello/ada").text(), "hello ada");
}

#[shardwise::test(seeds = 2)]
async fn an_async_test_runs_on_a_shard(shard: Shard) {
    let before = shard.now();
    shard.sleep(Duration::from_secs(3600)).await;
    assert!(shard.now() - before >= Duration::from_secs(3600));
}

#[shardwise::test]
async fn an_async_test_may_do_without() -> Result<()> {
    assert!(Shard::current().is_some());
    Ok(())
}

#[shardwise::test]
fn a_test_without_arguments_is_rusts_own() {
    assert!(Shard::current().is_none());
}

#[shardwise::test(seeds = 3)]
#[should_panic(expected = "the test returned an error with seed")]
fn an_error_fails_a_test(seed: u64) -> Result<()> {
    Err(shardwise::Error::new(format!("wrong from {seed} on")))
}

#[shardwise::test(seeds = 3)]
#[should_panic(expected = "at seed 2")]
fn the_first_seed_that_fails_fails_a_test(seed: u64) {
    assert!(seed < 2, "at seed {seed}");
}

async fn work(shard: Shard) -> &'static str {
    shard.sleep(Duration::from_secs(60)).await;
    "done"
}

/// What README shows: tests in documentation are neither compiled nor run.
#[shardwise::test(seeds = 20)]
fn those_who_come_later_do_not_wait(seed: u64) {
    let app = |_| App::new().get("/work", work).get("/", || "hello");
    let server = shardwise::test::builder().seed(seed).shards(2).plan(Plan::CHOPPY).start(app);
    server.run(async |client| {
        let slow = client.begin("/work").await.unwrap();
        assert_eq!(client.get("/").await.text(), "hello");
        assert_eq!(slow.response().await.unwrap().text(), "done"); // a minute later, and at once
    });
}

mod where_the_module_is_imported {
    use super::*;
    use shardwise::test;

    /// `use shardwise::test` brings the attribute along; this is then the kit's, and the same.
    #[test]
    fn its_attribute_is_as_good_as_rusts_own() {
        assert_eq!(test::run(app()).get("/hello/ada").text(), "hello ada");
    }

    #[test]
    fn and_takes_seeds(seed: u64) {
        assert!(test::seeds(8).contains(&seed));
    }
}
