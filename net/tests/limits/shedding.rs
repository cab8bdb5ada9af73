//! The order of shedding, in a pool of one mebibyte: who is furthest behind, new connections, new requests; and back.

use platform::PoolSize;
use shardwise_net::Config;

use crate::kit::{Client, SEEDS, Setup, World, get, run, seconds, told};

fn check(clients: impl AsyncFn(World) + Clone + 'static) {
    for seed in 1..=SEEDS {
        let pool = PoolSize { bytes: 1024 * 1024, ..PoolSize::default() };
        let config = Config { write_stall_max: seconds(600), ..Config::default() };
        let clients = clients.clone();
        run(Setup { seed, config, pool, ..Setup::default() }, async move |world| clients(world).await);
    }
}

fn counted(world: &World) -> String {
    let stats = &world.stats;
    told(&[
        ("readers", &stats.shed_readers),
        ("connections", &stats.shed_accepts),
        ("requests", &stats.shed_requests),
        ("exhausted", &stats.exhausted),
    ])
}

/// A client that has `kib` KiB of the pool held for a time.
async fn hold(world: &World, kib: usize, time: u64) -> Client {
    let mut client = world.open().await;
    client.send(get(&format!("/hold/{kib}/{time}"))).await;
    while world.seen.held.get() == 0 {
        world.sleep(std::time::Duration::from_millis(1)).await;
    }
    client
}

/// Each of these asks for more than the network holds and reads nothing, a second after the one before it.
#[test]
fn who_is_furthest_behind_goes_first_and_no_more_than_must() {
    check(async |world: World| {
        let mut readers = Vec::new();
        for _ in 0..20 {
            let mut client = world.open().await;
            client.send(get("/stream/1000000")).await;
            readers.push(client);
            world.sleep(seconds(1)).await;
        }
        let shed = world.stats.shed_readers.get() as usize;
        assert!(shed > 0 && shed < 18, "{shed} of 20");
        assert_eq!(counted(&world), format!("readers {shed}"), "nobody else is meant");
        assert!(world.is_served().await, "others are served meanwhile");
        let shed = world.stats.shed_readers.get();
        assert_eq!(world.stats.slow_readers.get(), shed);
        // Hers who was served just now has ended as well.
        world.sleep(seconds(1)).await;
        println!("{shed} of 20 were cut");
        assert_eq!(world.stats.connections_open.get(), 20 - shed);
        for client in &mut readers[..shed as usize] {
            while client.read().await.is_ok() {}
        }
        assert_eq!(world.stats.connections_open.get(), 20 - shed, "the first to come were the first to go");
    });
}

#[test]
fn new_connections_wait_before_requests_are_refused() {
    check(async |world: World| {
        let mut known = world.open().await;
        assert!(known.ask("/").await.ends_with("hello"));
        // 80 %: above the first watermark, where nobody is behind.
        let mut first = hold(&world, 820, 60).await;
        assert!(known.ask("/").await.ends_with("hello") && world.is_served().await);
        assert_eq!(counted(&world), "");
        // 90 %: above the second.
        let mut second = hold(&world, 100, 60).await;
        assert!(!world.is_served().await, "it waits in the kernel's queue");
        assert!(known.ask("/").await.ends_with("hello"), "who is known is served");
        let pauses = world.stats.shed_accepts.get();
        assert!(pauses > 0);
        assert_eq!(counted(&world), format!("connections {pauses}"));
        // 97 %: above the third. Asked by one who is connected.
        let mut third = world.open().await;
        world.sleep(seconds(60)).await;
        assert!(first.answer().await.ends_with("held") && second.answer().await.ends_with("held"));
        assert!(third.ask("/").await.ends_with("hello"), "it is let in when there is room");
        let mut holder = world.open().await;
        holder.send(get("/hold/990/30")).await;
        world.sleep(seconds(1)).await;
        let answer = known.ask("/").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Connection: close"), "{answer}");
        assert!(answer.ends_with("the server is short of memory\n"));
        assert_eq!(known.rest().await.0, "");
        assert_eq!(world.stats.shed_requests.get(), 1);
        assert!(holder.answer().await.ends_with("held"), "what has begun is finished");
        assert!(world.is_served().await && third.ask("/").await.ends_with("hello"));
        assert_eq!((world.stats.shed_requests.get(), world.stats.exhausted.get()), (1, 0));
    });
}
