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

/// Streams whose windows are shut are reset one by one, those that wait longest first; their connection goes on.
#[test]
fn streams_that_are_behind_are_reset_and_not_their_connection() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let head = [0, 0, payload.len() as u8, kind, flags];
        [&head[..], &stream.to_be_bytes(), payload].concat()
    };
    let ask = move |stream: u32, path: &str| {
        let block = [&[0x82, 0x86, 0x01, 4][..], b"here", &[0x04, path.len() as u8], path.as_bytes()].concat();
        frame(1, 5, stream, &block)
    };
    check(async move |world: World| {
        let mut client = world.open().await;
        // No stream may be sent anything.
        let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
        client.send(hello).await;
        // Each holds sixteen KiB; a second later, one more of them is too much.
        for place in 0..50 {
            client.send(ask(2 * place + 1, "/stream/100000")).await;
        }
        world.sleep(seconds(2)).await;
        assert_eq!(counted(&world), "", "nobody has wanted more");
        for place in 50..54 {
            client.send(ask(2 * place + 1, "/stream/100000")).await;
            world.sleep(seconds(1)).await;
        }
        assert_eq!(counted(&world), "readers 4");
        // What there was room for goes on, when it may.
        client.send([frame(8, 0, 99, &[0, 1, 0x86, 0xa0]), frame(6, 0, 0, &[7; 8])].concat()).await;
        world.sleep(seconds(1)).await;
        let (mut resets, mut bytes, mut pongs) = (Vec::new(), 0, 0);
        for (kind, flags, stream, payload) in client.frames().await {
            match kind {
                0 => bytes += if stream == 99 { payload.len() } else { panic!("of {stream}") },
                3 => resets.push((stream, payload[3])),
                6 => pongs += flags,
                7 => panic!("the connection goes: {payload:?}"),
                _ => {}
            }
        }
        assert_eq!(resets, [(1, 8), (3, 8), (5, 8), (7, 8)]);
        assert_eq!((bytes, pongs), (65_535, 1), "as much as the connection's window admits");
        assert_eq!(world.stats.connections_open.get(), 1);
    });
}
