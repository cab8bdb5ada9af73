//! A kept connection, taken and put back without an exchange in between. What that costs is told by
//! `cargo test --release -p shardwise-net --lib kept_connection -- --nocapture`: by the clock, so on a machine that is quiet.

#![allow(clippy::disallowed_methods, reason = "what a round costs is told, and nothing depends on it")]

use std::panic::Location;
use std::time::{Duration, Instant};

use http::StatusCode;
use shards::{Shard, Simulation};

use crate::client::Client;
use crate::{Reply, Request, Response, Service};

struct Greeter;

impl Service for Greeter {
    fn call(&self, request: Request) -> Reply {
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content("hello".into()))
    }
}

#[test]
fn a_kept_connection_is_taken_and_put_back() {
    let mut simulation = Simulation::new(1);
    let serve =
        async |shard: Shard| crate::serve(&shard, ([10, 0, 0, 1], 80).into(), Greeter, Location::caller()).await;
    simulation.start(1, serve);
    simulation.run(async |shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let client = Client::new(&shard);
        let (pool, key) = (client.pool(), "http://10.0.0.1");
        let mut response = client.get(key).send().await.expect("it is answered");
        response.bytes().await.expect("it is whole");
        let rounds = 200_000;
        let start = Instant::now();
        for _ in 0..rounds {
            let place = pool.place(&pool.origin(key)).await.expect("nobody else wants one");
            assert_eq!(pool.idle(), 1);
            let connection = place.take().await.expect("it is kept, and quiet");
            assert_eq!(pool.idle(), 0);
            place.put(connection);
        }
        println!("{:.0} ns for each round", start.elapsed().as_nanos() as f64 / f64::from(rounds));
        assert_eq!(pool.idle(), 1);
        assert!(pool.place(&pool.origin(key)).await.expect("nobody else wants one").take().await.is_some());
    });
}
