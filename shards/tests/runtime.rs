//! The runtime on real threads: all shards start or none, they agree, and they end in order.

#![allow(clippy::disallowed_methods, reason = "threads beside the shards are what is tested")]

use std::net::{SocketAddr, TcpListener};
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use platform::{BackendKind, Choice, DatagramOptions, ListenOptions};
use shardwise_shards::{Builder, Fleet, RunError, Runtime, Shard, StartError, listen, listen_datagrams};

fn shards(count: usize) -> Builder {
    Runtime::builder().shards(count).oversubscribe(true).handle_signals(false).announce(false)
}

const ANY_PORT: &str = "127.0.0.1:0";

fn any_port() -> SocketAddr {
    ANY_PORT.parse().unwrap()
}

#[test]
fn main_runs_once_on_every_shard() {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let run = shards(3).run(async move |shard: Shard| {
        seen.lock().unwrap().push((shard.number(), shard.count()));
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    let mut numbers = Arc::try_unwrap(numbers).unwrap().into_inner().unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [(0, 3), (1, 3), (2, 3)]);
}

/// A turn that takes long does not shorten the waits that begin in it.
#[test]
fn a_sleep_is_not_shortened_by_what_blocks() {
    let run = shards(1).run(async move |shard: Shard| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(40));
            let asleep = Instant::now();
            shard.sleep(Duration::from_millis(20)).await;
            assert!(asleep.elapsed() >= Duration::from_millis(20), "{:?}", asleep.elapsed());
        }
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

/// Nor those that count from the beginning of the turn, whether or not somebody looks at the clock meanwhile.
#[test]
fn an_alarm_is_not_brought_forward_by_what_blocks() {
    let run = shards(1).run(async move |shard: Shard| {
        let mut alarm = shard.alarm(shard.clock());
        for round in 0..6 {
            std::thread::sleep(Duration::from_millis(40));
            alarm.set_after(Duration::from_millis(20));
            if round % 2 == 0 {
                shard.clock();
            }
            let asleep = Instant::now();
            (&mut alarm).await;
            let elapsed = asleep.elapsed();
            assert!((20..500).contains(&elapsed.as_millis()), "round {round}: {elapsed:?}");
            // Set off again before it has rung, and not in the same turn.
            alarm.set_after(Duration::from_millis(20));
            shard.timeout(Duration::from_millis(1), &mut alarm).await.unwrap_err();
        }
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

#[test]
fn no_shards_and_too_many_are_refused_in_words() {
    let none = Runtime::builder().shards(0).run(async |_| Ok::<_, String>(())).unwrap_err().to_string();
    assert!(none.contains('0') || none.contains("one"), "{none}");
    let many = Runtime::builder().shards(1000).run(async |_| Ok::<_, String>(())).unwrap_err().to_string();
    assert!(many.contains("1000") && many.contains("oversubscribe"), "{many}");
}

#[test]
fn an_error_of_one_main_ends_the_others_and_comes_back() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let run = shards(3).run(async move |shard: Shard| {
        if shard.number() == 1 {
            return Err("no database".to_owned());
        }
        shard.drained().await;
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    assert!(matches!(&run, Err(RunError::Main { shard: 1, error }) if error == "no database"), "{run:?}");
    assert_eq!(ended.load(Ordering::Relaxed), 2, "the others saw the drain and ended");
}

#[test]
fn a_panic_of_one_main_comes_back_with_its_text() {
    let run = shards(2).run(async |shard: Shard| {
        assert!(shard.number() != 1, "one is the loneliest number");
        shard.drained().await;
        Ok::<_, String>(())
    });
    let Err(RunError::Panicked { shard: 1, text }) = run else { panic!("{run:?}") };
    assert_eq!(text, "one is the loneliest number");
}

#[test]
fn what_does_not_end_in_time_is_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    struct CountsDrop(Arc<AtomicUsize>);
    impl Drop for CountsDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let run = shards(2).drain_time_max(Duration::from_millis(50)).run(async move |shard: Shard| {
        let _held = CountsDrop(Arc::clone(&count));
        if shard.number() == 0 {
            return Err("begin the drain".to_owned());
        }
        std::future::pending::<()>().await;
        Ok(())
    });
    assert!(run.is_err());
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "the future that never ends was dropped");
}

#[test]
fn every_shard_gets_its_own_socket_of_one_port() {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let run = shards(4).run(async move |shard: Shard| {
        let listening = listen(&shard, any_port(), &ListenOptions::default(), Location::caller()).await?;
        let own = listening.sockets[0].local_address().unwrap();
        assert_eq!(own, listening.address);
        seen.lock().unwrap().push((listening.address.port(), listening.is_speaker));
        Ok::<_, StartError>(())
    });
    assert!(run.is_ok(), "{run:?}");
    let ports = ports.lock().unwrap();
    assert_eq!(ports.len(), 4);
    assert!(ports.iter().all(|(port, _)| *port == ports[0].0 && *port != 0));
    assert_eq!(ports.iter().filter(|(_, speaks)| *speaks).count(), 1);
}

#[test]
fn a_port_in_use_stops_all_shards_and_names_address_and_remedy() {
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap();
    for backend in [Choice::Auto, Choice::Force(BackendKind::Epoll), Choice::Force(BackendKind::Polling)] {
        if let Err(error) = platform::select(backend, &platform::Config::default()) {
            println!("skipped: {error}");
            continue;
        }
        let run = shards(2).backend(backend).run(async move |shard: Shard| {
            listen(&shard, address, &ListenOptions::default(), Location::caller()).await.map(drop)
        });
        let text = run.unwrap_err().to_string();
        assert!(text.contains(&address.to_string()) && text.contains("choose another port"), "{text}");
    }
}

#[test]
fn shards_that_disagree_are_told_both_lines() {
    let run = shards(2).run(async |shard: Shard| {
        let (one, other) = (Location::caller(), Location::caller());
        let location = if shard.number() == 0 { one } else { other };
        let address = any_port();
        let address = if shard.number() == 0 { address } else { "127.0.0.2:0".parse().unwrap() };
        listen(&shard, address, &ListenOptions::default(), location).await.map(drop)
    });
    let text = run.unwrap_err().to_string();
    assert!(text.contains("127.0.0.1:0") && text.contains("127.0.0.2:0") && text.contains("runtime.rs"), "{text}");
}

#[test]
fn every_shard_has_a_datagram_socket_and_a_port_in_use_is_an_error() {
    let options = DatagramOptions { numbered_at: Some(1) };
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let run = shards(3).run(async move |shard: Shard| {
        let mut left = 8;
        let one = loop {
            let one = listen_datagrams(&shard, any_port(), &options, Location::caller()).await?;
            assert_eq!((one.sockets.len(), one.on_one), (1, false));
            assert_eq!(one.sockets[0].local_address(), Ok(one.address));
            // The port of a listener is another than the same port of datagrams. So somebody else may have it, who did not ask.
            let listener = listen(&shard, one.address, &ListenOptions::default(), Location::caller()).await;
            if listener.is_ok_and(|listening| listening.address == one.address) {
                break one;
            }
            left -= 1;
            assert!(left > 0, "as many ports are free for the one and taken for the other");
        };
        seen.lock().unwrap().push(one.address.port());
        listen_datagrams(&shard, one.address, &options, Location::caller()).await.map(drop)
    });
    let text = run.unwrap_err().to_string();
    assert!(text.contains("Another process serves on port"), "{text}");
    let ports = ports.lock().unwrap();
    assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[test]
fn shards_that_disagree_on_what_they_listen_for_are_told() {
    let run = shards(2).run(async |shard: Shard| {
        let location = Location::caller();
        match shard.number() {
            0 => listen(&shard, any_port(), &ListenOptions::default(), location).await.map(drop),
            _ => listen_datagrams(&shard, any_port(), &DatagramOptions::default(), location).await.map(drop),
        }
    });
    let text = run.unwrap_err().to_string();
    assert!(text.contains("do not agree") && text.contains("for datagrams"), "{text}");
}

#[test]
fn a_shard_that_never_comes_is_named() {
    let run = shards(2).run(async |shard: Shard| {
        if shard.number() == 1 {
            return Ok(());
        }
        listen(&shard, any_port(), &ListenOptions::default(), Location::caller()).await.map(drop)
    });
    let text = run.unwrap_err().to_string();
    assert!(text.contains("shard 1 ended"), "{text}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "threads that stand for the outside world")]
fn other_threads_send_work_to_a_shard_and_hear_of_its_end() {
    let (answers, inbox) = std::sync::mpsc::channel();
    let remotes = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&remotes);
    let started = move |fleet: &Fleet| {
        *keep.lock().unwrap() = Some(fleet.remotes.clone());
        for remote in fleet.remotes.clone() {
            let answers = answers.clone();
            std::thread::spawn(move || {
                for _ in 0..100 {
                    let answers = answers.clone();
                    remote.send(move |shard| answers.send(shard.number()).unwrap()).unwrap();
                }
                remote.send(|shard| shard.drain()).unwrap();
            });
        }
        Ok(())
    };
    let run = shards(2).run_with(started, async |shard: Shard| {
        shard.drained().await;
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    assert_eq!(inbox.iter().take(200).filter(|number| *number == 1).count(), 100);
    for remote in remotes.lock().unwrap().take().unwrap() {
        assert!(remote.send(|_| ()).is_err(), "a shard that has ended says so");
    }
}
