//! Over real sockets, on each backend of this machine.

use std::sync::Arc;
use std::time::Duration;

use platform::{BackendKind, Choice, select};
use shards::{Runtime, Shard};
use shardwise_net::NetStats;
use shardwise_net::quic::{Config, Endpoint, Event};

use crate::kit::{Client, Identity, echo, pattern};

#[test]
fn on_uring() {
    over_real_sockets(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    over_real_sockets(BackendKind::Epoll);
}

#[test]
fn on_polling() {
    over_real_sockets(BackendKind::Polling);
}

/// How long all of it may take.
const TIME_MAX: Duration = Duration::from_secs(60);

fn over_real_sockets(kind: BackendKind) {
    if let Err(error) = select(Choice::Force(kind), &platform::Config::default()) {
        println!("skipped: {error}");
        return;
    }
    let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
    let main = async |shard: Shard| {
        let exchange = exchange(&shard);
        shard.timeout(TIME_MAX, exchange).await.map_err(|error| error.to_string())
    };
    runtime.run(main).expect("it ends well");
}

async fn exchange(shard: &Shard) {
    let identity = Identity::new();
    let any = "127.0.0.1:0".parse().expect("an address");
    let (served, asked) = (Arc::<NetStats>::default(), Arc::<NetStats>::default());
    let server = Endpoint::bind(shard, any, Config::default(), Arc::clone(&served)).expect("a socket");
    let peer = server.local_address().expect("an address");
    let (tls, tasks) = (Arc::new(identity.server(shard)), shard.clone());
    let serving = shard.spawn(async move {
        let begin = |connection| tasks.spawn(echo(connection)).expect("room for a task").detach();
        server.serve(move || Arc::clone(&tls), begin).await.expect("it serves");
    });
    let serving = serving.expect("room for a task");
    let endpoint = Endpoint::bind(shard, any, Config::default(), Arc::clone(&asked)).expect("a socket");
    let driven = endpoint.clone();
    let driving = shard.spawn(async move { driven.drive().await }).expect("room for a task");
    let tls = Arc::new(identity.client(shard));
    let mut client = Client(endpoint.connect(peer, "localhost", &tls).expect("a connection"));
    client.until(|event| matches!(event, Event::Connected)).await.expect("a hand-shake");
    let data = pattern(20_000_000);
    let since = shard.clock();
    assert!(client.ask(&data).await.expect("an answer") == data, "20 MB come back");
    let time = shard.clock() - since;
    let (count, batches) = (asked.datagrams_sent.get(), asked.datagram_batches_sent.get());
    let joined = served.datagram_batches_received.get();
    let lost = asked.quic_packets_lost.get() + served.quic_packets_lost.get();
    println!("{time:?}, {count} datagrams sent, {batches} batches, {joined} joined, {lost} lost");
    client.close().await;
    shard.drain();
    serving.await.expect("it drains");
    driving.await.expect("it drains");
    assert_eq!(endpoint.connections(), 0);
    assert_eq!(served.quic_connections_open.get(), 0);
}
