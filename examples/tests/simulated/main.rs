//! The showcase's own app on a simulated machine: several shards and their clients in one thread, on virtual time, over a
//! network that cuts and delays what it can. One seed decides everything; a failure prints it.

#[path = "../../src/bin/showcase/app.rs"]
mod app;
mod cases;
#[path = "../showcase/malformed.rs"]
mod malformed;
mod mixed;
mod talk;
#[path = "../../../framework/tests/wire/mod.rs"]
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use shardwise::test::{Client, Plan, Server, builder, seeds};

use cases::Case;
use talk::{Outcome, Talk};
use wire::request;

/// Seeds of each test but the mixed workload.
const SEEDS: u64 = 50;

/// Clients that ask at the same time.
const CLIENTS: usize = 8;

/// Requests of each client.
const REQUESTS: usize = 12;

/// The app on a network that does all that a healthy one may do.
fn serve(seed: u64, shards: usize) -> Server {
    builder().seed(seed).shards(shards).plan(Plan::CHOPPY).start(|shard| app::app(&shard, None))
}

/// Runs clients, each with its number, until all have ended.
fn run<T: 'static>(server: &Server, work: impl AsyncFn(Client, usize) -> T + 'static) -> Vec<T> {
    let work = Rc::new(work);
    server.run(async move |client| {
        let spawn = |number| {
            let (work, inner) = (Rc::clone(&work), client.clone());
            client.spawn(async move { work(inner, number).await })
        };
        let tasks: Vec<_> = (0..CLIENTS).map(spawn).collect();
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await);
        }
        outputs
    })
}

/// Asks whatever the seed says, one by one or in pipelines of up to three.
async fn ask(client: Client, shards: usize) {
    let mut talk = Talk::open(&client).await;
    let mut left = REQUESTS;
    while left > 0 {
        let depth = left.min(1 + (client.shard().random() % 3) as usize);
        left -= depth;
        let cases: Vec<Case> = (0..depth).map(|_| Case::any(&client, shards)).collect();
        talk.send(cases.iter().flat_map(|case| case.request.clone()).collect::<Vec<u8>>()).await;
        assert_eq!(talk.answers(&cases).await, (Outcome::Whole, depth), "{cases:?}");
    }
}

#[track_caller]
fn check_routes(shards: usize) {
    for seed in seeds(SEEDS) {
        let once = || {
            let server = serve(seed, shards);
            run(&server, async move |client, _| ask(client, shards).await);
            server.end()
        };
        assert_eq!(once(), once(), "seed {seed}: the same seed gives the same run");
    }
}

#[test]
fn every_route_answers_right_on_one_shard() {
    check_routes(1);
}

#[test]
fn every_route_answers_right_on_two_shards() {
    check_routes(2);
}

#[test]
fn every_route_answers_right_on_four_shards() {
    check_routes(4);
}

#[test]
fn every_shard_takes_its_share() {
    let server = builder().seed(1).shards(4).start(|shard| app::app(&shard, None));
    let answers = server.all(["/shard"; 64]);
    let mut numbers: Vec<&str> = answers.iter().map(|answer| answer.text()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
}

#[test]
fn every_shard_reaches_every_other() {
    for seed in seeds(SEEDS) {
        let server = serve(seed, 3);
        for number in (0..3).cycle().take(24) {
            assert_eq!(server.get(&format!("/mesh/{number}")).text(), number.to_string(), "seed {seed}");
        }
        for none in ["/mesh/3", "/mesh/4000000000", "/mesh/18446744073709551615"] {
            assert_eq!(server.get(none).status(), 404, "{none}");
        }
        server.end();
    }
}

/// All clients count each key together, whichever shards they came to.
#[test]
fn a_key_is_counted_once_for_all_shards() {
    for seed in seeds(SEEDS) {
        let server = serve(seed, 4);
        let counts = run(&server, async |client, number| {
            let mut counts = Vec::new();
            for round in 0..REQUESTS {
                let key = (number + round) % 3;
                let answer = client.get(&format!("/count/{key}")).await;
                counts.push((key, answer.text().parse::<usize>().expect("a count")));
            }
            counts
        });
        let mut counts = counts.concat();
        counts.sort_unstable();
        let each = CLIENTS * REQUESTS / 3;
        let expect: Vec<_> = (0..3).flat_map(|key| (1..=each).map(move |count| (key, count))).collect();
        assert_eq!(counts, expect, "seed {seed}: every number once");
        server.end();
    }
}

/// The drain begins while everyone asks: a request that was sent before is answered in whole, a later one in whole or not
/// at all.
#[test]
fn a_drain_under_load_loses_no_request() {
    for seed in seeds(SEEDS) {
        let server = serve(seed, 2);
        let has_drained = Rc::new(Cell::new(false));
        let answered = run(&server, async move |client, number| {
            let mut talk = Talk::open(&client).await;
            if number == 0 {
                client.sleep(Duration::from_millis(20 + client.shard().random() % 20)).await;
                talk.send(request("GET /sleep/30")).await;
                has_drained.set(true);
                client.drain();
                let (outcome, count) = talk.answers(&[Case::get("/sleep/30", 204, Vec::new())]).await;
                assert_ne!(outcome, Outcome::Broken, "what was in hand is answered");
                return count;
            }
            for count in 0.. {
                let case = Case::any(&client, 2);
                let is_sent = talk.send(case.request.clone()).await;
                let is_before = !has_drained.get();
                match talk.answers(std::slice::from_ref(&case)).await.0 {
                    Outcome::Whole => {}
                    Outcome::Closed => return count + 1,
                    Outcome::Late => panic!("{case:?} was sent at once"),
                    Outcome::Broken => {
                        // A reset may overtake the end: it is one as long as no byte of an answer came.
                        let is_none = !(is_sent && is_before) && talk.is_at_a_boundary();
                        assert!(is_none, "no answer, or part of one, to {case:?}");
                        return count;
                    }
                }
            }
            unreachable!("the server ends")
        });
        assert!(answered.iter().sum::<usize>() > 0, "seed {seed}");
        server.end();
    }
}

/// Ten seconds for a head are ten seconds of virtual time.
#[test]
fn slow_heads_are_refused_in_time() {
    let server = serve(1, 1);
    run(&server, async |client, _| {
        let mut talk = Talk::open(&client).await;
        talk.send("GET /plaintext HTTP/1.1\r\nHo").await;
        let begin = client.now();
        let answer = talk.next(false).await.expect("a correct answer").expect("an answer before the end");
        assert_eq!(answer.status, 408);
        let waited = client.now() - begin;
        assert!(waited >= Duration::from_millis(9_990) && waited < Duration::from_secs(11), "{waited:?}");
        assert_eq!(talk.next(false).await, Ok(None));
    });
}

/// One client breaks the rules in every way while the others ask.
#[test]
fn bad_input_harms_nobody_else() {
    for seed in seeds(SEEDS) {
        let server = serve(seed, 2);
        run(&server, async |client, number| {
            if number > 0 {
                return ask(client, 2).await;
            }
            for index in 0..malformed::TABLE.len() {
                let mut talk = Talk::open(&client).await;
                let (bytes, case) = Case::malformed(index);
                talk.send(bytes).await;
                assert_eq!(talk.answers(&[case]).await, (Outcome::Closed, 1));
                assert_eq!(talk.next(false).await, Ok(None));
            }
        });
        server.end();
    }
}
