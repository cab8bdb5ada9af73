//! What a call to a service costs in heap allocations, in steady state over kept connections: as many as a plain request does.
//! Counted on the caller's own thread, over real sockets.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod beside;
#[path = "../../shards/tests/counting/mod.rs"]
mod counting;

use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use http::StatusCode;
use platform::BackendKind;
use shards::Shard;
use shardwise_net::client;
use shardwise_net::upstream::policy::breaker;
use shardwise_net::upstream::policy::hedge::{self, Delay};
use shardwise_net::upstream::{Config, Endpoint, Endpoints, Upstream};
use shardwise_net::{Client, Reply, Request, Response, Server, Service};

use beside::{is_here, runtime, serve_beside};
use counting::COUNT;

/// Requests that are counted.
const REQUESTS: u64 = 2000;

/// Requests before that: what is made once and kept is made here.
const WARM_UP: u64 = 200;

/// Endpoints of the service: as many servers' as there are listeners.
const ENDPOINTS: usize = 4;

#[test]
fn on_uring() {
    check(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    check(BackendKind::Epoll);
}

fn check(kind: BackendKind) {
    if !is_here(kind) {
        return;
    }
    let serve = async |shard: Shard, tell: &dyn Fn(Vec<SocketAddr>)| {
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..ENDPOINTS {
            let any = "127.0.0.1:0".parse().expect("an address");
            let bound = Server::bind(&shard, any, &Default::default(), Location::caller()).await;
            let bound = bound.map_err(|error| error.to_string())?;
            addresses.push(bound.address());
            let serve = bound.serve(Greeter, Default::default(), Default::default());
            tasks.push(shard.spawn(serve).map_err(|error| error.to_string())?);
        }
        tell(addresses);
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    };
    serve_beside(kind, serve, move |addresses| {
        let calls = async move |shard: Shard| {
            measure(&shard, &addresses).await;
            Ok::<(), String>(())
        };
        runtime(kind).run(calls).expect("every count is right");
    });
}

struct Greeter;

impl Service for Greeter {
    fn call(&self, request: Request) -> Reply {
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content("Hello, World!".into()))
    }
}

async fn measure(shard: &Shard, addresses: &[SocketAddr]) {
    let client = Client::new(shard);
    let url = format!("http://{}/", addresses[0]);
    let plain = allocations(async || read(client.get(&*url)).await).await;
    let endpoints = || Endpoints::fixed(addresses.iter().copied().map(Endpoint::new));
    let usual = Config { endpoints: endpoints(), ..Config::default() };
    let full = Config {
        endpoints: endpoints(),
        breaker: Some(breaker::Config::default()),
        // Armed, and never sent: a second try that loses the race costs a connection.
        hedge: Some(hedge::Policy { delay: Delay::Fixed(Duration::from_secs(10)), ..hedge::Policy::default() }),
        adaptive: Some(Default::default()),
        ..Config::default()
    };
    for (name, config) in [("usual", usual), ("full", full)] {
        let upstream = Upstream::new(&client, name, config).expect("it can be declared so");
        let called = allocations(async || read(upstream.get("/")).await).await;
        println!("allocations for each request: {plain:.3} of a plain one, {called:.3} of a call, {name}");
        assert!(called < plain + 0.01, "{called} for each call, {plain} for a plain request: {name}");
    }
}

async fn read(request: client::Request<'_>) {
    let mut response = request.send().await.expect("it is answered");
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.expect("it is whole") {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 13);
}

async fn allocations(ask: impl AsyncFn()) -> f64 {
    for _ in 0..WARM_UP {
        ask().await;
    }
    COUNT.set(Some(0));
    for _ in 0..REQUESTS {
        ask().await;
    }
    COUNT.take().expect("it has begun") as f64 / REQUESTS as f64
}
