//! Which shard gets a connection is a function of counts and chance; and what becomes of those that cannot get there.

use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use platform::ListenOptions;
use shards::{Listening, Simulation};

use super::*;
use crate::Listener;
use crate::limits::DRAIN_TIME_MIN;

#[test]
fn the_least_is_chosen_and_equals_by_chance() {
    let choose = |counts: &[u64], chance| least(counts.iter().copied().enumerate(), || chance);
    assert_eq!(choose(&[], 0), None);
    assert_eq!(choose(&[7], 5), Some(0));
    assert_eq!(choose(&[3, 1, 2], 9), Some(1));
    let among = |counts: &[u64]| (0..6).map(|chance| choose(counts, chance).unwrap()).collect::<Vec<_>>();
    assert_eq!(among(&[0, 4, 0, 0]), [0, 2, 3, 0, 2, 3]);
    assert_eq!(among(&[u64::MAX, u64::MAX]), [0, 1, 0, 1, 0, 1]);
}

/// Runs `first` on the shard that accepts, with some connections in its hands, and `other` on the second shard.
fn check(
    first: impl AsyncFn(&mut Spreader, Vec<TcpStream>) + 'static,
    other: impl AsyncFn(&Shard, Arrivals) + 'static,
) -> Simulation {
    const CONNECTIONS: usize = 4;
    let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let mut simulation = Simulation::new(1);
    let program = simulation.start(2, async move |shard| {
        let listening = shards::listen_on_one(&shard, address, &ListenOptions::default(), Location::caller()).await;
        let Listening { mut sockets, number, tallies, .. } = listening.map_err(|error| error.to_string())?;
        match sockets.pop() {
            Some(socket) => {
                let mut listener = Listener::adopt(&shard, socket).expect("it fits");
                let mut streams = Vec::new();
                while streams.len() < CONNECTIONS {
                    streams.push(listener.accept().await.expect("somebody connects"));
                }
                let mut spreader = Spreader::new(&shard, number, tallies, Arc::default());
                first(&mut spreader, streams).await;
            }
            None => other(&shard, Arrivals::new(&shard, number, tallies)).await,
        }
        Ok::<_, String>(())
    });
    simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(10)).await;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(&shard, address).await.expect("it listens"));
        }
        // Whatever becomes of them, they end.
        for mut stream in streams {
            while let Ok(Some(_)) = stream.recv().await {}
        }
    });
    simulation.run_to_end();
    assert!(program.results().iter().flatten().all(Result::is_ok), "{:?}", program.results());
    assert_eq!(simulation.machine().descriptors(), 0, "nothing is left");
    simulation
}

#[test]
fn what_a_full_lane_does_not_take_goes_to_the_next_best() {
    let first = async |spreader: &mut Spreader, streams: Vec<TcpStream>| {
        while spreader.shard.try_post(1, |_| ()).is_ok() {}
        for (number, stream) in streams.into_iter().enumerate() {
            // One is open here, so the other is the best.
            spreader.assigned[0] = spreader.tallies[0].ended.get() + 1;
            let (stream, _seat) = spreader.assign(stream).expect("it stays here");
            assert!(stream.peer_address().is_ok(), "and lives");
            assert_eq!(spreader.stats.hand_overs_refused.get(), number as u64 + 1);
        }
        assert_eq!(spreader.assigned[1], 0, "nobody was given what did not leave");
        assert_eq!(spreader.stats.handed_over.get(), 0);
        spreader.end().await;
    };
    check(first, async |_, mut arrivals| {
        let stats = NetStats::default();
        assert!(
            std::future::poll_fn(|cx| arrivals.poll_next(cx, DRAIN_TIME_MIN, &stats)).await.is_none(),
            "it is told the end"
        );
    });
}

#[test]
fn a_shard_that_takes_no_more_is_passed_over_and_what_was_on_its_way_is_counted() {
    let first = async |spreader: &mut Spreader, streams: Vec<TcpStream>| {
        let mut streams = streams.into_iter();
        // This one is open here, so the next goes to the other.
        spreader.assigned[0] = 1;
        assert!(spreader.assign(streams.next().expect("there are four")).is_none());
        spreader.shard.on(1, |there| there.local(|| Cell::new(false)).set(true)).await.expect("it lives");
        while !spreader.tallies[1].is_closed.load(Ordering::Acquire) {
            spreader.shard.sleep(Duration::from_millis(1)).await;
        }
        // One that left before that was seen.
        let late = streams.next().expect("there are four").release().expect("nothing is in flight");
        spreader.hand_over(1, late).expect("the way is free");
        for stream in streams {
            assert!(spreader.assign(stream).is_some(), "it stays here");
        }
        spreader.end().await;
        while spreader.tallies[1].lost.get() == 0 {
            spreader.shard.sleep(Duration::from_millis(1)).await;
        }
        spreader.end().await;
        assert_eq!((spreader.stats.hand_overs_lost.get(), spreader.tallies[1].ended.get()), (1, 2));
    };
    check(first, async |shard, mut arrivals| {
        let stats = NetStats::default();
        let taken = std::future::poll_fn(|cx| arrivals.poll_next(cx, DRAIN_TIME_MIN, &stats)).await;
        assert!(taken.is_some() && stats.taken_over.get() == 1);
        drop(taken);
        // Told, so that it ends between two connections.
        let told = shard.local(|| Cell::new(false));
        while !told.get() {
            shard.sleep(Duration::from_millis(1)).await;
        }
        drop(arrivals);
    });
}

#[test]
fn who_waits_for_connections_ends_some_time_after_the_drain_although_nobody_says_so() {
    let first = async |spreader: &mut Spreader, streams: Vec<TcpStream>| {
        drop(streams);
        // As if the accepting shard hung.
        spreader.has_said_end = true;
        let begin = spreader.shard.now();
        spreader.shard.on(1, Shard::drain).await.expect("it lives");
        while !spreader.tallies[1].is_closed.load(Ordering::Acquire) {
            spreader.shard.sleep(Duration::from_millis(1)).await;
        }
        let waited = spreader.shard.now() - begin;
        assert!(waited >= DRAIN_TIME_MIN + HAND_OVER_WAIT_MAX && waited < 2 * HAND_OVER_WAIT_MAX, "{waited:?}");
    };
    check(first, async |_, mut arrivals| {
        let stats = NetStats::default();
        assert!(std::future::poll_fn(|cx| arrivals.poll_next(cx, DRAIN_TIME_MIN, &stats)).await.is_none());
    });
}
