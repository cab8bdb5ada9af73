//! Requests whose head keeps coming: a service that wants no more than the head answers them without a request being made.

use std::time::Duration;

use platform::sim::Plan;

use crate::every::every;
use crate::kit::{Setup, World, run};

const TIMES: u64 = 8;
const BY_HEAD: &str = "by its head";
const BY_REQUEST: &str = "by a request";

fn setups() -> [Setup; 2] {
    let mut by_http3 = Setup::new();
    by_http3.client.http3 = true;
    // What refers to a table of fields does not come again byte by byte.
    by_http3.server.h3.table_bytes_max = 0;
    [Setup::speaking(&["http/1.1"]), by_http3]
}

#[test]
fn nothing_but_a_head_that_comes_again_is_answered_by_it() {
    for setup in setups() {
        run(1, Plan::CALM, setup, async |world: World| {
            let text = async || world.text("/known").await.expect("text");
            let mut told = Vec::new();
            for _ in 0..TIMES {
                told.push(text().await);
            }
            let by_request = told.iter().take_while(|told| *told == BY_REQUEST).count();
            assert!((1..=4).contains(&by_request), "{told:?}");
            assert!(told[by_request..].iter().all(|told| told == BY_HEAD), "{told:?}");
            // Each of them comes again and again, too.
            for time in 0..TIMES {
                let post = world.client.post(World::url("/known")).body("more");
                let mut answer = post.send().await.expect("an answer");
                assert_eq!(answer.text().await.expect("text"), BY_REQUEST, "one with a body, time {time}");
            }
            for time in 0..TIMES {
                let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
                let traced = world.client.get(World::url("/known")).header("traceparent", trace);
                let mut answer = traced.send().await.expect("an answer");
                assert_eq!(answer.text().await.expect("text"), BY_REQUEST, "one of a trace, time {time}");
            }
            for _ in 0..TIMES {
                assert_eq!(world.text("/hello").await.expect("text"), "hello");
            }
            assert!([BY_HEAD, BY_REQUEST].contains(&&*text().await));
            assert_eq!(world.stats.requests.get(), TIMES * 4 + 1);
        });
    }
}

/// Of what comes again over HTTP/3 no stream is kept before it is known that it does not end at once.
#[test]
fn what_comes_again_is_also_answered_late_and_in_pieces() {
    for setup in setups() {
        run(1, Plan::CALM, setup, async |world: World| {
            for time in 0..TIMES {
                assert_eq!(world.text("/slow/20").await.expect("text"), "at last", "time {time}");
            }
            for time in 0..TIMES {
                assert_eq!(world.text("/stream/3").await.expect("text").len(), 3 * 16 * 1024, "time {time}");
            }
            for text in every((0..20).map(|_| world.text("/slow/20"))).await {
                assert_eq!(text.expect("text"), "at last");
            }
        });
    }
}

#[test]
fn what_comes_again_is_given_up_as_anything_else() {
    let [_, by_http3] = setups();
    run(1, Plan::CALM, by_http3, async |world: World| {
        for time in 0..TIMES {
            let gone = world.shard.timeout(Duration::from_millis(5), world.text("/slow/20")).await;
            assert!(gone.is_err(), "time {time}: {gone:?}");
            assert_eq!(world.text("/slow/20").await.expect("text"), "at last", "time {time}");
        }
        assert_eq!(*world.seen.borrow(), ["dropped", "answered"].repeat(TIMES as usize));
    });
}
