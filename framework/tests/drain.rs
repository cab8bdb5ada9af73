//! The drain, seed by seed on a simulated network: who had asked is answered, who asks in time is answered and told that the
//! connection ends, and what waits in an accept queue is served.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shardwise::prelude::*;
use shardwise::test::{self, Client, Failure, Plan, Server};
use shardwise::{Config, Spread};

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// How long connections are accepted and kept after the drain has begun.
const TIME_MIN: Duration = millis(400);

/// How long a client keeps asking after it: less, by what the network may need to carry a connection and a request there.
const ASK_TIME: Duration = millis(250);

fn serve(seed: u64, shards: usize, spread: Spread) -> Server {
    // Slow and choppy, and the kernel answers late, but nothing is lost: what fails is the server's doing.
    let plan = Plan { late_completions: 0.3, late_cancels: 0.5, ..Plan::CHOPPY };
    let app = move |_| {
        let config = Config { drain_time_min: TIME_MIN, ..Config::default() };
        App::new().config(config).spread(spread).get("/", || "hello").get("/sleep/{millis}", sleep)
    };
    test::builder().seed(seed).shards(shards).plan(plan).start(app)
}

async fn sleep(shard: Shard, Path(time): Path<u64>) -> &'static str {
    shard.sleep(millis(time)).await;
    "slept"
}

/// When the drain began, once it has.
type Begun = Rc<Cell<Option<Instant>>>;

const ASK: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// Asks again and again on connections that it keeps, until one is closed after an answer that said so and the time is over. It
/// gives the number of answers.
async fn keep_asking(client: Client, begun: Begun, pause: Duration) -> usize {
    let mut answers = 0;
    while begun.get().is_none_or(|at| client.now() < at + ASK_TIME) {
        let mut connection = client.open().await;
        loop {
            let asked = client.now();
            let is_late = begun.get().is_some_and(|at| asked >= at + ASK_TIME);
            if is_late {
                return answers;
            }
            connection.send(ASK).await.expect("a connection that has not been said to end takes a request");
            let response = connection.response(&Method::GET).await;
            let response = response.unwrap_or_else(|failure| {
                let since = begun.get().map(|at| client.now() - at);
                panic!("a request on an open connection: {failure}, {since:?} after the drain began")
            });
            assert_eq!(response.text(), "hello");
            answers += 1;
            // The request may have been answered before the drain was heard of there, but not the other way round.
            let closes = response.headers().get("connection").is_some_and(|value| value == "close");
            assert!(!closes || begun.get().is_some(), "nobody was told to go before the drain");
            if closes {
                assert_eq!(connection.receive().await, Ok(None), "and it closes in order");
                break;
            }
            client.sleep(pause).await;
        }
    }
    answers
}

#[track_caller]
fn check_load(seed: u64, shards: usize, spread: Spread) {
    let server = serve(seed, shards, spread);
    let answers = server.run(async move |client| {
        let begun = Begun::default();
        let asking: Vec<_> = (0..12_u64)
            .map(|number| {
                let pause = Duration::from_micros(number * 317);
                client.spawn(keep_asking(client.clone(), Rc::clone(&begun), pause))
            })
            .collect();
        client.sleep(Duration::from_micros(30_000 + client.shard().random() % 20_000)).await;
        begun.set(Some(client.now()));
        client.drain();
        let mut answers = 0;
        for answered in asking {
            answers += answered.await;
        }
        answers
    });
    assert!(answers > 48, "there was load: {answers} answers");
    server.end();
}

#[shardwise::test(seeds = 20)]
fn nobody_who_asks_in_time_fails(seed: u64) {
    check_load(seed, 3, Spread::ByKernel);
    check_load(seed, 3, Spread::ByLoad);
}

#[shardwise::test(seeds = 10)]
fn what_was_asked_before_is_answered_however_long_it_takes(seed: u64) {
    let server = serve(seed, 2, Spread::ByKernel);
    server.run(async move |client| {
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(client.begin("/sleep/5000").await.expect("it is asked"));
        }
        client.drain();
        for asked in asked {
            let response = asked.response().await.expect("an answer");
            assert_eq!((response.text(), response.header("connection")), ("slept", "close"));
        }
    });
    server.end();
}

/// One that says nothing is kept for the time, and not for longer.
#[shardwise::test(seeds = 10)]
fn idle_connections_are_closed_when_the_time_is_over(seed: u64) {
    let server = serve(seed, 2, Spread::ByKernel);
    server.run(async |client| {
        let mut idle = client.open().await;
        idle.send(ASK).await.unwrap();
        idle.response(&Method::GET).await.unwrap();
        let begin = client.now();
        client.drain();
        assert_eq!(idle.receive().await, Ok(None), "in order");
        let waited = client.now() - begin;
        assert!((TIME_MIN..TIME_MIN + millis(300)).contains(&waited), "{waited:?}");
    });
    server.end();
}

/// A connection that the kernel had accepted when accepting was stopped was closed unseen: the operation was given up, and not
/// awaited.
#[shardwise::test(seeds = 200)]
fn whoever_connects_as_accepting_ends_is_served_or_refused(seed: u64) {
    let server = serve(seed, 1, Spread::ByKernel);
    server.run(async |client| {
        client.drain();
        client.sleep(TIME_MIN - millis(2)).await;
        let mut asked = Vec::new();
        for _ in 0..20 {
            let there = client.clone();
            asked.push(client.spawn(async move {
                let mut connection = there.try_open().await?;
                connection.send(ASK).await?;
                connection.response(&Method::GET).await.map(|response| response.text().to_owned())
            }));
            client.sleep(Duration::from_micros(client.shard().random() % 400)).await;
        }
        for asked in asked {
            match asked.await {
                Ok(text) => assert_eq!(text, "hello"),
                Err(Failure::Connect(_)) => {}
                Err(other) => panic!("a connection that was there: {other}"),
            }
        }
    });
    server.end();
}
