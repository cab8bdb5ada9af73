//! Peers that send or take a little now and then: what a pause alone does not end.

use std::time::Duration;

use platform::limits::HEAD_BUFFER_BYTES;
use platform::sim::Plan;
use shardwise_net::Config;

use crate::kit::{SEEDS, Setup, get, post, run, seconds};

/// Sends a body of `count` pieces of `bytes`, one each second. Gives the status of the answer, and when it came.
fn send_body(config: Config, path: &'static str, count: usize, bytes: usize) -> Vec<(String, Duration, u64)> {
    let once = |seed| {
        let setup = Setup { seed, plan: Plan::CHOPPY, config: config.clone(), ..Setup::default() };
        run(setup, async move |world| {
            let mut client = world.open().await;
            let begin = world.shard.now();
            client.send(post(path, count * bytes)).await;
            for _ in 0..count {
                world.sleep(seconds(1)).await;
                let is_over = world.shard.timeout(Duration::from_millis(1), client.read()).await.is_ok();
                if is_over || !client.send(vec![b'x'; bytes]).await {
                    break;
                }
            }
            let answer = client.answer().await;
            (answer[9..12].to_owned(), world.shard.now() - begin, world.stats.slow_bodies.get())
        })
    };
    (1..=SEEDS).map(once).collect()
}

/// Only a pause between two bytes was limited: a body of one byte a second held its handler for as long as it was.
#[test]
fn a_body_of_a_byte_a_second_is_given_up() {
    for (status, time, slow) in send_body(Config::default(), "/body", 1000, 1) {
        assert_eq!((&*status, slow), ("408", 1));
        assert!(time >= seconds(30) && time < seconds(33), "after {time:?}");
    }
}

#[test]
fn a_body_of_the_least_rate_comes_through_however_long_it_is() {
    for (status, time, slow) in send_body(Config::default(), "/body", 300, 250) {
        assert_eq!((&*status, slow), ("200", 0));
        assert!(time >= seconds(300));
    }
}

#[test]
fn without_a_least_rate_a_byte_a_second_will_do() {
    for (status, _, slow) in send_body(Config { body_rate_min: 0, ..Config::default() }, "/body", 100, 1) {
        assert_eq!((&*status, slow), ("200", 0));
    }
}

/// The body is there, and its reader takes its time.
#[test]
fn the_time_in_which_nobody_reads_does_not_count() {
    for (status, time, slow) in send_body(Config::default(), "/body/60", 3, 1) {
        assert_eq!((&*status, slow), ("200", 0));
        assert!(time >= seconds(120));
    }
}

/// Asks for a long stream and takes a receive buffer's worth at each interval, which the network passes on in lots of some 50 KiB.
/// Gives for how long that went on, and whether it was ended.
fn take_slowly(write_rate_min: u32, interval: Duration) -> Vec<(Duration, u64)> {
    let once = |seed| {
        let setup = Setup { seed, config: Config { write_rate_min, ..Config::default() }, ..Setup::default() };
        run(setup, async move |world| {
            let mut client = world.open().await;
            client.send(get("/stream/40000000")).await;
            let begin = world.shard.now();
            while world.stats.slow_readers.get() == 0 && world.shard.now() - begin < seconds(900) {
                world.sleep(interval).await;
                client.read().await.expect("there is always more");
            }
            (world.shard.now() - begin, world.stats.slow_readers.get())
        })
    };
    (1..=SEEDS).map(once).collect()
}

const TOO_SLOW: Duration = Duration::from_millis(1500);

/// Only a stall was limited: who took a little before each limit passed was sent to for ever.
#[test]
fn a_reader_of_a_little_now_and_then_is_given_up() {
    for (time, slow) in take_slowly(HEAD_BUFFER_BYTES, TOO_SLOW) {
        assert!(slow == 1 && time > seconds(40) && time < seconds(200), "{slow}, after {time:?}");
    }
}

#[test]
fn a_reader_of_the_least_rate_is_sent_all() {
    for (_, slow) in take_slowly(HEAD_BUFFER_BYTES, Duration::from_millis(800)) {
        assert_eq!(slow, 0);
    }
}

#[test]
fn without_a_least_rate_a_reader_may_be_as_slow_as_it_likes() {
    for (_, slow) in take_slowly(0, TOO_SLOW) {
        assert_eq!(slow, 0);
    }
}
