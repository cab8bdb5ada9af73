//! Each connection goes to the shard with the fewest: on simulated shards, seed by seed, and on real ones, on each backend.

#![allow(clippy::disallowed_methods, reason = "clients outside of any shard: real threads and a real clock")]

mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use platform::select;
use shardwise::prelude::*;
use shardwise::test::{self, Connection, Plan};
use shardwise::{BackendKind, Choice, Runtime, Spread};

use wire::{Client, WAIT_MAX};

fn app(shard: Shard) -> App {
    App::new().spread(Spread::ByLoad).get("/shard", move || shard.number().to_string())
}

/// Opens connections one after the other and gives each with the number of its shard.
async fn open(client: &test::Client, count: usize) -> Vec<(usize, Connection)> {
    let mut opened = Vec::new();
    for _ in 0..count {
        let mut connection = client.open().await;
        connection.send("GET /shard HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is read");
        let response = connection.response(&Method::GET).await.expect("it is answered");
        opened.push((response.text().parse().expect("a number"), connection));
    }
    opened
}

fn counts<T>(opened: &[(usize, T)]) -> [usize; 4] {
    let mut counts = [0; 4];
    opened.iter().for_each(|(shard, _)| counts[*shard] += 1);
    counts
}

#[shardwise::test(seeds = 5)]
fn long_connections_are_spread_evenly_and_new_ones_fill_up_where_others_have_ended(seed: u64) {
    let server = test::builder().seed(seed).shards(4).start(app);
    server.run(async |client| {
        let mut opened = open(&client, 400).await;
        assert_eq!(counts(&opened), [100; 4]);
        // All of one shard end, and some of another.
        let mut kept = 0;
        opened.retain(|(shard, _)| match shard {
            1 => false,
            3 => {
                kept += 1;
                kept <= 60
            }
            _ => true,
        });
        client.sleep(Duration::from_secs(1)).await;
        let more = open(&client, 60).await;
        assert_eq!(counts(&more), [0, 60, 0, 0], "to the one that has none, up to the next");
        opened.extend(more);
        opened.extend(open(&client, 80).await);
        assert_eq!(counts(&opened), [100; 4]);
    });
}

#[shardwise::test(seeds = 5)]
fn a_burst_is_spread_although_none_of_it_has_arrived(seed: u64) {
    let server = test::builder().seed(seed).shards(4).plan(Plan::LATE).start(app);
    let shards = server.run(async |client| {
        let opening: Vec<_> = (0..100)
            .map(|_| {
                let there = client.clone();
                client.spawn(async move {
                    let opened = open(&there, 1).await;
                    // All stay until the last has come.
                    there.sleep(Duration::from_secs(20)).await;
                    opened[0].0
                })
            })
            .collect();
        let mut shards = Vec::new();
        for opened in opening {
            shards.push((opened.await, ()));
        }
        shards
    });
    assert_eq!(counts(&shards), [25; 4]);
}

/// The kit looks that nothing is left: no socket, no task.
#[shardwise::test(seeds = 30)]
fn connections_on_their_way_when_the_drain_begins_are_served_or_closed(seed: u64) {
    let server = test::builder().seed(seed).shards(3).plan(Plan::LATE).start(app);
    let answered = server.run(async move |client| {
        let asking: Vec<_> = (0..40_u64)
            .map(|number| {
                let there = client.clone();
                client.spawn(async move {
                    there.sleep(Duration::from_micros(number * 40)).await;
                    there.try_send(test::Request::get("/shard")).await.is_ok()
                })
            })
            .collect();
        client.sleep(Duration::from_micros(200 + seed * 50)).await;
        client.drain();
        let mut answered = 0;
        for asked in asking {
            answered += usize::from(asked.await);
        }
        answered
    });
    assert!(answered > 0, "those that came in time are answered");
    server.end();
}

/// One part of the shards is asked differently.
#[test]
fn shards_that_differ_in_this_do_not_serve() {
    let builder = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false);
    let outcome = builder.run(async |shard: Shard| {
        let spread = if shard.number() == 0 { Spread::ByLoad } else { Spread::ByKernel };
        App::new().spread(spread).get("/", || "never").serve("127.0.0.1:0").await
    });
    let error = outcome.expect_err("they differ").to_string();
    assert!(error.contains("do not agree") && error.contains("one shard accepts for all"), "{error}");
}

fn check_on(kind: BackendKind) {
    if let Err(error) = select(Choice::Force(kind), &platform::Config::default()) {
        return println!("skipped: {error}");
    }
    let address: SocketAddr = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("it is bound")
    };
    let (say, remotes) = channel();
    let runtime = Runtime::builder().shards(4).oversubscribe(true).backend(Choice::Force(kind)).handle_signals(false);
    let running = thread::spawn(move || {
        let main = async move |shard: Shard| {
            say.send(shard.remote()).expect("the test waits");
            app(shard).serve(address).await
        };
        runtime.run(main).map_err(|error| error.to_string())
    });
    let remotes: Vec<_> = (0..4).map(|_| remotes.recv_timeout(WAIT_MAX).expect("it starts")).collect();
    let deadline = Instant::now() + WAIT_MAX;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the server listens in time");
        thread::sleep(Duration::from_millis(1));
    }
    let shard_of = |client: &mut Client| client.ask("GET /shard").text().trim().parse::<usize>().expect("a number");
    let open = |count: usize| -> Vec<(usize, Client)> {
        let open = |_| {
            let mut client = Client::connect(address);
            (shard_of(&mut client), client)
        };
        (0..count).map(open).collect()
    };
    let mut opened = open(100);
    // The connection that found out whether it listens may have been there still.
    assert!(counts(&opened).iter().all(|count| (24..=26).contains(count)), "{kind}: {:?}", counts(&opened));
    opened.retain(|(shard, _)| *shard != 2);
    thread::sleep(Duration::from_millis(200));
    let more = open(20);
    assert!(counts(&more)[2] >= 19, "{kind}: {:?}", counts(&more));
    // Each goes on where it is.
    for (shard, client) in &mut opened {
        assert_eq!(shard_of(client), *shard, "{kind}");
    }
    for remote in remotes {
        remote.send(Shard::drain).expect("it lives");
    }
    drop((opened, more));
    assert_eq!(running.join().expect("no panic of the runtime"), Ok(()), "{kind}");
}

#[test]
fn uring_spreads_by_load() {
    check_on(BackendKind::Uring);
}

#[test]
fn epoll_spreads_by_load() {
    check_on(BackendKind::Epoll);
}

#[test]
fn polling_spreads_by_load() {
    check_on(BackendKind::Polling);
}
